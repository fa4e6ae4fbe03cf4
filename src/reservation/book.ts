import type { Clock } from '../lib/clock.js';
import { CorecastError, messageOf } from '../lib/errors.js';
import type { Log } from '../lib/log.js';
import type { ReservationEvent } from '../rpc/control.js';
import type { Topology } from '../topology/topology.js';
import { hostIndex } from './allocator-host.js';
import { OccupancyIndex } from './allocator-occupancy.js';
import { heldMeanwhile, milliOf } from './cpu-shares.js';
import { hasEnded, type LeaseStep, transition } from './lease.js';
import type { Ledger, Mutation } from './ledger.js';
import type { LedgerRecord } from './ledger-format.js';
import { Locks } from './locks.js';
import { occupancyOf } from './occupancy.js';
import { type CpuShare, holdsCpus, type Reservation } from './reservation.js';

export interface Change {
  readonly reason: string;
  /** What watchers are told; absent for changes that are nobody's business. */
  readonly event?: string;
  readonly answer?: (after: Reservation) => Mutation['answer'];
  /** The part of the change that the kernel must see, after the write and before given-up CPUs are free for others. */
  readonly kernel?: (after: Reservation) => void;
  /** Other fields of the record that change with it. */
  readonly set?: Partial<
    Pick<LedgerRecord, 'restarting' | 'sharesGuessed' | 'wasPaused' | 'shared' | 'bootId'>
  >;
}

/** One reservation's part of a write: what it becomes, what it was, what follows. */
export interface Part {
  readonly after: LedgerRecord;
  readonly before: LedgerRecord | undefined;
  readonly change: Change;
}

export type ChangeListener = (after: LedgerRecord, before: LedgerRecord | undefined) => void;

/**
 * The reservations as everybody in this folder sees and changes them. No CPU is ever promised twice, because:
 *
 * 1. A decision and the promise that follows from it happen in one turn of the event loop: nobody decides in between.
 * 2. From that turn on the new CPUs count as taken, although the write is still under way.
 * 3. The old CPUs count as taken until the write is durable *and* the kernel has moved the process off them.
 * 4. A failed write takes the promise back; what is durable still stands.
 * 5. Where one gives way to another (exchange), both are one write, and each CPU counts as taken throughout: what passes
 *    from one to the other is the newcomer's from the first turn on, the rest is free when point 3 holds.
 *
 * Changes of one reservation come one after the other (its lock); changes of different ones share disk flushes.
 */
export class Book {
  readonly ledger: Ledger;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #locks = new Locks();
  /** What is promised beyond what is durable: the version being written, or CPUs that are not yet vacated. */
  readonly #promised = new Map<string, Reservation>();
  /** Who has CPUs, and the sum of it, kept in step: a decision on a large host must not add everything up again. */
  #index: OccupancyIndex | undefined;
  readonly #holders = new Map<string, Reservation>();
  #version = 0;
  readonly #listeners = new Set<ChangeListener>();
  readonly #watchers = new Set<(event: ReservationEvent) => void>();

  constructor(ledger: Ledger, clock: Clock, log: Log) {
    this.ledger = ledger;
    this.#clock = clock;
    this.#log = log;
    for (const { reservation } of ledger.live()) this.#reindex(reservation.id);
  }

  /** Throws NOT_FOUND. */
  require(id: string): LedgerRecord {
    const record = this.ledger.get(id);
    if (record !== undefined) return record;
    throw new CorecastError(
      'NOT_FOUND',
      `no reservation ${JSON.stringify(id)}: never made here, or ended and since removed`,
    );
  }

  lock<T>(id: string, run: () => Promise<T>): Promise<T> {
    return this.#locks.run(id, run);
  }

  /** Writes a new reservation; its CPUs count as taken from this call on. */
  create(record: LedgerRecord, change: Change): Promise<LedgerRecord> {
    return this.#write(record, undefined, change);
  }

  /** Takes a reservation one step on. Call it under the reservation's lock. */
  async step(id: string, step: LeaseStep, change: Change): Promise<LedgerRecord> {
    const part = this.part(id, step, change);
    return this.#write(part.after, part.before, change);
  }

  /** Writes what part() made, in the same turn. */
  write({ after, before, change }: Part): Promise<LedgerRecord> {
    return this.#write(after, before, change);
  }

  /** A step that is not taken yet: for write() and exchange(). */
  part(id: string, step: LeaseStep, change: Change): Part {
    const before = this.require(id);
    const reservation = transition(before.reservation, step, this.#clock.nowMs(), change.reason);
    return { after: { ...before, ...change.set, reservation }, before, change };
  }

  /**
   * Some give CPUs up, `newcomer` takes them: one write. Call it under the locks of all, in the turn in which it was
   * decided. Where the kernel refuses, old CPUs stay taken, as far as the newcomer has not got them.
   */
  async exchange(newcomer: Part, giving: readonly Part[]): Promise<LedgerRecord> {
    const parts = [...giving, newcomer];
    const held = heldMeanwhile(
      parts.map(({ after, before }) => ({
        old: before?.reservation.cpus ?? [],
        now: after.reservation.cpus,
      })),
      (cpu) => this.#index?.milli.get(cpu) ?? 0,
    );
    for (const [i, { after }] of parts.entries()) {
      this.#promise(after.reservation.id, { ...after.reservation, state: 'PENDING', cpus: held[i]! });
    }
    const answer = newcomer.change.answer?.(newcomer.after.reservation);
    try {
      const records = parts.map(({ after }) => after);
      await this.ledger.commit({ records, ...(answer === undefined ? {} : { answer }) });
    } catch (error) {
      for (const { after } of parts) this.#promise(after.reservation.id, undefined);
      throw error;
    }
    for (const part of parts) this.#follow(part);
    return newcomer.after;
  }

  /** After an exchange is durable: one after the other, those who give first. */
  #follow({ after, before, change }: Part): void {
    const { reservation } = after;
    try {
      change.kernel?.(reservation);
      this.#promise(reservation.id, undefined);
    } catch (error) {
      this.#log.error(
        { id: reservation.id, error: messageOf(error) },
        'the kernel did not follow the ledger',
      );
    }
    for (const listener of this.#listeners) listener(after, before);
    if (change.event !== undefined) this.announce(reservation, change.event, change.reason);
  }

  /** Changes what is kept beside the lease. Call it under the reservation's lock. */
  async set(id: string, set: NonNullable<Change['set']>): Promise<LedgerRecord> {
    const before = this.require(id);
    return this.#write({ ...before, ...set }, before, { reason: before.reservation.reason });
  }

  isSettled = (id: string): boolean => !this.#promised.has(id);

  /** Those whose CPUs nobody is changing now: what the index has of them is what the ledger says. */
  *settled(): Generator<LedgerRecord> {
    for (const record of this.ledger.live()) {
      if (!this.#promised.has(record.reservation.id)) yield record;
    }
  }

  /** Every reservation that has not ended, with all CPUs that nobody else may have now. */
  *held(): Generator<Reservation> {
    for (const { reservation } of this.ledger.live()) {
      yield this.#promised.get(reservation.id) ?? reservation;
    }
    for (const [id, reservation] of this.#promised) {
      const durable = this.ledger.get(id);
      if (durable === undefined || hasEnded(durable.reservation.state)) yield reservation;
    }
  }

  /** Grows with every change of who has which CPUs. */
  get version(): number {
    return this.#version;
  }

  /** Reservations that have CPUs, promised ones included. */
  get channels(): number {
    return this.#holders.size;
  }

  /** Reservations of a uid that have not ended, promised ones included. */
  countOf(uid: number): number {
    let count = 0;
    for (const { reservation } of this.ledger.live()) if (reservation.uid === uid) count++;
    for (const [id, promised] of this.#promised) {
      if (promised.uid === uid && this.ledger.get(id) === undefined) count++;
    }
    return count;
  }

  /** Thousandths that a uid's reservations hold, promised ones included. */
  milliOf(uid: number): number {
    let milli = 0;
    for (const { uid: owner, cpus } of this.#holders.values()) if (owner === uid) milli += milliOf(cpus);
    return milli;
  }

  /** What is taken now. It goes on changing: use it in this turn of the event loop. */
  occupancy(topology: Topology, smtCoreMilli: number): OccupancyIndex {
    const current = this.#index?.host === hostIndex(topology) && this.#index.smtCoreMilli === smtCoreMilli;
    if (this.#index === undefined || !current) {
      this.#index = new OccupancyIndex(topology, smtCoreMilli);
      for (const { cpus, exclusive } of this.#holders.values()) this.#index.reserve(cpus, exclusive);
    }
    return this.#index;
  }

  /** What all others take, for a decision about a reservation that has CPUs already. */
  occupancyWithout(id: string, topology: Topology, smtCoreMilli: number): OccupancyIndex {
    return OccupancyIndex.of(topology, occupancyOf(others(this.held(), id), topology), smtCoreMilli);
  }

  /** For the other parts of this folder: called in the turn in which a change became visible. */
  onChange(listener: ChangeListener): void {
    this.#listeners.add(listener);
  }

  watch(watcher: (event: ReservationEvent) => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** Tells watchers of something that changed no record. */
  announce(reservation: Reservation, event: string, reason: string): void {
    for (const watcher of this.#watchers) {
      try {
        watcher({ reservation, event, reason });
      } catch (error) {
        this.#log.error({ id: reservation.id, event, error: messageOf(error) }, 'a watcher failed');
      }
    }
  }

  idle(): Promise<void> {
    return this.#locks.idle();
  }

  async #write(after: LedgerRecord, before: LedgerRecord | undefined, change: Change): Promise<LedgerRecord> {
    const { reservation } = after;
    const { id } = reservation;
    const stuck = this.#promised.get(id);
    const held = union(reservation.cpus, before?.reservation.cpus ?? [], stuck?.cpus ?? []);
    if (held.length > 0) this.#promise(id, { ...reservation, state: 'PENDING', cpus: held });
    const answer = change.answer?.(reservation);
    try {
      await this.ledger.commit({ records: [after], ...(answer === undefined ? {} : { answer }) });
    } catch (error) {
      this.#promise(id, stuck);
      throw error;
    }
    try {
      // When the kernel refuses, the old CPUs stay taken: the process is still on them.
      change.kernel?.(reservation);
      this.#promise(id, undefined);
    } finally {
      for (const listener of this.#listeners) listener(after, before);
    }
    if (change.event !== undefined) this.announce(reservation, change.event, change.reason);
    return after;
  }

  #promise(id: string, reservation: Reservation | undefined): void {
    if (reservation === undefined) this.#promised.delete(id);
    else this.#promised.set(id, reservation);
    this.#reindex(id);
  }

  #reindex(id: string): void {
    this.#version++;
    const before = this.#holders.get(id);
    if (before !== undefined) this.#index?.release(before.cpus, before.exclusive);
    const durable = this.ledger.get(id)?.reservation;
    const after = this.#promised.get(id) ?? durable;
    if (after === undefined || !holdsCpus(after.state)) {
      this.#holders.delete(id);
      return;
    }
    this.#index?.reserve(after.cpus, after.exclusive);
    this.#holders.set(id, after);
  }
}

/** Each CPU with the largest of its shares. */
function union(...lists: readonly (readonly CpuShare[])[]): CpuShare[] {
  const largest = new Map<number, number>();
  for (const { cpu, shareMilli } of lists.flat()) {
    largest.set(cpu, Math.max(largest.get(cpu) ?? 0, shareMilli));
  }
  return [...largest].map(([cpu, shareMilli]) => ({ cpu, shareMilli }));
}

function* others(reservations: Iterable<Reservation>, except: string): Generator<Reservation> {
  for (const reservation of reservations) if (reservation.id !== except) yield reservation;
}
