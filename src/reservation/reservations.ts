import type { Decision } from '../balancer/decision.js';
import type { Cpuset } from '../lib/cpuset.js';
import type {
  ChannelRequest,
  Directive,
  Peer,
  ReservationEvent,
  ReserveCall,
  SessionHandle,
} from '../rpc/control.js';
import { Admission } from './admission.js';
import { Adopting, type Announcement } from './adopt.js';
import { type AttachCall, type Attached, Attaching } from './attach.js';
import { Book } from './book.js';
import { cpusetOf } from './cpu-shares.js';
import type { ReservationDeps } from './deps.js';
import { EndedProcesses } from './ended-processes.js';
import { FirstAnswers } from './first-answers.js';
import { Growing } from './growth.js';
import { Lifetimes } from './lifetimes.js';
import { type Occupancy, occupancyOf } from './occupancy.js';
import { Paused } from './paused.js';
import { Pump } from './pump.js';
import { reconcile } from './reconcile.js';
import { type ReleaseCall, release } from './release.js';
import { relocate } from './relocate.js';
import type { CpuShare, Reservation } from './reservation.js';
import { Reserving } from './reserve.js';
import type { Reserved } from './reserved.js';
import { resize } from './resize.js';
import { RoomMaker } from './room.js';
import { Sessions } from './sessions.js';
import { SharedCpus, type SharedPart } from './shared-cpus.js';
import { WaitingRoom } from './waiting-room.js';

/**
 * The core reservation system. The parts, and what each knows:
 *
 *   lease.ts          which state follows which
 *   ledger*.ts        the durable records: format, group commit, opening whatever was left
 *   book.ts           the one way to change a record; why no CPU is promised twice
 *   admission.ts      what the balancer decides on
 *   reserve.ts        Reserve and Predict; waiting-room.ts and queue.ts: those who wait
 *   room.ts           what others give up for a request that does not fit; growth.ts: for a live channel that is late;
 *                     paused.ts: who waits to go on
 *   attach.ts, sessions.ts, release.ts, resize.ts   the calls of holders and of the adjuster
 *   relocate.ts       who moves when a CPU is gone
 *   lifetimes.ts      what ends by itself: deadlines, silent holders, ended processes
 *   reconcile.ts, ended-processes.ts, adopt.ts   after a restart; after a lost database
 */
export interface Reservations {
  /** Compares the ledger with the kernel; call once, before serving. Says what was done, a line each. */
  reconcile(): Promise<string[]>;
  predict(request: ChannelRequest): Promise<Decision>;
  reserve(call: ReserveCall, peer: Peer, signal: AbortSignal): Promise<Reserved>;
  attach(call: AttachCall, peer: Peer): Promise<Attached>;
  openSession(id: string, token: number, peer: Peer, send: (directive: Directive) => void): SessionHandle;
  /** Sends to the holder; false when none listens. */
  direct(id: string, directive: Directive): boolean;
  release(call: ReleaseCall, peer: Peer): Promise<Reservation>;
  /** For the adjuster. `event`: "grown", "shrunk" or "moved". Throws NO_CAPACITY when others hold the CPUs. */
  resize(id: string, cpus: readonly CpuShare[], event: string, reason: string): Promise<Reservation>;
  /** Whether VOD would give way for it, if a live channel that runs asked for these shares. Changes nothing. */
  couldGrowOverVod(id: string, sharesMilli: readonly number[]): boolean;
  /** Gives a live channel these shares and lets VOD give way; undefined where that does not help (any more). */
  growOverVod(id: string, sharesMilli: readonly number[], reason: string): Promise<Reservation | undefined>;
  setRung(id: string, rung: number, reason: string): Promise<Reservation>;
  /** Rebuilds a reservation that the ledger lost, from the kernel; sessions do it by themselves. */
  adoptFromKernel(announced: Announcement, peer: Peer): Promise<Reservation>;
  /** The CPUs that its process is to be kept on now: none while it is paused or on its way out. */
  confinedTo(id: string): Cpuset;
  list(includeEnded: boolean): readonly Reservation[];
  get(id: string): Reservation | undefined;
  /** What was asked for; undefined when unknown or rebuilt from the kernel. */
  requestOf(id: string): ChannelRequest | undefined;
  /** CPUs that a channel which shares its own was forecast with; undefined for one that was reserved for by itself. */
  forecastCpus(id: string): number | undefined;
  watch(listener: (event: ReservationEvent) => void): () => void;
  /** Tells watchers of something that changed no record: what the kernel or another process did. */
  announce(reservation: Reservation, event: string, reason: string): void;
  /** With every CPU that is promised now; `except` leaves out one reservation, to place it anew. */
  occupancy(except?: string): Occupancy;
  /** Of a channel that shares its CPUs: what it needs now; undefined for one that was reserved for by itself. */
  sharedPart(id: string): SharedPart | undefined;
  /** Where it could share so many thousandths, its own CPUs counting as free: beside those it shares with now, or elsewhere. */
  spread(id: string, milli: number): readonly CpuShare[] | undefined;
  /** A channel that could move so that a core comes free for others, and where to. */
  closing(): { readonly id: string; readonly cpus: readonly CpuShare[]; readonly reason: string } | undefined;
  /** Requests that wait. */
  queued(): number;
  /** Limits or topology changed: those who wait may have room, those on CPUs that are gone move. */
  capacityChanged(): void;
  /** Ends timers and watches and tells those who wait. Processes go on; the ledger stays open. */
  stop(): Promise<void>;
}

/** Ended reservations are looked for this often. */
const SWEEP_MS = 60_000;
/** Reservations on CPUs that are gone, and found no place, are looked for this often. */
const RELOCATE_MS = 5_000;

export function createReservations(given: ReservationDeps): Reservations {
  const ended = new EndedProcesses();
  const deps = ended.guard(given);
  const book = new Book(deps.ledger, deps.clock, deps.log);
  ended.follow(book);
  const lifetimes = new Lifetimes(deps, book);
  const shared = new SharedCpus(deps, book);
  const admission = new Admission(deps, book, shared, () => lifetimes.soonestEndMs());
  const answers = new FirstAnswers(deps.ledger);
  const rooms = new RoomMaker(deps, book, admission, shared, lifetimes, (id) => sessions.canRequeue(id));
  const growing = new Growing(deps, book, shared, rooms);
  const paused = new Paused(deps, book, lifetimes);
  const waiting = new WaitingRoom(deps, book, admission, lifetimes, rooms, paused, (id) => sessions.has(id));
  const reserving = new Reserving(deps, book, admission, answers, waiting, rooms);
  const attaching = new Attaching(deps, book, lifetimes, answers);
  const adopting = new Adopting(deps, book, lifetimes);
  const sessions = new Sessions(deps, book, lifetimes, adopting);
  const squeezed = new Map<string, string>();
  const relocating = new Pump(() => relocate(deps, book, squeezed));
  const stopSweeping = repeat(deps, SWEEP_MS, () => deps.ledger.sweep());
  const stopRelocating = repeat(deps, RELOCATE_MS, async () => relocating.run());

  return {
    async reconcile() {
      const lines = await reconcile(deps, book, lifetimes, ended);
      relocating.run();
      waiting.pump();
      return lines;
    },
    predict: (request) => reserving.predict(request),
    reserve: (call, peer, signal) => reserving.reserve(call, peer, signal),
    attach: (call, peer) => attaching.attach(call, peer),
    openSession: (id, token, peer, send) => sessions.open(id, token, peer, send),
    direct: (id, directive) => sessions.direct(id, directive),
    release: (call, peer) => release(book, lifetimes, call, peer),
    resize: (id, cpus, event, reason) => resize(deps, book, id, cpus, event, reason),
    couldGrowOverVod: (id, sharesMilli) => growing.could(id, sharesMilli),
    growOverVod: (id, sharesMilli, reason) => growing.grow(id, sharesMilli, reason),
    async setRung(id, rung, reason) {
      return book.lock(id, async () => {
        const event = rung > book.require(id).reservation.rung ? 'degraded' : 'restored';
        return (await book.step(id, { step: 'rung', rung }, { reason, event })).reservation;
      });
    },
    adoptFromKernel: async (announced, peer) => (await adopting.adopt(announced, peer)).reservation,
    confinedTo: (id) =>
      lifetimes.isLeaving(id) || ended.has(id) ? [] : cpusetOf(deps.ledger.get(id)?.reservation.cpus ?? []),
    list: (includeEnded) =>
      [...(includeEnded ? deps.ledger.records() : deps.ledger.live())]
        .map(({ reservation }) => reservation)
        .sort((a, b) => a.createdMs - b.createdMs),
    get: (id) => deps.ledger.get(id)?.reservation,
    forecastCpus: (id) => deps.ledger.get(id)?.shared?.cpus,
    requestOf: (id) => deps.ledger.get(id)?.request,
    watch: (listener) => book.watch(listener),
    announce: (reservation, event, reason) => book.announce(reservation, event, reason),
    occupancy(except) {
      const held = [...book.held()].filter(({ id }) => id !== except);
      return occupancyOf(held, deps.topology());
    },
    sharedPart: (id) => shared.part(id),
    spread: (id, milli) => shared.spread(id, milli),
    closing: () => shared.closing(),
    queued: () => waiting.size,
    capacityChanged() {
      relocating.run();
      waiting.pump();
    },
    async stop() {
      sessions.stop();
      stopSweeping();
      stopRelocating();
      await waiting.stop();
      lifetimes.stop();
      await book.idle();
    },
  };
}

function repeat(deps: ReservationDeps, everyMs: number, run: () => Promise<unknown>): () => void {
  let clear = () => {};
  const next = () => {
    clear = deps.scheduler.setTimer(everyMs, () => {
      // A full disk keeps what has ended, too; the next time it is tried again.
      run().catch((error) => deps.log.warn({ error: String(error) }, 'ended reservations were not removed'));
      next();
    });
  };
  next();
  return () => clear();
}
