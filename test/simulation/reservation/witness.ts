import { isCorecastError, messageOf } from '../../../src/lib/errors.js';
import { hasEnded } from '../../../src/reservation/lease.js';
import {
  ANSWER_PREFIX,
  decode,
  type LedgerRecord,
  RECORD_PREFIX,
} from '../../../src/reservation/ledger-format.js';
import type { StoreOperation } from '../../../src/reservation/ledger-store.js';
import { holdsCpus, isRequeued, type Reservation } from '../../../src/reservation/reservation.js';
import type { Host, Serving } from './daemon.js';
import type { Call } from './holders.js';
import type { SimulatedProcess } from './kernel.js';
import { Killed, type Life } from './life.js';
import { promisedTwice, shapeFaults, stepFaults } from './rules.js';

/** Refusals that a caller must expect. Anything else is a defect. */
const EXPECTED = [
  'NO_CAPACITY',
  'QUEUE_FULL',
  'WRONG_STATE',
  'STALE_TOKEN',
  'NOT_FOUND',
  'PROCESS_GONE',
  'PERMISSION_DENIED',
  'KERNEL',
  'STORE_FAILED',
  'CANCELLED',
];

/** Sees all: what is on the disk, what every caller was told, every process. Knows what must hold, and says what does not. */
export class Witness {
  readonly violations: string[] = [];
  /** Every change of state that was seen: "PENDING ACTIVE". */
  readonly steps = new Set<string>();
  readonly #host: Host;
  /** What the daemon was told is durable, by id. */
  #durable = new Map<string, LedgerRecord>();
  /** Changed since memory was last compared. */
  readonly #unseen = new Map<string, string | undefined>();
  /** The newest token that a caller was told, by id: every reservation that was acknowledged. */
  readonly #acknowledged = new Map<string, number>();
  readonly #releaseAsked = new Set<string>();
  readonly #removed = new Set<string>();
  readonly #lost = new Set<string>();
  /** Of some call, nobody knows which: the disk lost it. */
  #answersLost = false;
  /** Whose process once was attached: by process, the reservation. */
  readonly #attached = new Map<SimulatedProcess, string>();
  /** The boot of the last daemon that opened the ledger, and processes of earlier ones that it names, by nameOf(). */
  #bootId = '';
  readonly #endedByReboot = new Set<string>();

  constructor(host: Host) {
    this.#host = host;
    host.disk.onCommit = (_, operations) => this.#committed(operations);
    host.kernel.onPin = (life, process, cpus) => this.#pinned(life, process, cpus);
  }

  /** A daemon has read what the disk holds. */
  opened(): void {
    this.#durable = recordsOn(this.#host);
    this.#unseen.clear();
    this.#bootNoticed();
    for (const record of this.#durable.values()) this.#attachedInThisBoot(record);
    for (const { reservation } of this.#durable.values()) this.#remember(reservation);
    for (const [id, token] of this.#acknowledged) {
      const record = this.#durable.get(id);
      if (record === undefined) {
        if (!this.#removed.has(id)) this.#violated(`reservation ${id} was acknowledged and is lost`);
      } else if (record.reservation.token < token) {
        this.#violated(
          `reservation ${id}: token ${token} was acknowledged, the disk has ${record.reservation.token}`,
        );
      }
    }
    this.#capacity();
  }

  /** Nobody has attached anything since: all processes that the disk names are of an earlier boot. */
  #bootNoticed(): void {
    const { bootId } = this.#host.kernel;
    if (bootId === this.#bootId) return;
    this.#bootId = bootId;
    for (const { reservation } of this.#durable.values()) {
      if (reservation.process !== undefined) this.#endedByReboot.add(nameOf(reservation));
    }
  }

  /** Also where a kill kept the attach from being answered, and its write reached the disk. */
  #attachedInThisBoot({ reservation, bootId }: LedgerRecord): void {
    if (bootId === this.#host.kernel.bootId) this.#endedByReboot.delete(nameOf(reservation));
  }

  /** The disk damaged what is under this key: nobody can be held to it any more. */
  lost(key: string): void {
    if (key.startsWith(ANSWER_PREFIX)) this.#answersLost = true;
    if (!key.startsWith(RECORD_PREFIX)) return;
    const id = key.slice(RECORD_PREFIX.length);
    this.#lost.add(id);
    this.#acknowledged.delete(id);
    this.#durable.delete(id);
    for (const [process, its] of this.#attached) if (its === id) this.#attached.delete(process);
  }

  delivered({ what, id, token }: Call): void {
    if (what === 'Release' && token >= this.#newestToken(id)) this.#releaseAsked.add(id!);
  }

  /** The daemon answers: from here on nobody may take it back. `stale`: a newer token was acknowledged before. */
  answered(call: Call, reservation: Reservation, stale: boolean): void {
    const { id, token } = reservation;
    if (call.what === 'Attach' && call.deliveries === 1 && reservation.state !== 'PAUSED')
      this.#confined(reservation);
    if (call.key !== '') {
      const text = JSON.stringify(reservation);
      if (call.first !== undefined && call.first !== text && !this.#answersLost) {
        this.#violated(`${call.what} ${call.key} was answered ${call.first} first, then ${text}`);
      }
      call.first ??= text;
    }
    if (stale && !hasEnded(reservation.state)) {
      this.#violated(
        `${call.what} of ${id} with token ${call.token} was accepted after ${this.#newestToken(id)}`,
      );
    }
    // The answer to a retry outlives a reservation that the disk lost, also where its holder has announced it again.
    if (this.#lost.has(id) && (!this.#durable.has(id) || call.deliveries > 1)) return;
    this.#acknowledged.set(id, Math.max(token, this.#newestToken(id)));
  }

  /**
   * Whether a call carries a token that was superseded, as far as any caller was told. A retry of Attach is exempt, and
   * so is a heartbeat in an open session: only opening one takes a token.
   */
  isStale({ what, id, holder: { session }, token, deliveries }: Call, life: Life): boolean {
    if (what === 'Reserve' || (what === 'Attach' && deliveries > 1)) return false;
    if (what === 'Session' && session?.life === life) return false;
    return token < this.#newestToken(id);
  }

  refused(call: Call, error: unknown): void {
    if (error instanceof Killed || (isCorecastError(error) && EXPECTED.includes(error.code))) return;
    this.#violated(`${call.what} failed with what no caller should see: ${messageOf(error)}`);
  }

  /** Nothing is under way in this turn: memory must be what was written, and nothing promised twice. */
  atRest({ ledger, reservations, life }: Serving): void {
    if (life.dead || this.#unseen.size === 0) return;
    for (const [id, durable] of this.#unseen) {
      const memory = JSON.stringify(ledger.get(id));
      if (memory !== durable)
        this.#violated(`reservation ${id} is ${memory} in memory and ${durable} on the disk`);
    }
    this.#unseen.clear();
    const { schedulable } = this.#host.machine.topology;
    for (const [cpu, milli] of reservations.occupancy().milli) {
      if (milli > 1_000) this.#violated(`CPU ${cpu} is promised to ${milli} thousandths`);
      if (milli < 0 || !Number.isInteger(milli))
        this.#violated(`CPU ${cpu} has ${milli} thousandths promised`);
      if (!this.#host.machine.changed && !schedulable.includes(cpu)) {
        this.#violated(`CPU ${cpu} is reserved, but not schedulable`);
      }
    }
  }

  /** All processes have ended and all deadlines have passed. */
  atTheEnd({ reservations }: Serving): void {
    for (const { id, state, reason } of reservations.list(false)) {
      this.#violated(`reservation ${id} is still ${state} (${reason}): it leaks`);
    }
    const occupied = [...reservations.occupancy().milli.keys()];
    if (occupied.length > 0) this.#violated(`CPUs ${occupied} are still promised: they leak`);
  }

  /** After a write that succeeded, whatever failed before it has been put right, too. */
  onDisk({ ledger }: Serving): void {
    const disk = JSON.stringify([...recordsOn(this.#host)].sort(byId));
    const memory = JSON.stringify(
      [...ledger.records()].map((record) => [record.reservation.id, record]).sort(byId),
    );
    if (disk !== memory) this.#violated(`memory and disk differ at the end: ${memory} and ${disk}`);
  }

  /**
   * A process that outlives its reservation must not be left on CPUs that others get from now on. Not looked at where the
   * disk kept a release that it said had failed, and a kill came before the ledger could take it back: the tick has the
   * process on its CPUs again by then, and after the kill nothing names it.
   */
  processes(): void {
    if (this.#host.kernel.disturbed || this.#host.disk.undecided) return;
    for (const [process, id] of this.#attached) {
      const now = this.#durable.get(id)?.reservation;
      if (!process.alive || now === undefined) continue;
      const attached = now.process?.pid === process.pid && now.process.startTicks === process.startTicks;
      // Stopped: wherever its mask lies, it runs nowhere.
      if (attached && now.state === 'PAUSED') continue;
      const confined = attached && holdsCpus(now.state);
      if (confined) this.#confined(now);
      else this.#free(process, `is not of ${id} any more (${now.state})`);
    }
  }

  /** After a start: who gave way is in the queue, and off the CPUs that it gave. */
  serves({ reservations }: Serving): void {
    const waiting = [...this.#durable.values()].filter(({ reservation }) => isRequeued(reservation));
    if (waiting.length !== reservations.queued())
      this.#violated(`${waiting.length} wait on the disk, ${reservations.queued()} in memory`);
    for (const { reservation } of waiting) this.givesWay(reservation.id);
  }

  /** Its process is told to end: its CPUs are others' already, and it must be off them. */
  givesWay(id: string | undefined): void {
    const now = this.#durable.get(id ?? '')?.reservation;
    const process = now && this.#processOf(now);
    if (!this.#host.kernel.disturbed && process?.alive === true) this.#free(process, 'gives way');
  }

  /** All faults have ended: whose process is stopped is PAUSED, and the other way round. Nobody is paused for ever. */
  stopped(): void {
    for (const [process, id] of this.#attached) {
      const now = this.#durable.get(id)?.reservation;
      if (!process.alive || now === undefined) continue;
      const paused = now.state === 'PAUSED' && now.process?.startTicks === process.startTicks;
      if (process.stopped === paused) continue;
      this.#violated(
        `process ${process.pid} of ${id} (${now.state}) ${paused ? 'runs' : 'is stopped for ever'}`,
      );
    }
  }

  violated(text: string): void {
    this.#violated(text);
  }

  #committed(operations: readonly StoreOperation[]): void {
    for (const operation of operations) {
      if (!operation.key.startsWith(RECORD_PREFIX)) continue;
      const id = operation.key.slice(RECORD_PREFIX.length);
      const before = this.#durable.get(id)?.reservation;
      if (operation.type === 'del') {
        if (before !== undefined && !hasEnded(before.state))
          this.#violated(`reservation ${id} was removed as ${before.state}`);
        this.#durable.delete(id);
        this.#unseen.set(id, undefined);
        this.#removed.add(id);
        continue;
      }
      const text = bodyOf(operation.value);
      const record = JSON.parse(text) as LedgerRecord;
      this.#durable.set(id, record);
      this.#attachedInThisBoot(record);
      this.#unseen.set(id, text);
      this.#stepped(before, record.reservation);
      this.#remember(record.reservation);
    }
    this.#capacity();
  }

  #stepped(before: Reservation | undefined, after: Reservation): void {
    for (const text of shapeFaults(after, this.#host.machine)) this.#violated(text);
    if (before === undefined) return;
    for (const text of stepFaults(before, after)) this.#violated(text);
    if (after.state === before.state) return;
    this.steps.add(`${before.state} ${after.state}`);
    if (hasEnded(after.state)) this.#mayEnd(before, after);
  }

  /** A reservation ends when its holder says so, its process ends or its time is over, and not otherwise. */
  #mayEnd(before: Reservation, { id, state, reason }: Reservation): void {
    if (this.#releaseAsked.has(id) || before.state === 'QUEUED') return;
    const { timeline } = this.#host;
    const late = timeline.wallJumped || (before.deadlineMs > 0 && timeline.nowMs() >= before.deadlineMs);
    const alive = this.#processOf(before) !== undefined;
    if (before.state === 'PENDING' ? late : !alive || (before.state === 'ORPHANED' && late)) return;
    this.#violated(`reservation ${id}, ${before.state}, became ${state} too early (${reason})`);
  }

  #capacity(): void {
    const held = [...this.#durable.values()].map(({ reservation }) => reservation);
    for (const text of promisedTwice(held, this.#host.machine)) this.#violated(text);
  }

  /** The daemon changes masks: only of a process that is its business, and only to what the ledger says already. */
  #pinned({ dead }: Life, process: SimulatedProcess, cpus: readonly number[]): void {
    if (dead) return;
    const { pid, startTicks } = process;
    const own = [...this.#durable.values()].find(
      ({ reservation }) => reservation.process?.pid === pid && this.#processOf(reservation) === process,
    );
    if (own === undefined && !this.#attached.has(process)) {
      this.#violated(
        `process ${pid}, started at tick ${startTicks}, is nobody's and was pinned to CPUs ${cpus}`,
      );
      return;
    }
    // Whoever outlives its reservation may go everywhere.
    const { schedulable } = this.#host.machine.topology;
    if (schedulable.every((cpu) => cpus.includes(cpu))) return;
    const allowed = new Set(own?.reservation.cpus.map(({ cpu }) => cpu) ?? schedulable);
    // The first half of a move: what it has and what it is to have.
    for (const mask of process.threads.values()) for (const cpu of mask) allowed.add(cpu);
    if (!cpus.every((cpu) => allowed.has(cpu))) {
      this.#violated(`process ${pid} was pinned to CPUs ${cpus} before the ledger had them`);
    }
  }

  #remember(reservation: Reservation): void {
    const process = this.#processOf(reservation);
    if (process !== undefined) this.#attached.set(process, reservation.id);
  }

  #processOf(reservation: Reservation): SimulatedProcess | undefined {
    const { process } = reservation;
    if (process === undefined || this.#endedByReboot.has(nameOf(reservation))) return undefined;
    const found = this.#host.kernel.find(process.pid);
    return found?.startTicks === process.startTicks ? found : undefined;
  }

  /** Every thread of its process is on its CPUs. */
  #confined(reservation: Reservation): void {
    const { id, cpus } = reservation;
    for (const [tid, mask] of this.#processOf(reservation)?.threads ?? []) {
      const outside = mask.filter((cpu) => !cpus.some((share) => share.cpu === cpu));
      if (outside.length > 0)
        this.#violated(`thread ${tid} of ${id} may run on CPUs ${outside}, which it does not hold`);
    }
  }

  /** Every thread of the process may run anywhere. */
  #free(process: SimulatedProcess, why: string): void {
    const { schedulable } = this.#host.machine.topology;
    for (const mask of process.threads.values()) {
      if (schedulable.every((cpu) => mask.includes(cpu))) continue;
      this.#violated(`process ${process.pid} ${why}, yet is confined to CPUs ${mask}`);
    }
  }

  #newestToken(id: string | undefined): number {
    return this.#acknowledged.get(id ?? '') ?? 0;
  }

  #violated(text: string): void {
    if (this.violations.length < 5) this.violations.push(text);
  }
}

/** A reservation and the process that it has. */
function nameOf({ id, process }: Reservation): string {
  return `${id} ${process?.pid} ${process?.startTicks}`;
}

/** The record's text within its envelope (ledger-format.ts). */
function bodyOf(value: string): string {
  return value.slice(value.indexOf('"body":') + '"body":'.length, -1);
}

function recordsOn({ disk }: Host): Map<string, LedgerRecord> {
  const records = new Map<string, LedgerRecord>();
  for (const [key, value] of disk.content) {
    if (!key.startsWith(RECORD_PREFIX)) continue;
    const decoded = decode<LedgerRecord>(key, value);
    if (decoded.ok) records.set(key.slice(RECORD_PREFIX.length), decoded.body);
  }
  return records;
}

function byId([a]: readonly unknown[], [b]: readonly unknown[]): number {
  return String(a) < String(b) ? -1 : 1;
}
