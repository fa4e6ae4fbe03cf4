import { corecast, corecastTuned } from './corecast.js';
import { countCap, meanCpu, noAdmission, nSigma, oracle, reactive, signatureLookup } from './peers.js';
import type { PolicyKind } from './policy.js';
import { pooledForecasts } from './pooled.js';
import type { MeasuredChannel } from './population.js';
import { type Outcome, simulate } from './simulate.js';
import { type Arrivals, makeWorkload, type Workload } from './workload.js';

/** The most of the admitted channels' time that may be late. */
export const LATE_LIMIT = 0.001;
export const PEERS: readonly PolicyKind[] = [
  noAdmission,
  countCap,
  meanCpu,
  signatureLookup,
  reactive,
  nSigma,
];
export const POLICIES: readonly PolicyKind[] = [...PEERS, corecast, corecastTuned, pooledForecasts, oracle];

export interface Scenario {
  readonly cpus: number;
  readonly arrivals: readonly Arrivals[];
  readonly hours: number;
  readonly seed: number;
  /** Workloads of each kind of arrivals that settings are chosen on, and as many others that are reported. */
  readonly workloads: number;
  readonly population: readonly MeasuredChannel[];
}

export interface Tried {
  readonly setting: number;
  readonly channels: number;
  readonly lateShare: number;
}

export interface PolicyResult {
  readonly policy: string;
  readonly setting: number | undefined;
  readonly settingMeans: string;
  /** Mean number of channels that run. */
  readonly channels: number;
  /** Of the admitted channels' time, 0-1. */
  readonly lateShare: number;
  /** False: no setting kept LATE_LIMIT on the workloads for tuning, or nothing could be set and it was not kept. */
  readonly onTime: boolean;
  readonly utilisation: number;
  readonly reserved: number;
  readonly refusedShare: number;
  /** Changes of running channels a channel and hour. */
  readonly adjustmentsPerHour: number;
  readonly byArrivals: readonly {
    readonly arrivals: Arrivals;
    readonly channels: number;
    readonly lateShare: number;
  }[];
  readonly tried: readonly Tried[];
  /** Of the first reported workload. */
  readonly series: Outcome['series'];
}

export interface Comparison {
  readonly results: readonly PolicyResult[];
  /** Channels of corecast as it ships over the oracle's, and over the best of the peers that keep LATE_LIMIT; 0 when late. */
  readonly shareOfOracle: number;
  readonly ratioToBestPeer: number;
  readonly bestPeer: string;
  /** The same with limits.headroom chosen as the peers' settings are. */
  readonly shareOfOracleTuned: number;
  readonly ratioToBestPeerTuned: number;
  readonly simulatedChannelHours: number;
}

export function compare(scenario: Scenario, policies: readonly PolicyKind[] = POLICIES): Comparison {
  const tuning = workloadsOf(scenario, 0);
  const reported = workloadsOf(scenario, 1);
  let simulated = 0;
  const runAll = (kind: PolicyKind, setting: number, on: readonly Workload[]) =>
    on.map((workload) => {
      const outcome = simulate(workload, kind.make(workload, setting));
      simulated += outcome.simulatedChannelHours;
      return outcome;
    });
  const results = policies.map((kind) => {
    const { best, tried } = tune(kind, scenario.cpus, (setting) => runAll(kind, setting, tuning));
    const outcomes = runAll(kind, best?.setting ?? tried[0]?.setting ?? 0, reported);
    return resultOf(kind, best, tried, reported, outcomes);
  });
  return { ...ratiosOf(results), results, simulatedChannelHours: simulated };
}

/** Tuning has even seeds, what is reported odd ones. */
function workloadsOf({ arrivals, workloads, seed, ...of }: Scenario, odd: 0 | 1): Workload[] {
  return arrivals.flatMap((kind) =>
    Array.from({ length: workloads }, (_, i) =>
      makeWorkload({ ...of, kind, seed: 2 * (seed * 1000 + i) + odd }),
    ),
  );
}

/** The setting that carries most of those that keep LATE_LIMIT. */
export function tune(
  kind: PolicyKind,
  cpus: number,
  run: (setting: number) => readonly Outcome[],
): { best: Tried | undefined; tried: readonly Tried[] } {
  const tried = kind.settings(cpus).map((setting) => ({ setting, ...carried(run(setting)) }));
  const kept = tried.filter(({ lateShare }) => lateShare <= LATE_LIMIT);
  const best = kept.reduce<Tried | undefined>(
    (most, one) => (most === undefined || one.channels > most.channels ? one : most),
    undefined,
  );
  return { best, tried };
}

export function carried(outcomes: readonly Outcome[]): { channels: number; lateShare: number } {
  const channelHours = sum(outcomes, (one) => one.channelHours);
  return {
    channels: channelHours / sum(outcomes, (one) => one.hours),
    lateShare: channelHours === 0 ? 0 : sum(outcomes, (one) => one.lateHours) / channelHours,
  };
}

function resultOf(
  kind: PolicyKind,
  best: Tried | undefined,
  tried: readonly Tried[],
  workloads: readonly Workload[],
  outcomes: readonly Outcome[],
): PolicyResult {
  const { channels, lateShare } = carried(outcomes);
  const cpuHours = sum(outcomes, (one) => one.cpuHours);
  const refused = sum(outcomes, (one) => one.refused);
  const kinds = [...new Set(workloads.map((workload) => workload.kind))];
  return {
    policy: kind.name,
    setting: best?.setting,
    settingMeans: kind.setting,
    channels,
    lateShare,
    onTime: tried.length === 0 ? lateShare <= LATE_LIMIT : best !== undefined,
    utilisation: sum(outcomes, (one) => one.usedHours) / cpuHours,
    reserved: sum(outcomes, (one) => one.reservedHours) / cpuHours,
    refusedShare: refused / Math.max(1, refused + sum(outcomes, (one) => one.admitted)),
    adjustmentsPerHour:
      sum(outcomes, (one) => one.adjustments) / sum(outcomes, (one) => one.simulatedChannelHours),
    byArrivals: kinds.map((arrivals) => ({
      arrivals,
      ...carried(outcomes.filter((_, i) => workloads[i]!.kind === arrivals)),
    })),
    tried,
    series: outcomes[0]!.series,
  };
}

function ratiosOf(results: readonly PolicyResult[]) {
  const named = (name: string) => results.find(({ policy }) => policy === name);
  // Late on the reported workloads, a policy of ours carries nothing; a peer that was on time when tuned still counts.
  const ours = (name: string) => {
    const result = named(name);
    return result?.onTime === true && result.lateShare <= LATE_LIMIT ? result.channels : 0;
  };
  const peers = results.filter((one) => one.onTime && PEERS.some(({ name }) => name === one.policy));
  const best = peers.reduce<PolicyResult | undefined>(
    (most, one) => (most === undefined || one.channels > most.channels ? one : most),
    undefined,
  );
  const against = (of: number | undefined, name: string) => (of ? ours(name) / of : 0);
  const most = named(oracle.name)?.channels;
  return {
    shareOfOracle: against(most, corecast.name),
    ratioToBestPeer: against(best?.channels, corecast.name),
    bestPeer: best?.policy ?? '',
    shareOfOracleTuned: against(most, corecastTuned.name),
    ratioToBestPeerTuned: against(best?.channels, corecastTuned.name),
  };
}

function sum(outcomes: readonly Outcome[], of: (outcome: Outcome) => number): number {
  return outcomes.reduce((total, one) => total + of(one), 0);
}
