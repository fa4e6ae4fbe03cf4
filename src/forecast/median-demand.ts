import type { Run } from '../history/records.js';
import { costTableDemand } from './cost-table.js';
import { decodeForecast, rowAt } from './decode.js';
import { encodeSequence, encodeStatics } from './features.js';
import type { Model } from './inference.js';

/**
 * The median demand that a model says of a run at its start, cores, uncorrected. A trial is left out: it knows this
 * host's speed, which is what the answer is compared for. Rejects where the model fails.
 */
export async function medianDemand(
  model: Model,
  { signature, schedulableCpus, hostBefore, ...run }: Run,
): Promise<number> {
  const cpuCount = Math.max(1, run.cpuCount);
  const { probeCpuSecondsPerFrame: _, ...complexity } = signature.complexity;
  const statics = encodeStatics({ ...signature, complexity }, [cpuCount], Math.max(1, schedulableCpus), {
    vocabulary: model.card.vocabulary,
  });
  const output = await model.run(encodeSequence(hostBefore), statics);
  const expectedCores = costTableDemand(signature);
  const forecast = decodeForecast(rowAt(output, 0), {
    modelId: model.card.id,
    ...{ cpuCount, expectedCores, notes: [] },
  });
  return forecast.horizons[0]!.demand.q50;
}
