import { z } from 'zod';
import { clamp } from './decode.js';

/**
 * How much more CPU time this host takes than the one that the cost table and the baseline were measured on: the median
 * over its calibration runs of measured demand / expected demand. It multiplies what comes from elsewhere: the cost
 * table and a baseline model. A model that was trained on this host's history, and the nearest runs, know the host
 * already and are left alone.
 *
 * The two have factors of their own because they expect different things of the same run: the table knows nothing of
 * the picture, the baseline does.
 */
export interface SpeedFactor {
  readonly costTable: number;
  readonly baseline: number;
  /** Calibration runs behind it; 0: nothing measured, both are 1. */
  readonly runs: number;
}

export const NOT_MEASURED: SpeedFactor = { costTable: 1, baseline: 1, runs: 0 };

/** Fewer say too little; the newest MOST_RATIOS are kept. */
const LEAST_RUNS = 5;
const MOST_RATIOS = 400;

export interface SpeedFactorTrack {
  /** Measured over expected demand of one calibration run; `baselineId` names the model that expected it. */
  add(source: 'costTable', ratio: number): void;
  add(source: 'baseline', ratio: number, baselineId: string): void;
  current(): SpeedFactor;
  state(): unknown;
}

/** `saved` is what state() gave before; anything else begins anew. */
export function createSpeedFactorTrack(saved: unknown): SpeedFactorTrack {
  const parsed = stateSchema.safeParse(saved);
  const ratios = {
    costTable: parsed.success ? [...parsed.data.costTable] : [],
    baseline: parsed.success ? [...parsed.data.baseline] : [],
  };
  let baselineId = parsed.success ? parsed.data.baselineId : '';
  return {
    add(source: 'costTable' | 'baseline', ratio: number, id: string = baselineId) {
      if (!Number.isFinite(ratio) || ratio <= 0) return;
      if (id !== baselineId) {
        // Ratios to another baseline say nothing of this one.
        ratios.baseline.length = 0;
        baselineId = id;
      }
      ratios[source].push(ratio);
      if (ratios[source].length > MOST_RATIOS) ratios[source].shift();
    },
    current() {
      if (ratios.costTable.length < LEAST_RUNS) return NOT_MEASURED;
      const costTable = clamp(median(ratios.costTable), 0.05, 20);
      // Until the baseline itself was compared, the factor of the table is the best guess.
      const baseline =
        ratios.baseline.length < LEAST_RUNS ? costTable : clamp(median(ratios.baseline), 0.05, 20);
      return { costTable, baseline, runs: ratios.costTable.length };
    },
    state: () => ({ format: 1, baselineId, ...ratios }),
  };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

const ratioList = z.array(z.number().positive()).max(MOST_RATIOS);
const stateSchema = z.object({
  format: z.literal(1),
  baselineId: z.string().max(64),
  costTable: ratioList,
  baseline: ratioList,
});
