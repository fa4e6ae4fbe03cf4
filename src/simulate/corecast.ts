/**
 * corecast on a simulated host, by the daemon's own code: balancer/decide() with the allocator on an OccupancyIndex decides
 * each admission, adjuster/plan() each change of a running channel.
 *
 * Not the daemon's: the forecast is the one that was measured (population.ts), without the online calibration; it is the
 * same for every count of CPUs, spread evenly over them; its host load is the balancer's sum, not the network's quantile.
 * Memory, ingress, queue, VOD, ladders and the making of room by moving others are left out.
 */
import { LATE_LAG_S, LATE_SPEED, type Place, plan } from '../adjuster/plan.js';
import { decide } from '../balancer/decide.js';
import { demandOf, keepsRealTime, spread, withHeadroom } from '../balancer/demand.js';
import { configSchema } from '../config/schema.js';
import { type Forecast, IDLE_HOST } from '../forecast/forecast.js';
import { OccupancyIndex, place } from '../reservation/allocator.js';
import type { CpuShare } from '../reservation/reservation.js';
import type { Topology } from '../topology/topology.js';
import { COUNTS, forecastOf, plainTopology, REQUEST } from './corecast-inputs.js';
import type { Host } from './host.js';
import type { Policy, PolicyKind } from './policy.js';
import { type MeasuredChannel, STEP_S } from './population.js';
import type { Arrival } from './workload.js';

/** What an operator has who sets nothing. */
const { limits, adjust } = configSchema.parse({});
export const DEFAULT_HEADROOM = limits.headroom;
export const DEFAULT_HOST_LOAD = limits.host_load;
const LIMITS = {
  memory_reserve_mb: 0,
  ingress_bps: 0,
  channels: 100_000,
  channels_per_peer: 100_000,
  cores_per_peer: 0,
  queue: 0,
  message_bytes: 262_144,
};
const PLAN_LIMITS = {
  sustainMs: adjust.sustain_ms,
  restoreMs: adjust.restore_ms,
  cooldownMs: adjust.cooldown_ms,
};

export const corecast: PolicyKind = {
  name: 'corecast',
  setting: 'none: as it ships',
  settings: () => [],
  make: ({ cpus }) => new Corecast(cpus, DEFAULT_HEADROOM, DEFAULT_HOST_LOAD),
};

/** limits.headroom by the operator, limits.host_load off: what the same code carries with no margin beyond need. */
export const corecastTuned: PolicyKind = {
  name: 'corecast, tuned',
  setting: 'limits.headroom, with limits.host_load = 1',
  settings: () => [0, 0.02, 0.05, 0.1, 0.15, 0.2],
  make: ({ cpus }, headroom) => new Corecast(cpus, headroom, 1),
};

interface Held {
  cpus: readonly CpuShare[];
  milli: number;
  readonly admittedMilli: number;
  readonly q90Cores: number;
  deviatingMs: number;
  calmMs: number;
  sinceChangeMs: number;
}

class Corecast implements Policy {
  readonly #topology: Topology;
  readonly #index: OccupancyIndex;
  readonly #headroom: number;
  readonly #limits: Parameters<typeof decide>[0]['limits'];
  readonly #held = [] as (Held | undefined)[];
  readonly #questions = new Map<MeasuredChannel, Question>();
  #busy = 0;

  constructor(cpus: number, headroom: number, hostLoad: number) {
    this.#topology = plainTopology(cpus);
    this.#index = new OccupancyIndex(this.#topology, SMT_CORE_MILLI);
    this.#headroom = headroom;
    this.#limits = { ...LIMITS, headroom, host_load: hostLoad };
  }

  admit(arrival: Arrival, host: Host): readonly CpuShare[] | undefined {
    const { forecasts, wanted } = this.#questionOf(arrival.channel, host.cpus);
    // decide() would look long for a place that is not there, and explain why: most of the time on a full host.
    if (!wanted.some((sharesMilli) => hasPlace(this.#index, sharesMilli))) return undefined;
    const verdict = decide({
      request: REQUEST,
      forecasts,
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
    });
    if (!verdict.fits) return undefined;
    this.#index.reserve(verdict.cpus, false);
    const milli = milliOf(verdict.cpus);
    this.#held[arrival.id] = {
      cpus: verdict.cpus,
      milli,
      admittedMilli: milli,
      q90Cores: Math.max(...verdict.forecast.horizons.map(({ demand }) => demand.q90)),
      deviatingMs: 0,
      calmMs: 0,
      sinceChangeMs: 0,
    };
    return verdict.cpus;
  }

  observe(host: Host): void {
    this.#busy = host.used / host.cpus;
    for (let slot = 0; slot < host.count; slot++) {
      const held = this.#held[host.arrival[slot]!.id]!;
      const usage = host.demand[slot]! * host.speed[slot]!;
      // deviationOf() on numbers: nearly all channels do as was forecast, and need no view made of them.
      const deviates =
        host.speed[slot]! < LATE_SPEED ||
        host.lagS[slot]! > LATE_LAG_S ||
        usage > (held.milli / 1000) * SATURATED ||
        usage > held.q90Cores * LEFT_FORECAST;
      held.deviatingMs = deviates ? held.deviatingMs + STEP_MS : 0;
      held.calmMs = deviates ? 0 : held.calmMs + STEP_MS;
      held.sinceChangeMs += STEP_MS;
      if (this.#mayChange(held, deviates, usage / Math.min(1, Math.max(host.speed[slot]!, LEAST_SPEED))))
        this.#adjust(host, slot, held, usage);
    }
  }

  ended({ id }: Arrival): void {
    this.#index.release(this.#held[id]!.cpus, false);
    this.#held[id] = undefined;
  }

  reservedCores(): number {
    return this.#index.reservedMilli / 1000;
  }

  /** False where plan() would leave the channel as it is, by the same numbers: nearly always. */
  #mayChange(held: Held, deviates: boolean, demandCores: number): boolean {
    if (held.sinceChangeMs < PLAN_LIMITS.cooldownMs) return false;
    const needMilli = Math.ceil((demandCores / (1 - this.#headroom)) * 1000);
    if (deviates) {
      const within = needMilli > held.milli && needMilli <= held.milli + this.#index.freeMilli;
      return within && held.deviatingMs >= PLAN_LIMITS.sustainMs;
    }
    const least = Math.max(held.admittedMilli, needMilli);
    return held.calmMs >= PLAN_LIMITS.restoreMs && least < held.milli * SHRINK_BELOW;
  }

  #adjust(host: Host, slot: number, held: Held, usageCores: number): void {
    const action = plan(
      {
        reserved: held.cpus,
        live: true,
        rung: 0,
        ladderRungs: 0,
        usageCores,
        speed: host.speed[slot]!,
        lagSeconds: host.lagS[slot]!,
        forecastQ90Cores: held.q90Cores,
        admittedMilli: held.admittedMilli,
        demandByRung: [],
        idleCores: host.cpus - host.used,
        deviatingMs: held.deviatingMs,
        calmMs: held.calmMs,
        sinceChangeMs: held.sinceChangeMs,
      },
      { ...PLAN_LIMITS, headroom: this.#headroom },
      this.#placeFor(held),
    );
    if (action.action !== 'grow' && action.action !== 'shrink') return;
    this.#index.release(held.cpus, false);
    this.#index.reserve(action.cpus, false);
    held.cpus = action.cpus;
    held.milli = milliOf(action.cpus);
    held.sinceChangeMs = 0;
    host.confine(slot, action.cpus);
  }

  /** With its own CPUs free, as the daemon's reservation/resize.ts asks. */
  #placeFor(held: Held): Place {
    return (sharesMilli) => {
      const needed = sharesMilli.reduce((a, b) => a + b, 0);
      if (needed > this.#index.freeMilli + held.milli || sharesMilli.some((share) => share > 1000))
        return undefined;
      this.#index.release(held.cpus, false);
      const prefer = held.cpus.map(({ cpu }) => cpu);
      const placed = hasPlace(this.#index, sharesMilli)
        ? place(this.#index, { ...SHARED, sharesMilli, prefer })
        : undefined;
      this.#index.reserve(held.cpus, false);
      return placed?.ok === true ? placed.cpus : undefined;
    };
  }

  #questionOf(channel: MeasuredChannel, cpus: number): Question {
    const known = this.#questions.get(channel);
    if (known !== undefined) return known;
    const forecasts = COUNTS.filter((count) => count <= cpus).map((count) => forecastOf(channel, count));
    const wanted = forecasts.flatMap((forecast) => {
      const milli = withHeadroom(demandOf(forecast).q90Milli, this.#headroom);
      return keepsRealTime(forecast, milli) ? [spread(forecast, milli)!] : [];
    });
    const question = { forecasts, wanted };
    this.#questions.set(channel, question);
    return question;
  }
}

interface Question {
  readonly forecasts: readonly Forecast[];
  /** Shares, busiest first, that each forecast which keeps real time asks for. */
  readonly wanted: readonly (readonly number[])[];
}

/** Whether the allocator would find a place. Exact on cores of one CPU: the n-th share needs n CPUs with so much free. */
export function hasPlace({ free }: OccupancyIndex, sharesMilli: readonly number[]): boolean {
  return sharesMilli.every((share, rank) => {
    let roomy = 0;
    for (let slot = 0; slot < free.length && roomy <= rank; slot++) if (free[slot]! >= share) roomy++;
    return roomy > rank;
  });
}

const STEP_MS = STEP_S * 1000;
/** adjuster/plan.ts: its own limits of the same names, and the least speed of its demandOf(). */
const SATURATED = 0.95;
const LEFT_FORECAST = 1.1;
const SHRINK_BELOW = 0.7;
const LEAST_SPEED = 0.25;
const SMT_CORE_MILLI = 1300;
const SHARED = { exclusive: false, channelClass: 'live', smtCoreMilli: SMT_CORE_MILLI } as const;
function milliOf(cpus: readonly CpuShare[]): number {
  return cpus.reduce((sum, { shareMilli }) => sum + shareMilli, 0);
}
