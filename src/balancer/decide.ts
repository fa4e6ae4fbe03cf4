/**
 * The predictive load balancer: forecast, occupancy and limits in, a verdict with its reasons out. Pure.
 *
 * Live: the reservation is the forecast's 0.9 quantile of demand (the worst horizon's) with the headroom on top, spread
 * over the CPUs as the forecast says they will be used. The fewest CPUs that keep real time (no share above a whole CPU)
 * and have a place win.
 * Live channels that name no CPU count and do not ask for whole cores share their CPUs instead (choose-shared.ts), where
 * the configuration has them do so: the quantile of their sum is reserved, not the sum of their quantiles.
 * VOD: not bound to real time, so it takes whole CPUs, as many as it can use (0.5 quantile) down to one, whatever is
 * free and keeps the host under its load limit. Live channels use the thousandths that remain.
 *
 * Every check is made and listed, so that a refusal names all that stands against it at once. Waiting helps unless the
 * request would not fit this host if it were empty.
 */
import type { Config } from '../config/schema.js';
import type { Forecast, HostState } from '../forecast/forecast.js';
import { assert } from '../lib/assert.js';
import { indexed, type OccupancyIndex } from '../reservation/allocator.js';
import type { Occupancy } from '../reservation/occupancy.js';
import type { CpuShare } from '../reservation/reservation.js';
import type { ChannelRequest } from '../rpc/control.js';
import type { Topology } from '../topology/topology.js';
import { admissionCheck, channelCheck, ingressCheck, memoryCheck, queueCheck } from './checks.js';
import { chooseLive } from './choose-live.js';
import { chooseShared, type Loan, type Sharing, shares } from './choose-shared.js';
import { chooseVod } from './choose-vod.js';
import type { Reason } from './decision.js';
import type { HostUse } from './host-use.js';
import type { ChannelDemand } from './shared-demand.js';

export { candidateCpuCounts } from './demand.js';

export interface DecideInput {
  readonly request: ChannelRequest;
  /** One per candidate CPU count. */
  readonly forecasts: readonly Forecast[];
  readonly topology: Topology;
  /** An OccupancyIndex saves the work of indexing. */
  readonly occupancy: Occupancy;
  /** Undefined before the monitor's first step. */
  readonly host: HostState | undefined;
  /** Over the last seconds; absent where nobody measures. */
  readonly use?: HostUse;
  readonly limits: Config['limits'];
  readonly smtCoreMilli: number;
  readonly memory: { readonly availableBytes: number; readonly totalBytes: number } | undefined;
  /** Input bit rates of the channels that hold a reservation. */
  readonly ingressReservedBps: number;
  /** Channels that hold a reservation. */
  readonly channels: number;
  /** Waiting requests that must not be overtaken. */
  readonly queuedAhead: number;
  readonly queued: number;
  /** Empty while admission is open. */
  readonly closedReason: string;
  /** Who shares CPUs now; absent where nobody does: each live channel is then reserved for by itself. */
  readonly sharing?: Sharing;
  /** Milliseconds from now until the next reservation is likely to end. */
  readonly expectedReleaseMs?: number;
}

export interface Verdict {
  readonly fits: boolean;
  /** False when it fits, and when it could never fit on this host. */
  readonly waitingHelps: boolean;
  readonly reasons: readonly Reason[];
  /** For the chosen CPU count, or the best candidate when nothing fits. */
  readonly forecast: Forecast;
  /** Empty unless it fits. */
  readonly cpus: readonly CpuShare[];
  /** 0 when it fits or waiting does not help. */
  readonly retryAfterMs: number;
  /** Of a channel that shares its CPUs: what was reserved for. */
  readonly demand?: ChannelDemand;
  /** It would fit if others who share gave up what they do not need any more. */
  readonly loan?: Loan;
}

/** One thing that was checked. `possible`: it would pass on the empty host. */
export interface Check {
  readonly reason: Reason;
  readonly possible: boolean;
}

/** What a class's way of choosing CPUs comes to. */
export interface Choice {
  readonly forecast: Forecast;
  /** Empty when there is no place. */
  readonly cpus: readonly CpuShare[];
  readonly checks: readonly Check[];
  readonly demand?: ChannelDemand;
  readonly loan?: Loan;
}

const RETRY_DEFAULT_MS = 5_000;
const RETRY_LEAST_MS = 250;
const RETRY_MOST_MS = 60_000;

export function decide(input: DecideInput): Verdict {
  assert(input.forecasts.length > 0, 'a decision needs at least one forecast');
  const index = indexed(input.topology, input.occupancy, input.smtCoreMilli);
  const choice = choose(input, index);
  const checks = [
    ...choice.checks,
    memoryCheck(input, choice.forecast.cpuCount),
    ingressCheck(input),
    channelCheck(input),
    queueCheck(input),
    admissionCheck(input),
  ].filter((check) => check !== undefined);
  const fits = checks.every(({ reason }) => reason.passed);
  const waitingHelps = !fits && checks.every(({ possible }) => possible);
  return {
    fits,
    waitingHelps,
    reasons: [...checks.map(({ reason }) => reason), ...(waitingHelps ? fullQueue(input) : [])],
    forecast: choice.forecast,
    cpus: fits ? choice.cpus : [],
    retryAfterMs: waitingHelps ? retryAfter(input) : 0,
    ...(fits && choice.demand !== undefined ? { demand: choice.demand } : {}),
    ...(waitingHelps && choice.loan !== undefined ? { loan: choice.loan } : {}),
  };
}

function choose(input: DecideInput, index: OccupancyIndex): Choice {
  if (input.request.channelClass === 'vod') return chooseVod(input, index);
  return input.sharing !== undefined && shares(input)
    ? chooseShared(input, index, input.sharing)
    : chooseLive(input, index);
}

/** Only who must wait minds a full queue. */
function fullQueue({ queued, limits }: DecideInput): Reason[] {
  if (queued < limits.queue) return [];
  return [
    {
      code: 'QUEUE_FULL',
      text: `${queued} requests wait already, the most that may (limits.queue)`,
      needed: queued + 1,
      available: limits.queue,
      unit: 'channels',
      passed: false,
    },
  ];
}

function retryAfter({ expectedReleaseMs }: DecideInput): number {
  const wanted = expectedReleaseMs ?? RETRY_DEFAULT_MS;
  return Math.round(Math.min(RETRY_MOST_MS, Math.max(RETRY_LEAST_MS, wanted)));
}
