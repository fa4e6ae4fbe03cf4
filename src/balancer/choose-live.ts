import type { Forecast } from '../forecast/forecast.js';
import { assert } from '../lib/assert.js';
import {
  fitsEmptyHost,
  largestOnEmptyHost,
  type OccupancyIndex,
  place,
  type Unplaced,
} from '../reservation/allocator.js';
import { milliOf } from '../reservation/cpu-shares.js';
import type { Check, Choice, DecideInput } from './decide.js';
import { demandOf, keepsRealTime, spread, withHeadroom } from './demand.js';
import { hostLoadCheck } from './host-load.js';
import { cores, count, percent } from './words.js';

/** Nobody's channel is made so cheap. */
const LEAST_OFFER_MILLI = 50;

export interface Candidate {
  readonly forecast: Forecast;
  readonly q90Milli: number;
  /** With the headroom on top. */
  readonly milli: number;
}

export function chooseLive(input: DecideInput, index: OccupancyIndex): Choice {
  const realTime = realTimeCandidates(input);
  const fewest = realTime[0];
  if (fewest === undefined) return neverRealTime(input, index, candidatesOf(input).at(-1)!);
  let refused: Unplaced | undefined;
  for (const candidate of realTime) {
    const placement = place(index, allocation(input, candidate));
    if (!placement.ok) {
      refused ??= placement;
      continue;
    }
    const { forecast, milli, q90Milli } = candidate;
    const text = `${needs(input, candidate)}; given ${placement.why}`;
    const fits = { code: 'FITS', text, needed: milli, available: index.freeMilli } as const;
    return {
      forecast,
      cpus: placement.cpus,
      checks: [
        { reason: { ...fits, unit: 'thousandths', passed: true }, possible: true },
        hostLoadCheck(input, index, forecast, {
          loadMilli: q90Milli,
          reservedMilli: milliOf(placement.cpus),
        }),
      ],
    };
  }
  const { forecast, q90Milli, milli } = fewest;
  const load = { loadMilli: q90Milli, reservedMilli: milli };
  return {
    forecast,
    cpus: [],
    checks: [noPlace(input, index, realTime, refused!), hostLoadCheck(input, index, forecast, load)],
  };
}

/** Those whose CPUs give the 0.9 quantile with the headroom, fewest CPUs first. */
export function realTimeCandidates(input: DecideInput): Candidate[] {
  return candidatesOf(input).filter(({ forecast, milli }) => keepsRealTime(forecast, milli));
}

function candidatesOf({ forecasts, limits }: DecideInput): Candidate[] {
  return forecasts
    .map((forecast) => candidateOf(forecast, limits.headroom))
    .sort((a, b) => a.forecast.cpuCount - b.forecast.cpuCount);
}

function candidateOf(forecast: Forecast, headroom: number): Candidate {
  const { q90Milli } = demandOf(forecast);
  const milli = withHeadroom(q90Milli, headroom);
  return { forecast, q90Milli, milli };
}

function noPlace(
  input: DecideInput,
  index: OccupancyIndex,
  realTime: readonly Candidate[],
  refused: Unplaced,
): Check {
  const fewest = realTime[0]!;
  const possible = realTime.some((candidate) => fitsEmptyHost(index, allocation(input, candidate)));
  if (!possible) return { reason: tooLarge(input, index, fewest), possible };
  const shortfall = refused.explain();
  const short = fewest.milli > index.freeMilli;
  const offer = input.request.exclusive
    ? shortfall.text
    : short
      ? `the whole host has ${cores(index.freeMilli)} left`
      : `it ${shortfall.text}`;
  return {
    reason: {
      code: short ? 'CPU_SHORT' : 'NO_PLACEMENT',
      text: `${needs(input, fewest)}; ${offer}${wouldFit(input, fewest, shortfall.largestMilli)}`,
      needed: fewest.milli,
      available: shortfall.availableMilli,
      unit: 'thousandths',
      passed: false,
    },
    possible,
  };
}

/**
 * The same channel made cheaper, so that it fits now: its shares shrink together until each is at most what the roomiest
 * CPUs have. Empty where that would be next to nothing.
 */
function wouldFit(input: DecideInput, fewest: Candidate, largestMilli: readonly number[]): string {
  const { sharesMilli } = allocation(input, fewest);
  const factor = sharesMilli.reduce((least, share, i) => Math.min(least, (largestMilli[i] ?? 0) / share), 1);
  // In hundredths of a core, as it is said.
  const demandMilli = Math.floor((factor * fewest.q90Milli) / 10) * 10;
  if (input.request.exclusive || demandMilli < LEAST_OFFER_MILLI) return '';
  return `; up to ${(demandMilli / 1000).toFixed(2)} (0.9 quantile) would fit now: a cheaper rung, preset, size or frame rate`;
}

function neverRealTime(input: DecideInput, index: OccupancyIndex, widest: Candidate): Choice {
  return {
    forecast: widest.forecast,
    cpus: [],
    checks: [{ reason: tooLarge(input, index, widest), possible: false }],
  };
}

function tooLarge(input: DecideInput, index: OccupancyIndex, candidate: Candidate): Check['reason'] {
  const { headroom, host_load } = input.limits;
  const cpus = Math.max(...input.forecasts.map(({ cpuCount }) => cpuCount));
  const most = largestOnEmptyHost(index, cpus, input.request);
  const demandMilli = Math.floor(Math.min(most * (1 - headroom), host_load * index.capacityMilli));
  const which = input.request.cpuCount > 0 ? `on the ${count(cpus, 'CPU')} it asked for` : 'on this host';
  const schedulable = input.topology.schedulable.length;
  if (cpus > schedulable) {
    const text = `asks for ${count(cpus, 'CPU')}, more than the ${schedulable} this host has even when empty: ask for fewer`;
    return { code: 'TOO_LARGE', text, needed: cpus, available: schedulable, unit: 'cpus', passed: false };
  }
  return {
    code: 'TOO_LARGE',
    text:
      `${needs(input, candidate)}; even with nothing else running, a channel ${which} may need at most ` +
      `${cores(demandMilli)} (0.9 quantile) to keep real time: lower its size, frame rate, number of outputs or preset`,
    needed: candidate.milli,
    available: most,
    unit: 'thousandths',
    passed: false,
  };
}

function needs({ limits }: DecideInput, { milli, q90Milli }: Candidate): string {
  return `needs ${cores(milli)} (0.9 quantile ${(q90Milli / 1000).toFixed(2)} + ${percent(limits.headroom)} headroom)`;
}

function allocation({ request, smtCoreMilli }: DecideInput, { forecast, milli }: Candidate) {
  const { exclusive, channelClass } = request;
  const sharesMilli = spread(forecast, milli);
  assert(sharesMilli !== undefined, `no ${milli} thousandths on ${forecast.cpuCount} CPUs`);
  return { sharesMilli, exclusive, channelClass, smtCoreMilli };
}
