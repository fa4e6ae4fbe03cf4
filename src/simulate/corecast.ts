/**
 * corecast on a simulated host, by the daemon's own code: balancer/decide() with the allocator on an OccupancyIndex decides
 * each admission, balancer/seen-demand.ts follows what each channel uses, reservation/allocator-lend.ts takes back what those
 * who share do not need any more, adjuster/plan() helps a channel that is late or short, and reservation/allocator-close.ts
 * packs those who share when few are left.
 *
 * Not the daemon's: the forecast is the one that was measured (population.ts), without the online calibration; it is the
 * same for every count of CPUs, spread evenly over them; its host load is the balancer's sum, not the network's quantile.
 * Memory, ingress, queue, VOD, ladders and the making of room by moving others are left out. All channels of a segment
 * (reservation/allocator-spread.ts) run on its open CPUs as one pool, as those of the other policies do on all.
 */
import { LATE_LAG_S, LATE_SPEED } from '../adjuster/deviation.js';
import { plan } from '../adjuster/plan.js';
import { decide } from '../balancer/decide.js';
import { SeenUse } from '../balancer/seen-demand.js';
import {
  type ChannelDemand,
  type DemandSum,
  demandNow,
  needOf,
  normalQuantile,
  type SharingRule,
  shareOf,
} from '../balancer/shared-demand.js';
import { type Sharer, sharersOf } from '../balancer/sharers.js';
import { configSchema } from '../config/schema.js';
import { type Forecast, IDLE_HOST } from '../forecast/forecast.js';
import { OccupancyIndex } from '../reservation/allocator.js';
import { closingOf } from '../reservation/allocator-close.js';
import { lend } from '../reservation/allocator-lend.js';
import {
  type Segments,
  segmentOf,
  segmentsOf,
  spreadAnywhere,
  spreadOver,
} from '../reservation/allocator-spread.js';
import { milliOf } from '../reservation/cpu-shares.js';
import type { CpuShare } from '../reservation/reservation.js';
import type { Topology } from '../topology/topology.js';
import { countsOn, forecastOf, plainTopology, REQUEST } from './corecast-inputs.js';
import type { Host } from './host.js';
import type { Policy, PolicyKind } from './policy.js';
import { type MeasuredChannel, STEP_S } from './population.js';
import type { Arrival } from './workload.js';

/** What an operator has who sets nothing. */
const { limits, sharing, adjust } = configSchema.parse({});
export const DEFAULT_SHARING = sharing;
export const DEFAULT_HOST_LOAD = limits.host_load;
const LIMITS = {
  memory_reserve_mb: 0,
  ingress_bps: 0,
  channels: 100_000,
  channels_per_peer: 100_000,
  cores_per_peer: 0,
  queue: 0,
  message_bytes: 262_144,
  headroom: limits.headroom,
};

export interface CorecastOptions {
  readonly quantile: number;
  /** Of those who share. */
  readonly headroom: number;
  readonly hostLoad: number;
  /** Of the error that forecasts have in common. */
  readonly common: number;
}

export const corecast: PolicyKind = {
  name: 'corecast',
  setting: 'none: as it ships',
  settings: () => [],
  make: ({ cpus }) =>
    new Corecast(cpus, {
      quantile: sharing.quantile,
      headroom: sharing.headroom,
      hostLoad: DEFAULT_HOST_LOAD,
      common: COMMON_ERROR,
    }),
};

/** sharing.headroom by the operator, limits.host_load off: what the same code carries with no margin beyond need. */
export const corecastTuned: PolicyKind = {
  name: 'corecast, tuned',
  setting: 'sharing.headroom, with limits.host_load = 1',
  settings: () => [0, 0.02, 0.05, 0.1, 0.15, 0.2],
  make: ({ cpus }, headroom) =>
    new Corecast(cpus, { quantile: sharing.quantile, headroom, hostLoad: 1, common: COMMON_ERROR }),
};

interface Held {
  cpus: readonly CpuShare[];
  milli: number;
  readonly forecast: ChannelDemand | undefined;
  readonly threads: number;
  readonly seen: SeenUse;
  deviatingMs: number;
  changedStep: number;
}

export class Corecast implements Policy {
  /** Changes of running channels so far, loans among them. */
  adjustments = 0;
  readonly #topology: Topology;
  readonly #index: OccupancyIndex;
  readonly #segments: Segments;
  readonly #rule: SharingRule;
  readonly #quantile: number;
  readonly #limits: Parameters<typeof decide>[0]['limits'];
  readonly #held = new Map<number, Held>();
  readonly #forecasts = new Map<MeasuredChannel, readonly Forecast[]>();
  #busy = 0;

  constructor(cpus: number, { quantile, headroom, hostLoad, common }: CorecastOptions) {
    this.#topology = plainTopology(cpus);
    this.#index = new OccupancyIndex(this.#topology, SMT_CORE_MILLI);
    this.#segments = segmentsOf(this.#index.host, sharing.cpus);
    this.#quantile = quantile;
    this.#rule = { z: normalQuantile(quantile), headroom, common };
    this.#limits = { ...LIMITS, host_load: hostLoad };
  }

  admit(arrival: Arrival, host: Host, step: number): number | undefined {
    let verdict = this.#decide(arrival, host);
    if (verdict.loan !== undefined && this.#borrow(verdict.loan)) verdict = this.#decide(arrival, host);
    if (!verdict.fits) return undefined;
    this.#index.reserve(verdict.cpus, false);
    this.#held.set(arrival.id, {
      cpus: verdict.cpus,
      milli: milliOf(verdict.cpus),
      forecast: verdict.demand,
      threads: verdict.forecast.cpuCount,
      seen: new SeenUse(),
      deviatingMs: 0,
      changedStep: step,
    });
    this.#open(host);
    return segmentOf(this.#index.host, this.#segments, verdict.cpus);
  }

  observe(host: Host, step: number): void {
    this.#busy = host.used / host.cpus;
    // What it wants in real time: the daemon divides what is used by the speed.
    for (let slot = 0; slot < host.count; slot++)
      this.#held.get(host.arrival[slot]!.id)!.seen.add(host.demand[slot]! * 1000, STEP_S);
    if (host.behind) this.#relieve(host, step);
    else if (step % CHECK_STEPS === 0) this.#close(host);
  }

  ended({ id }: Arrival, host: Host): void {
    this.#index.release(this.#held.get(id)!.cpus, false);
    this.#held.delete(id);
    this.#open(host);
  }

  reservedCores(): number {
    return this.#index.reservedMilli / 1000;
  }

  #decide({ channel }: Arrival, host: Host) {
    return decide({
      request: REQUEST,
      forecasts: this.#forecastsOf(channel, host.cpus),
      topology: this.#topology,
      occupancy: this.#index,
      host: { ...IDLE_HOST, busy: this.#busy },
      limits: this.#limits,
      smtCoreMilli: SMT_CORE_MILLI,
      memory: undefined,
      ingressReservedBps: 0,
      channels: host.count,
      queuedAhead: 0,
      queued: 0,
      closedReason: '',
      sharing: {
        rule: this.#rule,
        quantile: this.#quantile,
        cpus: sharing.cpus,
        sharers: sharersOf(this.#index.host, this.#segments, this.#sharers()),
      },
    });
  }

  /** Those who are late for long enough, as the daemon's adjuster does. */
  #relieve(host: Host, step: number): void {
    for (let slot = 0; slot < host.count; slot++) {
      const { id } = host.arrival[slot]!;
      const held = this.#held.get(id)!;
      const late = host.speed[slot]! < LATE_SPEED || host.lagS[slot]! > LATE_LAG_S;
      held.deviatingMs = late ? held.deviatingMs + STEP_MS : 0;
      const sinceChangeMs = (step - held.changedStep) * STEP_MS;
      if (held.deviatingMs < adjust.sustain_ms || sinceChangeMs < adjust.cooldown_ms) continue;
      const cpus = this.#relieved(host, slot, held, sinceChangeMs);
      if (cpus === undefined) continue;
      held.changedStep = step;
      this.#move(host, held, cpus);
      host.regroup(slot, segmentOf(this.#index.host, this.#segments, cpus));
    }
  }

  #relieved(host: Host, slot: number, held: Held, sinceChangeMs: number): readonly CpuShare[] | undefined {
    const { cpus, forecast, seen, deviatingMs } = held;
    if (forecast === undefined) return undefined;
    const sharers = sharersOf(this.#index.host, this.#segments, this.#sharers());
    const { sum, promisedMilli } = sharers.get(segmentOf(this.#index.host, this.#segments, cpus))!;
    const next = plan(
      {
        ...{ reserved: cpus, live: true, rung: 0, ladderRungs: 0, admittedMilli: 0, demandByRung: [] },
        usageCores: host.demand[slot]! * host.speed[slot]!,
        speed: host.speed[slot]!,
        lagSeconds: host.lagS[slot]!,
        forecastQ90Cores: forecast.meanMilli / 1000,
        shared: {
          needMilli: Math.ceil(shareOf(demandNow(forecast, seen), sum, this.#rule)),
          shortMilli: Math.max(0, needOf(sum, this.#rule) - promisedMilli),
        },
        idleCores: host.cpus - host.used,
        ...{ deviatingMs, calmMs: 0, sinceChangeMs },
      },
      {
        headroom: limits.headroom,
        sustainMs: adjust.sustain_ms,
        restoreMs: adjust.restore_ms,
        cooldownMs: adjust.cooldown_ms,
      },
      ([milli]) => this.#spread(held, milli!),
    );
    return next.action === 'grow' || next.action === 'move' ? next.cpus : undefined;
  }

  #spread({ cpus, threads }: Held, milli: number): readonly CpuShare[] | undefined {
    const request = { milli, roomMilli: milli, cpus: threads };
    this.#index.release(cpus, false);
    const own = this.#segments.all[segmentOf(this.#index.host, this.#segments, cpus)];
    const found =
      (own && spreadOver(this.#index, own, request)) ?? spreadAnywhere(this.#index, sharing.cpus, request);
    this.#index.reserve(cpus, false);
    return found;
  }

  #close(host: Host): void {
    const move = closingOf(this.#index, this.#segments, () =>
      [...this.#held].flatMap(([id, { cpus, threads, forecast }]) =>
        forecast === undefined ? [] : [{ id: String(id), cpus, threads }],
      ),
    );
    if (move !== undefined) this.#move(host, this.#held.get(Number(move.id))!, move.cpus);
  }

  #move(host: Host, held: Held, cpus: readonly CpuShare[]): void {
    this.#index.release(held.cpus, false);
    this.#index.reserve(cpus, false);
    held.cpus = cpus;
    held.milli = milliOf(cpus);
    this.adjustments++;
    this.#open(host);
  }

  *#sharers(): Generator<Sharer & { held: Held }> {
    for (const held of this.#held.values()) {
      const { cpus, milli, forecast, seen } = held;
      if (forecast !== undefined)
        yield { held, cpus, milli, demand: demandNow(forecast, seen.seconds > 0 ? seen : undefined) };
    }
  }

  #borrow({ segment, milli, sum }: { segment: number; milli: number; sum: DemandSum }): boolean {
    const lenders = [...this.#sharers()]
      .filter(({ cpus }) => segmentOf(this.#index.host, this.#segments, cpus) === segment)
      .map(({ held, cpus, demand }) => ({ held, cpus, keepMilli: shareOf(demand, sum, this.#rule) }));
    const loans = lend(lenders, milli);
    for (const { lender, cpus } of loans ?? []) {
      this.#index.release(lender.cpus, false);
      this.#index.reserve(cpus, false);
      lender.held.cpus = cpus;
      lender.held.milli = milliOf(cpus);
      this.adjustments++;
    }
    return loans !== undefined;
  }

  /** Those of a segment run on the CPUs of it that are open. */
  #open(host: Host): void {
    const { coreFree, capacity } = this.#index;
    host.groupCpus = this.#segments.all.map(
      ({ cores }) => cores.filter((core) => coreFree[core]! < capacity[core]!).length,
    );
  }

  #forecastsOf(channel: MeasuredChannel, cpus: number): readonly Forecast[] {
    const known = this.#forecasts.get(channel);
    if (known !== undefined) return known;
    const forecasts = countsOn(cpus).map((count) => forecastOf(channel, count));
    this.#forecasts.set(channel, forecasts);
    return forecasts;
  }
}

/** What the daemon assumes before it has measured its own (feedback/common-error.ts). */
const COMMON_ERROR = 0.05;
const SMT_CORE_MILLI = 1300;
const STEP_MS = STEP_S * 1000;
/** 30 s: the daemon waits as long (adjust.restore_ms) before it closes a core. */
const CHECK_STEPS = 6;
