import { beforeAll, describe, expect, it } from 'vitest';
import { buildDataset } from '../../src/feedback/dataset.js';
import { type FitState, fitNetwork } from '../../src/feedback/fit.js';
import { normalisationOf, type Packed, pack } from '../../src/feedback/normalisation.js';
import { STATIC_FEATURE_NAMES } from '../../src/forecast/features.js';
import { networkShape } from '../../src/forecast/network.js';
import { madeRuns } from '../support/training-runs.js';

let training: Packed;
let validation: Packed;
beforeAll(async () => {
  const dataset = await buildDataset(madeRuns({ seed: 1, sources: 8, runsPerSource: 4, samples: 12 }), {
    seed: 1,
  });
  const normalisation = normalisationOf(dataset.training.rows);
  training = pack(dataset.training.rows, normalisation);
  validation = pack(dataset.validation.rows, normalisation);
});

describe('a training', () => {
  it('that is stopped and resumed ends in the same bits as one that was not', async () => {
    const whole = await trained({ maxEpochs: 12 });
    for (const stopAfter of [1, 7, 11]) {
      let state: FitState | undefined;
      await trained({ maxEpochs: 12, stopAfter, onState: (at) => (state = at) });
      expect(state).toMatchObject({ epoch: stopAfter });
      const resumed = await trained({ maxEpochs: 12, resume: state! });
      expect(resumed.epochs).toEqual(whole.epochs.slice(stopAfter));
      expect(resumed.weights).toEqual(whole.weights);
      expect(resumed.bestEpoch).toBe(whole.bestEpoch);
    }
  });

  it('that was over when it was interrupted is over when it is resumed', async () => {
    let last: FitState | undefined;
    const whole = await trained({ maxEpochs: 400, onState: (at) => (last = at) });
    expect(last!.epoch).toBeLessThan(400);
    const resumed = await trained({ maxEpochs: 400, resume: last! });
    expect(resumed.epochs).toEqual([]);
    expect(resumed.weights).toEqual(whole.weights);
  });

  it('that is told to stop keeps the best so far', async () => {
    const { epochs, bestEpoch } = await trained({ maxEpochs: 50, stopAfter: 5 });
    expect(epochs.map(({ epoch }) => epoch)).toEqual([1, 2, 3, 4, 5]);
    const best = epochs.reduce((a, b) => (b.validationLoss < a.validationLoss ? b : a));
    expect(bestEpoch).toBe(best.epoch);
  });
});

interface Fitting {
  readonly maxEpochs: number;
  readonly stopAfter?: number;
  readonly resume?: FitState;
  readonly onState?: (state: FitState) => void;
}

async function trained({ maxEpochs, stopAfter, resume, onState }: Fitting) {
  const epochs: { epoch: number; trainingLoss: number; validationLoss: number }[] = [];
  const result = await fitNetwork(training, validation, {
    shape: networkShape(STATIC_FEATURE_NAMES.length),
    seed: 3,
    maxEpochs,
    toCover: undefined,
    prepare: (fresh) => fresh,
    ...(resume === undefined ? {} : { resume }),
    onEpoch: async (epoch, state) => {
      epochs.push(epoch);
      onState?.(state());
      return epoch.epoch === stopAfter ? 'stop' : undefined;
    },
  });
  return { ...result, epochs };
}
