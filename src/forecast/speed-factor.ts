import { z } from 'zod';
import { clamp } from './decode.js';
import { HOST_EFFECTS, HOST_EFFECTS_ID, hostEffects } from './host-effects.js';
import { estimateResponse, type HostResponse } from './host-response.js';
import type { Signature } from './signature.js';

/**
 * How much more CPU time this host takes than the one that the cost table and the baseline were measured on. It
 * multiplies what comes from elsewhere: the cost table and a baseline model. A model that was trained on this host's
 * history, and the nearest runs, know the host already and are left alone.
 *
 *   factor of a channel = median of measured / expected demand over the calibration runs
 *                         x exp(what the host does to this kind of channel)
 *
 * The second part are the few effects of host-effects.ts, estimated from the same runs and shrunk: with few or
 * scattered runs it is 1 and one factor remains. It never moves a factor by more than MOST_EFFECT.
 *
 * Table and baseline have factors of their own because they expect different things of the same run: the table knows
 * nothing of the picture, the baseline does.
 */
export interface SpeedFactor {
  readonly costTable: number;
  readonly baseline: number;
  /** Calibration runs behind it; 0: nothing measured, both are 1. */
  readonly runs: number;
}

export type SpeedSource = 'costTable' | 'baseline';

export const NOT_MEASURED: SpeedFactor = { costTable: 1, baseline: 1, runs: 0 };

/** One calibration run: measured over expected demand. */
export interface SpeedMeasurement {
  readonly signature: Signature;
  readonly costTable: number;
  /** `id` names the model that expected it. */
  readonly baseline?: { readonly id: string; readonly ratio: number };
}

export interface SpeedFactorTrack {
  add(measurement: SpeedMeasurement): void;
  /** The medians alone: what to tell an operator. */
  current(): SpeedFactor;
  /** What to multiply the source's expectation of this channel by. */
  factorFor(source: SpeedSource, signature: Signature): number;
  state(): unknown;
}

/** Fewer say too little; the newest MOST_RUNS are kept. */
const LEAST_RUNS = 5;
const MOST_RUNS = 400;
const MOST_EFFECT = Math.log(1.5);
const LEAST_FACTOR = 0.05;
const MOST_FACTOR = 20;
/** Log ratios of single runs scatter by this much (the picture, neighbours) until PRIOR_RUNS runs say otherwise. */
const PRIOR_NOISE = 0.3;
const PRIOR_RUNS = 5;
/** The effects need not pass through the median: a constant beside them. */
const OFFSET_SD = 0.1;

/** `saved` is what state() gave before; anything else begins anew. */
export function createSpeedFactorTrack(saved: unknown): SpeedFactorTrack {
  let { baselineId, runs } = restored(saved);
  let estimates: Partial<Record<SpeedSource, SourceEstimate>> = {};
  const estimate = (source: SpeedSource): SourceEstimate => {
    const made = estimates[source] ?? estimateSource(runs, source);
    estimates[source] = made;
    return made;
  };
  const measured = () => estimate('costTable').runs >= LEAST_RUNS;
  // Until the baseline itself was compared, the factor of the table is the best guess.
  const used = (source: SpeedSource) =>
    estimate(source).runs < LEAST_RUNS ? estimate('costTable') : estimate(source);
  return {
    add({ signature, costTable, baseline }) {
      if (baseline !== undefined && baseline.id !== baselineId) {
        // Ratios to another baseline say nothing of this one.
        runs = runs.map(({ effects, costTable }) => ({ effects, costTable }));
        baselineId = baseline.id;
      }
      const run = { effects: hostEffects(signature).map(forKeeping), costTable, baseline: baseline?.ratio };
      runs = [...runs, withoutInvalid(run)].slice(-MOST_RUNS);
      estimates = {};
    },
    current() {
      if (!measured()) return NOT_MEASURED;
      const { factor, runs } = estimate('costTable');
      return { costTable: factor, baseline: used('baseline').factor, runs };
    },
    factorFor(source, signature) {
      if (!measured()) return 1;
      const { factor, response } = used(source);
      const effect = response.logRatio([OFFSET_SD, ...hostEffects(signature)]);
      return clamp(factor * Math.exp(clamp(effect, -MOST_EFFECT, MOST_EFFECT)), LEAST_FACTOR, MOST_FACTOR);
    },
    state: () => ({ format: 2, baselineId, effectsId: HOST_EFFECTS_ID, runs }),
  };
}

/** Ratios of one run; undefined where that source was not compared. */
interface SpeedRun {
  readonly effects: readonly number[];
  readonly costTable?: number | undefined;
  readonly baseline?: number | undefined;
}

interface SourceEstimate {
  readonly factor: number;
  readonly response: HostResponse;
  readonly runs: number;
}

function estimateSource(all: readonly SpeedRun[], source: SpeedSource): SourceEstimate {
  const runs = all.flatMap(({ effects, [source]: ratio }) =>
    ratio === undefined ? [] : [{ effects, log: Math.log(ratio) }],
  );
  const middle = runs.length === 0 ? 0 : median(runs.map(({ log }) => log));
  const factor = clamp(Math.exp(middle), LEAST_FACTOR, MOST_FACTOR);
  const scatter = 1.4826 * (runs.length === 0 ? 0 : median(runs.map(({ log }) => Math.abs(log - middle))));
  const noise = Math.sqrt(
    (runs.length * scatter ** 2 + PRIOR_RUNS * PRIOR_NOISE ** 2) / (runs.length + PRIOR_RUNS),
  );
  const response = estimateResponse(
    1 + HOST_EFFECTS.length,
    runs.map(({ effects, log }) => ({ logRatio: log - middle, loadings: [OFFSET_SD, ...effects], noise })),
  );
  return { factor, response, runs: runs.length };
}

/** Hundreds of runs are written at each new one. */
function forKeeping(effect: number): number {
  return Number(effect.toFixed(4));
}

function withoutInvalid({ effects, costTable, baseline }: SpeedRun): SpeedRun {
  return { effects, costTable: validOrNothing(costTable), baseline: validOrNothing(baseline) };
}

function validOrNothing(ratio: number | undefined): number | undefined {
  return ratio !== undefined && Number.isFinite(ratio) && ratio > 0 ? ratio : undefined;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Ratios of format 1, and of other effects than today's, say the factor and nothing of the effects. */
function restored(saved: unknown): { baselineId: string; runs: readonly SpeedRun[] } {
  const current = stateSchema.safeParse(saved);
  if (current.success) {
    const { baselineId, effectsId, runs } = current.data;
    const same = ({ effects }: SpeedRun) =>
      effectsId === HOST_EFFECTS_ID && effects.length === HOST_EFFECTS.length;
    return { baselineId, runs: runs.map((run) => (same(run) ? run : { ...run, effects: NO_EFFECTS })) };
  }
  const first = firstStateSchema.safeParse(saved);
  if (!first.success) return { baselineId: '', runs: [] };
  const { baselineId, costTable, baseline } = first.data;
  const runs = Array.from({ length: Math.max(costTable.length, baseline.length) }, (_, i) => ({
    effects: NO_EFFECTS,
    costTable: costTable[i],
    baseline: baseline[i],
  }));
  return { baselineId, runs };
}

const NO_EFFECTS: readonly number[] = new Array(HOST_EFFECTS.length).fill(0);

const ratio = z.number().positive();
const baselineId = z.string().max(64);
const stateSchema = z.object({
  format: z.literal(2),
  baselineId,
  effectsId: z.string().max(1024),
  runs: z
    .array(
      z.object({
        effects: z.array(z.number()).max(64),
        costTable: ratio.optional(),
        baseline: ratio.optional(),
      }),
    )
    .max(MOST_RUNS),
});
const firstStateSchema = z.object({
  format: z.literal(1),
  baselineId,
  costTable: z.array(ratio).max(MOST_RUNS),
  baseline: z.array(ratio).max(MOST_RUNS),
});
