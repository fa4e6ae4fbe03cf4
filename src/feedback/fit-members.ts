import type { NetworkShape } from '../forecast/network.js';
import { coverByTrial } from './cover-by-trial.js';
import { type Fit, type FitOptions, fitNetwork } from './fit.js';
import { mergeNetworks } from './merge-networks.js';
import type { Packed, Scaling } from './normalisation.js';

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
  /** Of the static features. */
  scaling: Pick<Scaling, 'mean' | 'scale'>,
): Promise<MembersFit> {
  const { resume, ...fresh } = options;
  const { shape, seed } = options;
  const fits: Fit[] = [];
  let done = 0;
  for (let k = 0; k < members; k++) {
    let last = 0;
    const fit = await fitNetwork(training, validation, {
      ...fresh,
      ...(k === 0 && resume !== undefined ? { resume } : {}),
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
  const weights = fits.map((fit) => fit.weights);
  return {
    ...(options.toCover === undefined
      ? mergeNetworks(shape, weights)
      : coverByTrial(weights, shape, options.toCover, scaling)),
    first: fits[0]!.weights,
    bestEpoch: fits[0]!.bestEpoch,
    validationLoss: fits.reduce((sum, { validationLoss }) => sum + validationLoss, 0) / members,
  };
}
