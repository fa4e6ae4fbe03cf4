import { costTableDemand } from '../forecast/cost-table.js';
import { expectedDemand } from '../forecast/expected-demand.js';
import { encodeSequence, encodeStatic } from '../forecast/features.js';
import { type ChannelState, HORIZONS, type HostState, WINDOW_STEPS } from '../forecast/forecast.js';
import { dominantFamily } from '../forecast/signature-family.js';
import { type Words, wordsOf } from '../forecast/vocabulary.js';
import type { Run, RunSample } from '../history/records.js';
import { below, type Random, shuffle } from './random.js';
import { signatureKey } from './signature-key.js';
import { samplesByHorizon, targetsOf } from './targets.js';

/** One question to the network and what the answer turned out to be. Features are raw. */
export interface Row {
  readonly runId: string;
  readonly source: string;
  /** 'new': asked before the start; 'running': asked during the run, with the channel's own window. */
  readonly kind: 'new' | 'running';
  /** Made from a calibration run by pretending another host; never in the test part. */
  readonly imagined: boolean;
  /** The channel's trial is kept from it, because most channels come without one; never in the test part. */
  readonly withheld: boolean;
  readonly sequence: Float32Array;
  readonly fixed: Float32Array;
  readonly target: Float32Array;
  /** What was expected of it (expected-demand.ts), cores; `target` is relative to it. */
  readonly cost: number;
  readonly signatureKey: string;
  /** For the inputs that a model's vocabulary has. */
  readonly words: Words;
  /** The encoder family that costs most: scores are told by it. */
  readonly encoder: string;
  /** The channel's own last steps, cores; empty for a new one. For the methods that the network must beat. */
  readonly recentCores: readonly number[];
}

/** A long run is one channel's opinion, not thousands: so many rows at most come from each. */
const NEW_ROWS = 8;
const ANCHORS = 8;
const ROWS_PER_ANCHOR = 2;
const IMAGINED_ROWS = 2;
/** Steps before the first anchor. */
const LEAST_WINDOW = 3;

/**
 * The rows of one run. Several rows ask the same and take different samples for an answer, so that the quantiles come to
 * mean the distribution over steps. Calibration has no time of its own: its samples answer for every horizon.
 */
export function rowsOfRun(recorded: Run, random: Random): Row[] {
  const run = { ...recorded, samples: recorded.samples.filter(isWhole) };
  const cost = expectedDemand(run.signature);
  const rows = newRows(run, cost, random);
  if (run.signature.complexity.probeCpuSecondsPerFrame !== undefined)
    rows.push(...newRows(withoutTrial(run), costTableDemand(run.signature), random).map(withheld));
  if (run.origin === 'calibration') rows.push(...imaginedRows(run, cost, random));
  else rows.push(...runningRows(run, cost, random));
  return rows;
}

/** Steps that the monitor missed have holes. */
function isWhole({ atS, demandCores, hostLoad }: RunSample): boolean {
  return demandCores >= 0 && [atS, demandCores, hostLoad].every(Number.isFinite);
}

function withoutTrial(run: Run): Run {
  const { probeCpuSecondsPerFrame: _, ...complexity } = run.signature.complexity;
  return { ...run, signature: { ...run.signature, complexity } };
}

function withheld(row: Row): Row {
  return { ...row, withheld: true };
}

function newRows(run: Run, cost: number, random: Random): Row[] {
  const buckets = bucketsOf(run, 0);
  const count = Math.min(NEW_ROWS, Math.max(0, ...buckets.map(({ length }) => length)));
  const sequence = encodeSequence(run.hostBefore);
  const fixed = encodeStatic(run.signature, run.cpuCount, run.schedulableCpus);
  return answers(run.samples, buckets, count, random).map((samples) => ({
    ...commonOf(run, cost),
    kind: 'new',
    imagined: false,
    sequence,
    fixed,
    target: targetsOf(samples, cost),
    recentCores: [],
  }));
}

/** At anchors spread over the run: what was known before, what came after. */
function runningRows(run: Run, cost: number, random: Random): Row[] {
  const { samples } = run;
  const possible = samples.length - 1 - LEAST_WINDOW;
  if (possible < 1) return [];
  const fixed = encodeStatic(run.signature, run.cpuCount, run.schedulableCpus);
  const rows: Row[] = [];
  const anchors = Math.min(ANCHORS, possible);
  for (let i = 0; i < anchors; i++) {
    // One anchor somewhere in each of as many equal parts.
    const anchor = LEAST_WINDOW + Math.floor(((i + random()) * possible) / anchors);
    const before = samples.slice(Math.max(0, anchor - WINDOW_STEPS), anchor);
    const anchorS = samples[anchor - 1]!.atS;
    const hosts = [...run.hostBefore, ...samples.slice(0, anchor).map(({ host }) => host)].slice(
      -WINDOW_STEPS,
    );
    const sequence = encodeSequence(hosts, before.map(channelState));
    const buckets = samplesByHorizon(samples, anchorS);
    const count = Math.min(ROWS_PER_ANCHOR, Math.max(0, ...buckets.map(({ length }) => length)));
    for (const answer of answers(samples, buckets, count, random)) {
      rows.push({
        ...commonOf(run, cost),
        kind: 'running',
        imagined: false,
        sequence,
        fixed,
        target: targetsOf(answer, cost),
        recentCores: before.map(({ demandCores }) => demandCores),
      });
    }
  }
  return rows;
}

/**
 * Calibration sees one idle host of one size. Loads add up and a larger host is a smaller share, so the same measurement
 * also answers for a host of more CPUs with something else running; without this a model that knows only calibration
 * would take every host for an idle one of this size.
 */
function imaginedRows(run: Run, cost: number, random: Random): Row[] {
  const buckets = bucketsOf(run, 0);
  const count = run.samples.length === 0 ? 0 : IMAGINED_ROWS;
  return answers(run.samples, buckets, count, random).map((samples) => {
    const cpus = run.schedulableCpus * 2 ** below(random, 6);
    const shrink = run.schedulableCpus / cpus;
    const worst = Math.max(...samples.map((sample) => sample?.hostLoad ?? 0)) * shrink;
    const background = random() * Math.max(0, 0.95 - worst);
    const hosts = run.hostBefore.map((state) => withBackground(state, shrink, background));
    const target = targetsOf(
      samples.map(
        (sample) => sample && { ...sample, hostLoad: Math.min(1, sample.hostLoad * shrink + background) },
      ),
      cost,
    );
    return {
      ...commonOf(run, cost),
      kind: 'new',
      imagined: true,
      sequence: encodeSequence(hosts),
      fixed: encodeStatic(run.signature, run.cpuCount, cpus),
      target,
      recentCores: [],
    };
  });
}

function withBackground(state: HostState, shrink: number, background: number): HostState {
  return {
    ...state,
    busy: Math.min(1, state.busy * shrink + background),
    busiestCore: Math.min(1, state.busiestCore + background),
    reserved: Math.min(1, state.reserved * shrink + background),
  };
}

/** `count` choices of one sample for each horizon, each sample used about equally often. */
function answers(
  samples: readonly RunSample[],
  buckets: readonly (readonly number[])[],
  count: number,
  random: Random,
): (RunSample | undefined)[][] {
  const orders = buckets.map((bucket) => shuffle([...bucket], random));
  return Array.from({ length: count }, (_, i) =>
    orders.map((order) => (order.length === 0 ? undefined : samples[order[i % order.length]!])),
  );
}

function bucketsOf(run: Run, anchorS: number): readonly (readonly number[])[] {
  if (run.origin !== 'calibration') return samplesByHorizon(run.samples, anchorS);
  const all = run.samples.map((_, i) => i);
  return HORIZONS.map(() => all);
}

function channelState({ demandCores, ingressBps, speed }: RunSample): ChannelState {
  // Windows speak of wall time: a channel at speed 0.8 does 0.8 of its demand.
  return { cores: demandCores * speed, ingressBps, speed };
}

function commonOf(run: Run, cost: number) {
  return {
    runId: run.id,
    source: run.source,
    withheld: false,
    words: wordsOf(run.signature),
    cost,
    signatureKey: signatureKey(run.signature, run.cpuCount),
    encoder: dominantFamily(run.signature),
  };
}
