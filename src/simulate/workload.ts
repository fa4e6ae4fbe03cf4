import { below, type Random, seededRandom } from '../feedback/random.js';
import { hoursOf, type MeasuredChannel, stepsOf, TABLE_MASK, variationTable } from './population.js';

export const ARRIVALS = ['poisson', 'daily', 'flash'] as const;
export type Arrivals = (typeof ARRIVALS)[number];

/** One channel that asks to be carried. */
export interface Arrival {
  readonly id: number;
  readonly channel: MeasuredChannel;
  readonly fromStep: number;
  /** It runs in [fromStep, toStep) when it is admitted. */
  readonly toStep: number;
  /** Its place in the table of variation. */
  readonly offset: number;
}

export interface Workload {
  readonly arrivals: readonly Arrival[];
  readonly variation: Float32Array;
  readonly cpus: number;
  readonly kind: Arrivals;
  readonly steps: number;
  /** Steps before this one fill the host and are not counted. */
  readonly countedFrom: number;
}

export interface WorkloadOptions {
  readonly cpus: number;
  readonly kind: Arrivals;
  /** Counted hours; WARM_UP_H come before. */
  readonly hours: number;
  readonly seed: number;
  readonly population: readonly MeasuredChannel[];
}

export const WARM_UP_H = 4;
export const MEAN_LIFE_H = 2;
const LEAST_LIFE_H = 1 / 12;
const MOST_LIFE_H = 12;
/** Cores that ask for a place over the cores there are, were nothing refused. */
export const OFFERED: Readonly<Record<Arrivals, number>> = { poisson: 1.5, daily: 1.2, flash: 0.8 };
const DAILY_SWING = 0.7;
const FLASH_EVERY_H = 6;
const FLASH_H = 1 / 6;
const FLASH_FACTOR = 12;

/** The same seed gives the same channels at the same times, whatever admits them. */
export function makeWorkload({ cpus, kind, hours, seed, population }: WorkloadOptions): Workload {
  const random = seededRandom(seed);
  const variation = variationTable(random);
  const steps = stepsOf(WARM_UP_H + hours);
  const meanDemand = population.reduce((sum, { demand }) => sum + demand, 0) / population.length;
  const perHour = (OFFERED[kind] * cpus) / (meanDemand * MEAN_LIFE_H);
  const most = perHour * mostRate(kind);
  const arrivals: Arrival[] = [];
  // Thinning (Lewis and Shedler 1979): candidates at the highest rate, of which some are kept.
  for (let hour = 0; ; ) {
    hour -= Math.log(1 - random()) / most;
    const fromStep = Math.floor(stepsOf(1) * hour);
    if (fromStep >= steps) break;
    const kept = random() * most < perHour * rateAt(kind, hour);
    const channel = population[below(random, population.length)]!;
    const toStep = fromStep + stepsOf(lifeHours(random));
    const offset = below(random, TABLE_MASK + 1);
    if (kept) arrivals.push({ id: arrivals.length, channel, fromStep, toStep, offset });
  }
  return { arrivals, variation, cpus, kind, steps, countedFrom: stepsOf(WARM_UP_H) };
}

/** Arrivals an hour over their mean. */
export function rateAt(kind: Arrivals, hour: number): number {
  if (kind === 'daily') return 1 - DAILY_SWING * Math.cos((2 * Math.PI * hour) / 24);
  if (kind === 'flash') return (hour + FLASH_EVERY_H / 2) % FLASH_EVERY_H < FLASH_H ? FLASH_FACTOR : 1;
  return 1;
}

function mostRate(kind: Arrivals): number {
  return { poisson: 1, daily: 1 + DAILY_SWING, flash: FLASH_FACTOR }[kind];
}

/** Exponential, cut at both ends. */
function lifeHours(random: Random): number {
  return Math.min(MOST_LIFE_H, Math.max(LEAST_LIFE_H, -MEAN_LIFE_H * Math.log(1 - random())));
}

/** Demand in one step, cores. */
export function demandAt(
  { channel, offset }: Arrival,
  { variation }: Pick<Workload, 'variation'>,
  step: number,
): number {
  return channel.demand * variation[(offset + step) & TABLE_MASK]!;
}

export function offeredChannelHours({ arrivals, steps }: Workload): number {
  return hoursOf(arrivals.reduce((sum, { fromStep, toStep }) => sum + Math.min(toStep, steps) - fromStep, 0));
}
