import type { LedgerStore, StoreOperation } from '../../../src/reservation/ledger-store.js';
import type { Chance } from './chance.js';
import type { Life } from './life.js';
import type { Timeline } from './timeline.js';

/**
 * How a write fails. In each case the caller sees an error.
 *
 *   refused   nothing of it is there (no space, a torn batch)
 *   cached    the kernel has it, the disk may not: it is there after a kill and perhaps gone after a power cut
 *   kept      all of it is on the disk
 */
export type WriteFault = 'refused' | 'cached' | 'kept';

interface Flight {
  readonly life: Life;
  readonly operations: readonly StoreOperation[];
  readonly fault: WriteFault | undefined;
}

/**
 * What lies on the disk, over many lives of the daemon. After a failed write, what is appended to the same open database
 * is said to be written and is not there when it is opened again: LevelDB appends behind the piece that it could not
 * write, and recovery stops at that piece.
 */
export class SimulatedDisk {
  /** What the next opening finds. */
  readonly content = new Map<string, string>();
  /** Told of every batch that its caller was told is durable. */
  onCommit: (life: Life, operations: readonly StoreOperation[]) => void = () => {};
  readonly faults: WriteFault[] = [];
  /** A write failed of which the next opening may find all: what its caller undid since may be done after a kill. */
  undecided = false;
  failingOpens = 0;
  slow = false;
  readonly #cached: (readonly StoreOperation[])[] = [];
  readonly #flights = new Set<Flight>();
  readonly #chance: Chance;
  readonly #timeline: Timeline;

  constructor(chance: Chance, timeline: Timeline) {
    this.#chance = chance;
    this.#timeline = timeline;
  }

  /** A write is under way. */
  get writes(): boolean {
    return this.#flights.size > 0;
  }

  store(life: Life): LedgerStore {
    let open: Map<string, string> | undefined;
    let garbled = false;
    const takes = (run: () => void) =>
      this.#timeline.after(this.#latencyMs(), () => {
        if (!life.dead) run();
      });
    return {
      open: () =>
        new Promise((resolve, reject) => {
          if (!life.crosses()) return;
          takes(() => {
            if (this.failingOpens-- > 0) return reject(ioError('LEVEL_DATABASE_NOT_OPEN'));
            // Recovery reads the log and writes it to a table with sync.
            for (const operations of this.#cached.splice(0)) apply(this.content, operations);
            open = new Map(this.content);
            garbled = false;
            resolve();
          });
        }),
      close: async () => {
        open = undefined;
      },
      get: (key) =>
        new Promise((resolve, reject) => {
          takes(() =>
            open === undefined ? reject(ioError('LEVEL_DATABASE_NOT_OPEN')) : resolve(open.get(key)),
          );
        }),
      batch: (operations) =>
        new Promise((resolve, reject) => {
          if (!life.crosses()) return;
          if (open === undefined) return reject(ioError('LEVEL_DATABASE_NOT_OPEN'));
          const flight = { life, operations, fault: this.faults.shift() };
          this.#flights.add(flight);
          takes(() => {
            this.#flights.delete(flight);
            if (flight.fault !== undefined) {
              this.#fail(flight.fault, operations);
              garbled = true;
              reject(ioError('EIO'));
              return;
            }
            if (!garbled) apply(this.content, operations);
            if (open !== undefined) apply(open, operations);
            if (!life.crosses()) return;
            this.onCommit(life, operations);
            resolve();
          });
        }),
      async *iterator() {
        if (open === undefined) throw ioError('LEVEL_DATABASE_NOT_OPEN');
        yield* [...open].sort(([a], [b]) => (a < b ? -1 : 1));
      },
    };
  }

  /** A write that is under way when its daemon is killed has reached the kernel or has not. */
  killed(life: Life): void {
    for (const flight of this.#flights) {
      if (flight.life !== life) continue;
      this.#flights.delete(flight);
      if (flight.fault !== undefined) this.#fail(flight.fault, flight.operations);
      else if (this.#chance.hits(0.5)) this.#cached.push(flight.operations);
    }
  }

  /** Of what was only cached, a first part may have made it to the disk. */
  powerCut(): void {
    while (this.#cached.length > 0 && this.#chance.hits(0.5)) apply(this.content, this.#cached.shift()!);
    this.#cached.length = 0;
  }

  /** One character of one value is another one from now on. The key, or undefined when nothing is there. */
  rot(): string | undefined {
    const key = this.#chance.of([...this.content.keys()]);
    const value = this.content.get(key ?? '');
    if (key === undefined || value === undefined) return undefined;
    const at = this.#chance.below(value.length);
    const other = value[at] === '0' ? '1' : '0';
    this.content.set(key, value.slice(0, at) + other + value.slice(at + 1));
    return key;
  }

  #fail(fault: WriteFault, operations: readonly StoreOperation[]): void {
    if (fault !== 'refused') this.undecided = true;
    if (fault === 'cached') this.#cached.push(operations);
    else if (fault === 'kept') apply(this.content, operations);
  }

  #latencyMs(): number {
    return this.slow ? this.#chance.between(500, 4_000) : this.#chance.between(1, 4);
  }
}

function apply(content: Map<string, string>, operations: readonly StoreOperation[]): void {
  for (const operation of operations) {
    if (operation.type === 'put') content.set(operation.key, operation.value);
    else content.delete(operation.key);
  }
}

function ioError(code: string): Error {
  return Object.assign(new Error(`IO error: ${code}`), { code });
}
