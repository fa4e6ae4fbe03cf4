import type { SeenDemand } from '../balancer/shared-demand.js';
import type { Config } from '../config/schema.js';
import type { ChannelState } from '../forecast/forecast.js';
import type { Clock } from '../lib/clock.js';
import { messageOf } from '../lib/errors.js';
import type { Log } from '../lib/log.js';
import { milliOf } from '../reservation/cpu-shares.js';
import type { CpuShare, Reservation } from '../reservation/reservation.js';
import type { SharedPart } from '../reservation/shared-cpus.js';
import type { ChannelUsage, Directive } from '../rpc/control.js';
import { type ChannelView, demandOf, deviationOf, LATE_SPEED } from './deviation.js';
import { IngressChange } from './ingress-change.js';
import { cheaperRung, type Place, type Plan, plan } from './plan.js';
import { above, below } from './rank.js';
import { newWatch, rememberPeak, see, seeAnew, unhelpfulOf, type Watch } from './watch.js';

/** What the adjuster reads and the levers that it may pull. */
export interface AdjusterDeps {
  readonly clock: Clock;
  readonly log: Log;
  config(): Config;
  active(): readonly Reservation[];
  usage(id: string): ChannelUsage | undefined;
  /** The idle shares of these CPUs over the last tick, summed. */
  idleCores(cpus: readonly CpuShare[]): number;
  /**
   * The 0.9 quantile of a fresh forecast for the running channel, cores; undefined when there is none. `ingressBps`: what its
   * input is now, where that has changed.
   */
  reforecast(id: string, ingressBps?: number): Promise<number | undefined>;
  /** Its last steps, oldest first, and the bit rate of the input that it was admitted with. */
  ingress?(id: string): { readonly window: readonly ChannelState[]; readonly expectedBps: number };
  /** Of a channel that shares its CPUs: what it needs now. */
  shared(id: string): SharedPart | undefined;
  /** A channel that could leave CPUs to others, and where it would go. */
  closing(): { readonly id: string; readonly cpus: readonly CpuShare[]; readonly reason: string } | undefined;
  /** `idle`: only on CPUs that have time left now. */
  place(
    reservation: Reservation,
    sharesMilli: readonly number[],
    idle?: boolean,
  ): readonly CpuShare[] | undefined;
  couldGrowOverVod(id: string, sharesMilli: readonly number[]): boolean;
  /** False where VOD could not give way any more. */
  growOverVod(id: string, sharesMilli: readonly number[], reason: string): Promise<boolean>;
  resize(id: string, cpus: readonly CpuShare[], event: string, reason: string): Promise<void>;
  setRung(id: string, rung: number, reason: string): Promise<void>;
  /** False when no holder listens. */
  direct(id: string, directive: Directive): boolean;
  /** Why the host itself takes nobody in now, whatever its channels do; empty otherwise. */
  hostTrouble?(): string;
  /** Called with '' when the overload is over. */
  overloaded(reason: string): void;
}

type Change = Exclude<Plan, { action: 'none' | 'overloaded' }>;

/** A host at rest need not be put in order in a hurry. */
const CLOSE_EVERY_MS = 5_000;
/** A rung must save so much of the demand to have helped. */
const LEAST_SAVING = 0.1;
/** One that did not is left out for so long. */
const UNHELPFUL_MS = 1_800_000;
/** A change of rung is a restart, under load: so long until it is seen whether it was enough. */
const TAKES_EFFECT_MS = 6_000;
const EVENTS = { grow: 'grown', move: 'moved', shrink: 'shrunk' } as const;
/** Of the newest tick in the running mean of a rung's demand: the burst at an encoder's start is soon forgotten. */
const DEMAND_WEIGHT = 0.1;

/**
 * Looks at every running channel once a tick: the cheap comparison each time, the plan only while something is off or
 * long calm. One change of one channel at a time; a change in flight is waited for.
 */
export class Adjuster {
  readonly #deps: AdjusterDeps;
  readonly #watches = new Map<string, Watch>();
  #overload = '';
  #closedAtMs = Number.NEGATIVE_INFINITY;

  constructor(deps: AdjusterDeps) {
    this.#deps = deps;
  }

  /** The encoder does not start at this rung: it is not asked for again. */
  rungFailed(id: string, rung: number): void {
    this.#watches.get(id)?.unhelpfulUntilMs.set(rung, Number.POSITIVE_INFINITY);
  }

  /** What a running channel was seen to use since it started or last changed its rung. */
  seen(id: string): SeenDemand | undefined {
    const seen = this.#watches.get(id)?.seen;
    return seen !== undefined && seen.seconds > 0 ? seen : undefined;
  }

  /** Plans in flight are awaited by the caller only in tests. */
  async tick(): Promise<void> {
    const active = this.#deps.active();
    const ids = new Set(active.map((reservation) => reservation.id));
    for (const id of this.#watches.keys()) if (!ids.has(id)) this.#watches.delete(id);
    const plans: string[] = [];
    await Promise.all(
      active.map(async (reservation) => {
        const reason = await this.#consider(reservation);
        if (reason !== undefined) plans.push(`channel ${reservation.id}: ${reason}`);
      }),
    );
    this.#setOverload(plans[0] ?? this.#deps.hostTrouble?.() ?? '');
    await this.#close();
  }

  /** One channel at a time leaves cores that few use, so that they come free; not soon after anything else changed. */
  async #close(): Promise<void> {
    const now = this.#deps.clock.monotonicMs();
    const { adjust } = this.#deps.config();
    if (!adjust.enabled || adjust.dry_run || this.#overload !== '') return;
    if (now - this.#closedAtMs < CLOSE_EVERY_MS) return;
    const watches = [...this.#watches.values()];
    if (watches.some(({ deviatingSinceMs }) => deviatingSinceMs !== undefined)) return;
    if (watches.some(({ changedAtMs }) => now - changedAtMs < adjust.restore_ms)) return;
    this.#closedAtMs = now;
    const move = this.#deps.closing();
    if (move === undefined) return;
    this.#deps.log.info(move, 'adjusting');
    try {
      await this.#deps.resize(move.id, move.cpus, 'moved', move.reason);
    } catch (error) {
      this.#deps.log.warn({ id: move.id, error: messageOf(error) }, 'a core was not left');
    }
  }

  /** Returns the reason when the channel is late and nothing is left to do. */
  async #consider(reservation: Reservation): Promise<string | undefined> {
    const { clock } = this.#deps;
    const usage = this.#deps.usage(reservation.id);
    if (usage === undefined) return undefined;
    const now = clock.monotonicMs();
    const watch = this.#watchOf(reservation, now);
    see(watch, 1000 * demandOf(usage), now);
    rememberPeak(watch, demandOf(usage), now);
    if (watch.busy) return undefined;
    this.#lookAtIngress(reservation.id, watch);
    const view = this.#viewOf(reservation, usage, watch, now);
    if (deviationOf(view) === undefined) {
      watch.deviatingSinceMs = undefined;
      watch.calmSinceMs ??= now;
    } else {
      watch.calmSinceMs = undefined;
      watch.deviatingSinceMs ??= now;
    }
    if (view.speed >= LATE_SPEED) {
      const before = watch.demandByRung[reservation.rung] ?? usage.usageCores;
      watch.demandByRung[reservation.rung] = before + DEMAND_WEIGHT * (usage.usageCores - before);
    }
    const { adjust, limits } = this.#deps.config();
    const planLimits = {
      headroom: limits.headroom,
      sustainMs: adjust.sustain_ms,
      degradeMs: adjust.degrade_ms,
      restoreMs: adjust.restore_ms,
      cooldownMs: adjust.cooldown_ms,
    };
    const place: Place = (shares, idle) => this.#deps.place(reservation, shares, idle);
    const overVod = (shares: readonly number[]) => this.#deps.couldGrowOverVod(reservation.id, shares);
    const next = plan(this.#viewOf(reservation, usage, watch, now), planLimits, place, overVod);
    if (next.action === 'none') return undefined;
    const lateMs = now - (watch.deviatingSinceMs ?? now);
    const asksOthers =
      next.action === 'degrade' || (next.action === 'overloaded' && lateMs >= adjust.degrade_ms);
    if (asksOthers && !adjust.dry_run && adjust.enabled) {
      if (await this.#othersGiveWay(reservation, next.reason, now)) return undefined;
    }
    if (next.action === 'overloaded') return next.reason;
    if (next.action === 'restore' && this.#someoneGoesFirst(reservation)) return undefined;
    if (adjust.dry_run || !adjust.enabled) {
      this.#deps.log.info(
        { id: reservation.id, plan: next },
        'plan not applied (adjust.enabled, adjust.dry_run)',
      );
      watch.changedAtMs = now;
      return undefined;
    }
    await this.#carryOut(reservation, watch, next, usage);
    return undefined;
  }

  async #carryOut(reservation: Reservation, watch: Watch, next: Change, usage: ChannelUsage): Promise<void> {
    watch.busy = true;
    try {
      await this.#apply(reservation, next, usage);
    } catch (error) {
      this.#deps.log.warn({ id: reservation.id, plan: next.action, error: messageOf(error) }, 'plan failed');
    } finally {
      watch.busy = false;
      watch.grew = ['grow', 'move', 'preempt'].includes(next.action);
      watch.changedAtMs = this.#deps.clock.monotonicMs();
      watch.deviatingSinceMs = undefined;
      watch.calmSinceMs = undefined;
    }
  }

  /** True where a channel that ranks below this one, on its CPUs, goes down a rung for it or has just done so. */
  async #othersGiveWay(reservation: Reservation, why: string, now: number): Promise<boolean> {
    const { cooldown_ms } = this.#deps.config().adjust;
    for (const other of below(reservation, this.#deps.active())) {
      const watch = this.#watches.get(other.id);
      const usage = this.#deps.usage(other.id);
      if (watch === undefined || usage === undefined) continue;
      const sinceDegradedMs = now - (watch.degraded?.atMs ?? Number.NEGATIVE_INFINITY);
      if (watch.busy || sinceDegradedMs < TAKES_EFFECT_MS) return true;
      // A start is no time for a change; a rung that was not enough may be followed by another.
      const settled =
        now - watch.changedAtMs >= cooldown_ms || watch.changedAtMs - (watch.degraded?.atMs ?? 0) < 1_000;
      const rung = cheaperRung({ ...other, unhelpful: unhelpfulOf(watch, now) });
      if (rung === undefined || !settled) continue;
      const { name, id, priority } = reservation;
      const reason = `gives way to ${name === '' ? id : JSON.stringify(name)}, of priority ${priority}: ${why}`;
      await this.#carryOut(other, watch, { action: 'degrade', rung, reason }, usage);
      if ((watch.degraded?.atMs ?? 0) >= now) return true;
    }
    return false;
  }

  /** A channel that ranks above it, on its CPUs, is not well yet. */
  #someoneGoesFirst(reservation: Reservation): boolean {
    return above(reservation, this.#deps.active()).some(
      ({ id, rung }) => rung > 0 || this.#watches.get(id)?.deviatingSinceMs !== undefined,
    );
  }

  /** A stream that is another one now is forecast anew; what comes of it the next looks see. */
  #lookAtIngress(id: string, watch: Watch): void {
    const ingress = this.#deps.ingress?.(id);
    if (ingress === undefined) return;
    watch.ingress ??= new IngressChange(ingress.expectedBps);
    const bps = watch.ingress.seen(ingress.window);
    if (bps === undefined) return;
    watch.ingressBps = bps;
    this.#deps.log.info({ id, ingressBps: Math.round(bps) }, 'its input has changed; forecast anew');
    this.#deps
      .reforecast(id, bps)
      .catch((error) => this.#deps.log.warn({ id, error: messageOf(error) }, 'not forecast anew'));
  }

  async #apply(reservation: Reservation, next: Change, usage: ChannelUsage) {
    const { id } = reservation;
    this.#deps.log.info({ id, action: next.action, reason: next.reason }, 'adjusting');
    if (next.action === 'degrade' || next.action === 'restore') {
      // Room first, then the dearer encode; the cheaper encode needs no room.
      if (next.action === 'restore') await this.#deps.resize(id, next.cpus, 'grown', next.reason);
      const sent = this.#deps.direct(id, { kind: 'set_rung', rung: next.rung, reason: next.reason });
      if (!sent) throw new Error('no session: the holder cannot change its rung');
      await this.#deps.setRung(id, next.rung, next.reason);
      if (next.action === 'degrade') this.#judgeRung(reservation, next.rung, usage);
      const watch = this.#watches.get(id);
      if (watch !== undefined) seeAnew(watch, this.#deps.clock.monotonicMs());
      return;
    }
    if (next.action === 'preempt') {
      const grown = await this.#deps.growOverVod(id, next.sharesMilli, next.reason);
      if (!grown) throw new Error('VOD has changed since; it is looked at anew');
      return;
    }
    let cpus = next.cpus;
    const alone = this.#deps.shared(id) === undefined;
    if (next.action === 'grow' && alone) cpus = (await this.#larger(reservation, usage, cpus)) ?? cpus;
    await this.#deps.resize(id, cpus, EVENTS[next.action], next.reason);
  }

  /** The forecast of the running channel may know that it will need yet more than it uses now. */
  async #larger(reservation: Reservation, usage: ChannelUsage, cpus: readonly CpuShare[]) {
    const q90 = await this.#deps.reforecast(reservation.id, this.#watches.get(reservation.id)?.ingressBps);
    if (q90 === undefined || q90 <= usage.usageCores) return undefined;
    const needMilli = Math.ceil((q90 / (1 - this.#deps.config().limits.headroom)) * 1000);
    if (needMilli <= milliOf(cpus)) return undefined;
    const count = Math.max(cpus.length, Math.ceil(needMilli / 1000));
    return this.#deps.place(
      reservation,
      Array.from({ length: count }, () => Math.ceil(needMilli / count)),
    );
  }

  /** A channel that goes further down says what the rung before has saved. */
  #judgeRung({ id, rung }: Reservation, next: number, usage: ChannelUsage): void {
    const watch = this.#watches.get(id);
    if (watch === undefined) return;
    const cores = demandOf(usage);
    const { degraded } = watch;
    if (degraded?.rung === rung && cores > degraded.fromCores * (1 - LEAST_SAVING)) {
      watch.unhelpfulUntilMs.set(rung, this.#deps.clock.monotonicMs() + UNHELPFUL_MS);
    }
    watch.degraded = { rung: next, fromCores: cores, atMs: this.#deps.clock.monotonicMs() };
  }

  #watchOf(reservation: Reservation, now: number): Watch {
    let watch = this.#watches.get(reservation.id);
    if (watch === undefined) {
      watch = newWatch(reservation, now);
      this.#watches.set(reservation.id, watch);
    }
    return watch;
  }

  #setOverload(reason: string): void {
    const changed = (reason === '') !== (this.#overload === '');
    this.#overload = reason;
    if (changed) this.#deps.overloaded(reason);
  }

  #viewOf(reservation: Reservation, usage: ChannelUsage, watch: Watch, now: number): ChannelView {
    // No spread in it: V8 then builds it property by property, and soon in the old generation (1.3 MB a tick of 100 channels).
    return {
      shared: this.#deps.shared(reservation.id),
      reserved: reservation.cpus,
      live: reservation.channelClass === 'live',
      rung: reservation.rung,
      ladderRungs: reservation.ladderRungs,
      unhelpful: unhelpfulOf(watch, now),
      usageCores: usage.usageCores,
      speed: usage.speed ?? 1,
      lagSeconds: usage.lagSeconds ?? 0,
      forecastQ90Cores: usage.forecastQ90Cores,
      forecastAnew: watch.ingressBps !== undefined,
      admittedMilli: watch.admittedMilli,
      peakCores: watch.peakCores,
      demandByRung: watch.demandByRung,
      idleCores: this.#deps.idleCores(reservation.cpus),
      now: usage.now,
      deviatingMs: watch.deviatingSinceMs === undefined ? 0 : now - watch.deviatingSinceMs,
      calmMs: watch.calmSinceMs === undefined ? 0 : now - watch.calmSinceMs,
      sinceChangeMs: now - watch.changedAtMs,
      grew: watch.grew,
    };
  }
}
