import type { NetworkShape } from '../forecast/network.js';
import { type Fit, type FitOptions, fitNetwork } from './fit.js';
import { createTrainer } from './lstm-addon.js';
import { mergeNetworks } from './merge-networks.js';
import type { Packed } from './normalisation.js';
import { coverAnswers } from './quantile-bias.js';

export interface MembersFit extends Fit {
  /** Wider than that of a member when there are several. */
  readonly shape: NetworkShape;
  /** The weights of the first member, from which a later training can start. */
  readonly first: Float32Array;
}

/**
 * Trains so many networks from random weights of their own and merges them. What their mean has to cover is learnt from
 * their mean. Epochs are reported of all of them as one training; only the first can be resumed.
 */
export async function fitMembers(
  training: Packed,
  validation: Packed,
  members: number,
  options: FitOptions,
): Promise<MembersFit> {
  const { shape, seed } = options;
  if (members === 1) {
    const fit = await fitNetwork(training, validation, options);
    return { ...fit, shape, first: fit.weights };
  }
  const fits: Fit[] = [];
  let done = 0;
  for (let k = 0; k < members; k++) {
    let last = 0;
    const fit = await fitNetwork(training, validation, {
      ...options,
      seed: seed + 7_919 * k,
      toCover: undefined,
      onEpoch: (report, state) => {
        last = report.epoch;
        const { epoch, epochs } = report;
        return options.onEpoch(
          { ...report, epoch: done + epoch, epochs: done + (members - k) * epochs },
          state,
        );
      },
    });
    fits.push(fit);
    done += last;
  }
  const merged = mergeNetworks(
    shape,
    fits.map(({ weights }) => weights),
  );
  return {
    shape: merged.shape,
    weights: covered(merged, options.toCover),
    first: fits[0]!.weights,
    bestEpoch: fits[0]!.bestEpoch,
    validationLoss: fits.reduce((sum, { validationLoss }) => sum + validationLoss, 0) / members,
  };
}

function covered(
  { shape, weights }: { readonly shape: NetworkShape; readonly weights: Float32Array },
  toCover: Packed | undefined,
): Float32Array {
  if (toCover === undefined) return weights;
  const trainer = createTrainer(shape, 0);
  trainer.setWeights(weights);
  return coverAnswers(trainer, shape, toCover);
}
