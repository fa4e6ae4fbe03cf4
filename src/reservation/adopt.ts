import { type Cpuset, cpuset, intersection } from '../lib/cpuset.js';
import { CorecastError, invalidField, isCorecastError } from '../lib/errors.js';
import type { ThreadMask } from '../pinning/pinning.js';
import type { Peer } from '../rpc/control.js';
import type { Topology } from '../topology/topology.js';
import type { OccupancyIndex } from './allocator-occupancy.js';
import type { Book } from './book.js';
import { cpusetOf, formatShares } from './cpu-shares.js';
import type { ReservationDeps } from './deps.js';
import { requireToken } from './lease.js';
import type { LedgerRecord } from './ledger-format.js';
import type { Lifetimes } from './lifetimes.js';
import {
  requireOwnProcess,
  requireOwnReservation,
  requirePeer,
  requireUnattached,
  requireWithinLimit,
} from './permissions.js';
import { sameProcess } from './process-ref.js';
import type { CpuShare, ProcessRef, Reservation } from './reservation.js';

/** What a holder says of itself when it comes back. */
export interface Announcement {
  readonly reservationId: string;
  readonly token: number;
  readonly process: ProcessRef;
  readonly rung: number;
}

/** Tokens beyond this would leave no room to count on. */
const MAX_TOKEN = 2 ** 52;
const ADOPTION = 'an adoption';

/**
 * Takes a running channel back whose record was lost with the database, or whose record is older than what its holder
 * knows. The kernel still has the essential: the CPUs that its threads may use. How much of each was reserved is gone,
 * so those who were adopted to a CPU share what nobody else holds of it evenly; the adjuster knows better soon.
 *
 * Adoptions come one after the other. Each first cuts the shares that earlier ones guessed (durable, one by one), then
 * takes its own: at no moment is a CPU over its capacity.
 */
export class Adopting {
  readonly #deps: ReservationDeps;
  readonly #book: Book;
  readonly #lifetimes: Lifetimes;

  constructor(deps: ReservationDeps, book: Book, lifetimes: Lifetimes) {
    this.#deps = deps;
    this.#book = book;
    this.#lifetimes = lifetimes;
  }

  async adopt(announced: Announcement, peer: Peer): Promise<LedgerRecord> {
    requirePeer(peer, 'announce a process');
    const { reservationId: id, token } = announced;
    if (!/^[\w.-]{1,64}$/.test(id))
      throw invalidField('reservation_id', id, '1 to 64 letters, digits, "_", ".", "-"');
    if (!Number.isInteger(token) || token < 1 || token > MAX_TOKEN) {
      throw invalidField('token', token, `a whole number, 1 to ${MAX_TOKEN}`);
    }
    const process = requireOwnProcess(this.#deps, announced.process, peer);
    return this.#book.lock(ADOPTION, async () => {
      requireUnattached(this.#book, process, id);
      const known = this.#book.ledger.get(id);
      if (known !== undefined) return this.#catchUp(known, process, token, peer);
      requireWithinLimit(this.#book, this.#deps.limits(), peer, 0);
      const masks = this.#deps.pinning.masks(process);
      await this.#makeRoom(this.#maskOf(masks));
      return this.#book.lock(id, () => this.#create(announced, process, masks, peer));
    });
  }

  /** The ledger lost the last steps of this reservation: its holder has a token that it does not remember issuing. */
  async #catchUp(known: LedgerRecord, process: ProcessRef, token: number, peer: Peer): Promise<LedgerRecord> {
    const { id } = known.reservation;
    requireOwnReservation(known.reservation, peer);
    if (token < known.reservation.token) requireToken(known.reservation, token);
    this.#book.ledger.raiseToken(token);
    return this.#book.lock(id, () => {
      const { reservation: before } = this.#book.require(id);
      // As at an attach: the process that it replaces is nobody's from here on.
      const replaces = before.process !== undefined && !sameProcess(before.process, process);
      const kernel = ({ state, cpus }: Reservation) => {
        if (replaces) this.#lifetimes.setFree(before);
        if (state === 'PAUSED') this.#lifetimes.halt(id, process);
        else this.#pin(process, cpusetOf(cpus));
      };
      const write = () =>
        this.#book.step(
          id,
          { step: 'attach', process, token: this.#book.ledger.nextToken() },
          {
            reason: `process ${process.pid} runs; the ledger had lost its latest steps`,
            event: 'adopted',
            set: { bootId: this.#deps.bootId },
            kernel,
          },
        );
      return this.#watched(id, process, () => (replaces ? this.#lifetimes.leaving(before, write) : write()));
    });
  }

  async #create(
    { reservationId: id, token, rung }: Announcement,
    process: ProcessRef,
    masks: readonly ThreadMask[],
    peer: Peer,
  ): Promise<LedgerRecord> {
    const topology = this.#deps.topology();
    const cpus = this.#take(this.#maskOf(masks), topology);
    if (cpus.length === 0) {
      this.#lifetimes.letGoOn(id, process);
      throw new CorecastError(
        'NO_CAPACITY',
        `process ${process.pid} runs, but no CPU has room for its reservation ${id}; it was left as it is`,
      );
    }
    this.#book.ledger.raiseToken(token);
    const nowMs = this.#deps.clock.nowMs();
    const reason = `rebuilt from the kernel on ${formatShares(cpus)}: the ledger had no record of it`;
    const record: LedgerRecord = {
      reservation: {
        id,
        state: 'ACTIVE',
        token,
        name: masks.find(({ tid }) => tid === process.pid)?.name ?? '',
        channelClass: 'live',
        priority: 50,
        exclusive: false,
        cpus,
        process,
        createdMs: nowMs,
        changedMs: nowMs,
        deadlineMs: 0,
        decisionId: '',
        rung,
        ladderRungs: rung,
        uid: peer.uid,
        reason,
      },
      startTimeoutMs: this.#deps.leases().start_timeout_ms,
      sharesGuessed: true,
      restarting: false,
      bootId: this.#deps.bootId,
    };
    const kernel = () => {
      this.#pin(process, cpusetOf(cpus));
      // The record that was lost may have said PAUSED.
      this.#lifetimes.letGoOn(id, process);
    };
    return this.#watched(id, process, () => this.#book.create(record, { reason, event: 'adopted', kernel }));
  }

  /** What the process runs on, as far as it may be reserved. */
  #maskOf(masks: readonly ThreadMask[]): Cpuset {
    return intersection(cpuset(masks.flatMap(({ cpus }) => cpus)), this.#deps.topology().schedulable);
  }

  async #makeRoom(mask: Cpuset): Promise<void> {
    const taken = this.#book.occupancy(this.#deps.topology(), this.#deps.smtCoreMilli());
    for (const { reservation, sharesGuessed } of [...this.#book.ledger.live()]) {
      if (!sharesGuessed || intersection(cpusetOf(reservation.cpus), mask).length === 0) continue;
      await this.#book.lock(reservation.id, async () => {
        const now = this.#book.ledger.get(reservation.id);
        if (now?.sharesGuessed !== true) return;
        const cut = now.reservation.cpus.map(({ cpu, shareMilli }) =>
          mask.includes(cpu)
            ? { cpu, shareMilli: Math.min(shareMilli, this.#evenShare(cpu, taken)) }
            : { cpu, shareMilli },
        );
        if (cut.every(({ shareMilli }, i) => shareMilli === now.reservation.cpus[i]!.shareMilli)) return;
        const reason = 'shares its CPUs with another channel that came back';
        await this.#book.step(reservation.id, { step: 'assign', cpus: cut }, { reason, event: 'shrunk' });
      });
    }
  }

  /** What each gets of a CPU when those whose share was guessed, and one more, split what is left of it. */
  #evenShare(cpu: number, { host, capacity }: OccupancyIndex): number {
    const slot = host.slotOf.get(cpu);
    if (slot === undefined) return 0;
    const core = host.coreOf[slot]!;
    // SMT siblings are no two cores: each has its part of what the core can do.
    let left = Math.floor(capacity[core]! / (host.firstSlot[core + 1]! - host.firstSlot[core]!));
    let guessed = 1;
    for (const { reservation, sharesGuessed } of this.#book.ledger.live()) {
      const share = reservation.cpus.find((one) => one.cpu === cpu)?.shareMilli ?? 0;
      if (sharesGuessed && share > 0) guessed++;
      else left -= share;
    }
    return Math.max(1, Math.floor(left / guessed));
  }

  /** The CPUs it runs on, or, where others hold all of those, as many of the emptiest. */
  #take(mask: Cpuset, topology: Topology): CpuShare[] {
    const taken = this.#book.occupancy(topology, this.#deps.smtCoreMilli());
    const { slotOf, coreOf } = taken.host;
    const room = Int32Array.from(taken.room);
    const free = (cpu: number) => {
      const slot = slotOf.get(cpu)!;
      return Math.min(taken.free[slot]!, room[coreOf[slot]!]!);
    };
    const take = (cpus: Cpuset): CpuShare[] => {
      const shares: CpuShare[] = [];
      for (const cpu of cpus) {
        const shareMilli = Math.min(free(cpu), this.#evenShare(cpu, taken));
        room[coreOf[slotOf.get(cpu)!]!]! -= shareMilli;
        if (shareMilli > 0) shares.push({ cpu, shareMilli });
      }
      return shares;
    };
    const own = take(mask);
    if (own.length > 0) return own;
    const emptiest = [...topology.schedulable].sort((a, b) => free(b) - free(a));
    return take(emptiest.slice(0, Math.max(1, mask.length)));
  }

  async #watched(id: string, process: ProcessRef, run: () => Promise<LedgerRecord>): Promise<LedgerRecord> {
    const watch = this.#lifetimes.watch(id, process);
    try {
      const record = await run();
      watch.keep();
      return record;
    } catch (error) {
      watch.drop();
      throw error;
    }
  }

  /** An adoption stands even if the kernel refuses: the process runs where it runs. */
  #pin(process: ProcessRef, cpus: Cpuset): void {
    try {
      this.#deps.pinning.pin(process, cpus);
    } catch (error) {
      if (!isCorecastError(error)) throw error;
      this.#deps.log.warn({ pid: process.pid, error: error.message }, 'an adopted process was not pinned');
    }
  }
}
