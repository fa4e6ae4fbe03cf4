/**
 * Live channels that share CPUs: admitted by the quantile of what all of a segment will need together (shared-demand.ts),
 * spread over the CPUs that are open there (reservation/allocator-spread.ts).
 *
 * Two things must hold. What all will need, the newcomer included, is at most what is promised to them and what is free,
 * less what others use whom nobody forecast: a neighbour outside corecast has its part of the CPUs, reserved or not. And
 * its own part must be free of promises; where it is not only because others were promised more than they need now, the
 * verdict says how much they are to lend.
 */
import type { Forecast } from '../forecast/forecast.js';
import type { OccupancyIndex } from '../reservation/allocator.js';
import {
  capacityOf,
  freeIn,
  fullestFirst,
  type Segment,
  type Segments,
  segmentsOf,
  spreadOver,
} from '../reservation/allocator-spread.js';
import type { CpuShare } from '../reservation/reservation.js';
import { type Candidate, chooseLive, realTimeCandidates } from './choose-live.js';
import type { Check, Choice, DecideInput } from './decide.js';
import { hostLoadCheck } from './host-load.js';
import {
  type ChannelDemand,
  type DemandSum,
  forecastDemand,
  NOBODY,
  needOf,
  plus,
  type SharingRule,
  shareOf,
} from './shared-demand.js';
import { cores, count, percent } from './words.js';

/** Those who share the CPUs of one segment. */
export interface Sharers {
  readonly sum: DemandSum;
  readonly channels: number;
  /** Thousandths that are promised to them. */
  readonly promisedMilli: number;
}

export interface Sharing {
  readonly rule: SharingRule;
  /** The quantile that rule.z stands for. */
  readonly quantile: number;
  /** CPUs of a segment, at most. */
  readonly cpus: number;
  /** By segment. */
  readonly sharers: ReadonlyMap<number, Sharers>;
}

/** What others in a segment are to lend, thousandths, and to whom. */
export interface Loan {
  readonly segment: number;
  readonly milli: number;
  /** All who share, the borrower included. */
  readonly sum: DemandSum;
}

/** Who asks, and of what host. */
interface Question {
  readonly input: DecideInput;
  readonly index: OccupancyIndex;
  readonly sharing: Sharing;
  readonly candidate: Candidate;
  readonly demand: ChannelDemand;
}

interface Offer {
  readonly segment: Segment;
  readonly sharers: Sharers;
  readonly sum: DemandSum;
  readonly needMilli: number;
  readonly freeMilli: number;
  readonly shareMilli: number;
  /** Used by others than the reservations, as far as that can be told. */
  readonly outsideMilli: number;
}

const ALONE: Sharers = { sum: NOBODY, channels: 0, promisedMilli: 0 };

/** Whether the request is one that shares; the others are reserved for one by one. */
export function shares({ request, sharing }: DecideInput): boolean {
  return (
    sharing !== undefined && request.channelClass === 'live' && !request.exclusive && request.cpuCount === 0
  );
}

export function chooseShared(input: DecideInput, index: OccupancyIndex, sharing: Sharing): Choice {
  const candidate = realTimeCandidates(input)[0];
  const segments = segmentsOf(index.host, sharing.cpus);
  if (candidate === undefined) return chooseLive(input, index);
  const demand = forecastDemand(candidate.forecast);
  const question = { input, index, sharing, candidate, demand };
  const outside = outsideShare(input);
  const offers = offersOf(index, segments, sharing, demand, outside);
  const fit = offers.filter(fits);
  for (const offer of fit) {
    const cpus = cpusOf(index, candidate.forecast, offer);
    if (cpus !== undefined) return accepted(question, offer, cpus);
  }
  // What no segment holds even when empty may still have a place across several.
  if (!offers.some(({ segment }) => holdsEmpty(index, segment, sharing, demand)))
    return chooseLive(input, index);
  const nearest = fit[0] ?? offers.reduce((a, b) => (missingOf(b) < missingOf(a) ? b : a));
  return refused(question, nearest);
}

/** The fullest first, the right kind before that. */
function offersOf(
  index: OccupancyIndex,
  segments: Segments,
  { rule, sharers }: Sharing,
  demand: ChannelDemand,
  outside: number,
): Offer[] {
  return fullestFirst(index, segments).map((segment): Offer => {
    const of = sharers.get(segment.number) ?? ALONE;
    const sum = plus(of.sum, demand);
    return {
      segment,
      sharers: of,
      sum,
      needMilli: Math.ceil(needOf(sum, rule) - DUST),
      freeMilli: freeIn(index, segment),
      shareMilli: Math.max(1, Math.ceil(shareOf(demand, sum, rule) - DUST)),
      outsideMilli: Math.floor(outside * capacityOf(index, segment)),
    };
  });
}

function fits(offer: Offer): boolean {
  return missingOf(offer) <= 0;
}

/** Thousandths by which all together would need more than there is. */
function missingOf({ needMilli, sharers, freeMilli, outsideMilli }: Offer): number {
  return needMilli + outsideMilli - sharers.promisedMilli - freeMilli;
}

/** Of the host's capacity, the share that others than the reservations use. */
function outsideShare({ limits, use, topology }: DecideInput): number {
  // At 1 they are to give way.
  if (limits.host_load >= 1 || use === undefined) return 0;
  return Math.min(1, use.outsideCores / Math.max(1, topology.schedulable.length));
}

function cpusOf(index: OccupancyIndex, forecast: Forecast, offer: Offer): readonly CpuShare[] | undefined {
  const { segment, shareMilli, needMilli, sharers } = offer;
  // Where others turned out to need more than they were promised, further CPUs are opened for them, too.
  const roomMilli = Math.max(shareMilli, needMilli - sharers.promisedMilli);
  return spreadOver(index, segment, { milli: shareMilli, roomMilli, cpus: forecast.cpuCount });
}

function holdsEmpty(
  index: OccupancyIndex,
  segment: Segment,
  { rule }: Sharing,
  demand: ChannelDemand,
): boolean {
  return needOf(plus(NOBODY, demand), rule) <= capacityOf(index, segment) + DUST;
}

function accepted(question: Question, offer: Offer, cpus: readonly CpuShare[]): Choice {
  const { candidate, demand } = question;
  const check: Check = {
    reason: {
      code: 'FITS',
      text: `${adds(demand, offer, question.sharing)}; given a part of ${count(cpus.length, 'CPU')} that it shares`,
      needed: offer.shareMilli,
      available: offer.freeMilli,
      unit: 'thousandths',
      passed: true,
    },
    possible: true,
  };
  return { forecast: candidate.forecast, cpus, demand, checks: [check, loadCheck(question, offer)] };
}

function refused(question: Question, offer: Offer): Choice {
  const { sharing, candidate, demand } = question;
  const { segment, sum, shareMilli, freeMilli } = offer;
  const missing = missingOf(offer);
  const promised = shareMilli - freeMilli;
  const short =
    missing > 0
      ? `${cores(missing)} are missing${outsideText(offer)}${wouldFit(offer, sharing.rule, demand)}`
      : `others were promised ${cores(Math.max(0, promised))} of that and do not lend it`;
  const check: Check = {
    reason: {
      code: 'CPU_SHORT',
      text: `${adds(demand, offer, sharing)}; ${short}`,
      needed: missing > 0 ? offer.needMilli : shareMilli,
      available: missing > 0 ? offer.needMilli - missing : freeMilli,
      unit: 'thousandths',
      passed: false,
    },
    possible: true,
  };
  const { forecast } = candidate;
  return {
    forecast,
    cpus: [],
    checks: [check, loadCheck(question, offer)],
    ...(missing > 0 || promised <= 0 ? {} : { loan: { segment: segment.number, milli: promised, sum } }),
  };
}

/** It is expected to use its mean, as those beside it are: what it may use above that is in the need of all. */
function loadCheck({ input, index, candidate, demand }: Question, { shareMilli }: Offer): Check {
  const { host, use } = input;
  const loadMilli = Math.min(candidate.q90Milli, demand.meanMilli);
  const overSeconds = host && { ...host, busy: use?.busy ?? host.busy };
  return hostLoadCheck({ ...input, host: overSeconds }, index, candidate.forecast, {
    loadMilli,
    reservedMilli: shareMilli,
  });
}

function adds(demand: ChannelDemand, { sharers, needMilli, shareMilli }: Offer, sharing: Sharing): string {
  const quantile = `${sharing.quantile} quantile of the sum + ${percent(sharing.rule.headroom)} headroom`;
  const others = sharers.channels === 0 ? '' : `with ${count(sharers.channels, 'channel')} beside it `;
  return `needs ${cores(shareMilli)} (mean ${(demand.meanMilli / 1000).toFixed(2)}), ${others}${cores(needMilli)} together (${quantile})`;
}

function outsideText({ outsideMilli }: Offer): string {
  return outsideMilli === 0 ? '' : `, while others than the reservations use ${cores(outsideMilli)}`;
}

/** The same channel made cheaper, so that it fits now; empty where that would be next to nothing. */
function wouldFit(
  { sharers, freeMilli, outsideMilli }: Offer,
  rule: SharingRule,
  demand: ChannelDemand,
): string {
  const available = sharers.promisedMilli + freeMilli - outsideMilli;
  let [least, most] = [0, 1];
  for (let step = 0; step < BISECTIONS; step++) {
    const factor = (least + most) / 2;
    const smaller = {
      meanMilli: demand.meanMilli * factor,
      deviationMilli: demand.deviationMilli * factor,
      forecastMilli: demand.forecastMilli * factor,
    };
    if (needOf(plus(sharers.sum, smaller), rule) <= available) least = factor;
    else most = factor;
  }
  const mean = demand.meanMilli * least;
  if (mean < LEAST_OFFER_MILLI) return '';
  return `; up to ${(mean / 1000).toFixed(2)} (mean) would fit now: a cheaper rung, preset, size or frame rate`;
}

/** What floats leave behind an exact number must not cost a thousandth more. */
const DUST = 1e-6;
const BISECTIONS = 10;
/** Nobody's channel is made so cheap. */
const LEAST_OFFER_MILLI = 50;
