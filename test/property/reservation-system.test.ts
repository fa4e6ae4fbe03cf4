import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, it, onTestFinished } from 'vitest';
import { isCorecastError } from '../../src/lib/errors.js';
import { decode, type LedgerRecord, RECORD_PREFIX } from '../../src/reservation/ledger-format.js';
import { type LedgerStore, levelStore } from '../../src/reservation/ledger-store.js';
import type { Reservation } from '../../src/reservation/reservation.js';
import type { ReserveCall, SessionHandle } from '../../src/rpc/control.js';
import { ManualTime, settled } from '../support/manual-time.js';
import {
  call,
  checkInvariants,
  FOREVER,
  ME,
  realHost,
  sleeper,
  type World,
  world,
} from '../support/reservation-world.js';

/** What the callers know: what was acknowledged to them. */
interface Known {
  readonly request: ReserveCall;
  readonly first: Reservation;
  token: number;
  process?: ReturnType<typeof sleeper>;
  session?: SessionHandle;
}

type Op =
  | { op: 'reserve'; milli: number; cpus: number; exclusive: boolean; waitMs: number; vod: boolean }
  | { op: 'retry' | 'session' | 'close' | 'restarting' | 'end'; which: number }
  | { op: 'attach' | 'release'; which: number; stale: boolean }
  | { op: 'resize'; which: number; milli: number; cpu: number }
  | { op: 'pass'; ms: number }
  | { op: 'jump'; ms: number }
  | { op: 'full'; writes: number }
  | { op: 'hotplug'; cpu: number }
  | { op: 'crash' };

const which = fc.nat(20);
const stale = fc.boolean();
const ops: fc.Arbitrary<Op> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      op: fc.constant('reserve' as const),
      milli: fc.integer({ min: 50, max: 1_200 }),
      cpus: fc.constantFrom(0, 0, 1, 2),
      exclusive: fc.constantFrom(false, false, false, true),
      waitMs: fc.constantFrom(0, 0, 4_000),
      vod: fc.constantFrom(false, false, true),
    }),
  },
  { weight: 5, arbitrary: fc.record({ op: fc.constant('attach' as const), which, stale }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('release' as const), which, stale }) },
  {
    weight: 6,
    arbitrary: fc.record({
      op: fc.constantFrom(
        'retry' as const,
        'session' as const,
        'close' as const,
        'restarting' as const,
        'end' as const,
      ),
      which,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant('resize' as const),
      which,
      milli: fc.integer({ min: 1, max: 1_000 }),
      cpu: fc.nat(1),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ op: fc.constant('pass' as const), ms: fc.constantFrom(1_000, 6_000, 11_000) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ op: fc.constant('jump' as const), ms: fc.constantFrom(-90_000, 90_000) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ op: fc.constant('full' as const), writes: fc.integer({ min: 1, max: 3 }) }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('hotplug' as const), cpu: fc.nat(1) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('crash' as const) }) },
);

/** Refusals that a caller must expect. Anything else is a defect. */
const EXPECTED = [
  'NO_CAPACITY',
  'WRONG_STATE',
  'STALE_TOKEN',
  'NOT_FOUND',
  'PROCESS_GONE',
  'STORE_FAILED',
  'CANCELLED',
];

class Host {
  readonly time = new ManualTime();
  readonly known: Known[] = [];
  readonly tokens = new Map<string, number>();
  readonly waiting: Promise<void>[] = [];
  failing = 0;
  lives = 0;
  made!: World;
  readonly #whole = realHost();
  #topology = this.#whole;
  #store!: LedgerStore;

  constructor(readonly root: string) {}

  async live(): Promise<void> {
    const directory = join(this.root, String(this.lives));
    if (this.lives > 0) cpSync(join(this.root, String(this.lives - 1)), directory, { recursive: true });
    const before = this.made;
    this.failing = 0;
    await before?.stop();
    await Promise.all(this.waiting.splice(0));
    this.#store = levelStore(directory);
    const batch = this.#store.batch.bind(this.#store);
    const store = Object.assign(this.#store, {
      batch: async (...args: Parameters<LedgerStore['batch']>) => {
        if (this.failing-- > 0) throw new Error('IO error: No space left on device');
        await batch(...args);
      },
    });
    this.made = await world({
      directory,
      time: this.time,
      createStore: () => store,
      ids: `life${this.lives++}-`,
      config: { preemption: { vod: 'requeue' } },
    });
    this.made.knobs.topology = this.#topology;
    expect(this.made.report).toEqual([]);
    await this.made.reservations.reconcile();
    for (const one of this.known) {
      delete one.session;
      expect(this.made.reservations.get(one.first.id), 'acknowledged').toBeDefined();
    }
  }

  async run(op: Op): Promise<void> {
    const { reservations } = this.made;
    const one = 'which' in op ? this.known[op.which % Math.max(1, this.known.length)] : undefined;
    if ('which' in op && one === undefined) return;
    const id = one?.first.id ?? '';
    const token = one?.token ?? 0;
    switch (op.op) {
      case 'reserve': {
        const request = call(op.milli, {
          cpuCount: op.cpus,
          exclusive: op.exclusive,
          waitMs: op.waitMs,
          startTimeoutMs: 8_000,
          channelClass: op.vod ? 'vod' : 'live',
        });
        const reserved = this.expectedly(async () => {
          const { reservation } = await reservations.reserve(request, ME, FOREVER);
          this.known.push({ request, first: reservation, token: reservation.token });
        });
        if (op.waitMs > 0) this.waiting.push(reserved);
        else await reserved;
        return;
      }
      case 'retry':
        return this.expectedly(async () => {
          const again = await reservations.reserve(one!.request, ME, FOREVER);
          expect(again.reservation, 'the first answer').toEqual(one!.first);
        });
      case 'attach':
        return this.expectedly(async () => {
          const process = sleeper();
          const idempotencyKey = `attach-${process.ref.pid}-${process.ref.startTicks}`;
          const attach = {
            reservationId: id,
            token: op.stale ? token - 1 : token,
            process: process.ref,
            idempotencyKey,
          };
          const { reservation } = await reservations.attach(attach, ME);
          expect(op.stale, 'a stale token is refused').toBe(false);
          one!.token = reservation.token;
          one!.process = process;
        });
      case 'session':
        return this.expectedly(async () => {
          one!.session = reservations.openSession(id, token, ME, () => {});
          const beat = await one!.session.heartbeat({ rung: 0, restarting: false, requeues: true });
          one!.token = beat.reservation.token;
        });
      case 'restarting':
        return this.expectedly(async () => {
          const beat = await one!.session?.heartbeat({ rung: 0, restarting: true });
          one!.token = beat?.reservation.token ?? one!.token;
        });
      case 'close':
        one!.session?.closed();
        return;
      case 'end':
        await one!.process?.end();
        return;
      case 'release':
        return this.expectedly(async () => {
          const ended = reservations.get(id)?.cpus.length === 0;
          const release = { reservationId: id, token: op.stale ? token - 1 : token, reason: 'x' };
          await reservations.release(release, ME);
          if (!ended) expect(op.stale, 'a stale token is refused').toBe(false);
        });
      case 'resize':
        return this.expectedly(async () => {
          const { schedulable } = this.made.knobs.topology;
          const cpu = schedulable[op.cpu % schedulable.length]!;
          await reservations.resize(id, [{ cpu, shareMilli: op.milli }], 'moved', 'x');
        });
      case 'pass':
        return this.time.pass(op.ms);
      case 'jump':
        return this.time.jumpWallClock(op.ms);
      case 'full':
        this.failing = op.writes;
        return;
      case 'hotplug':
        return this.#plug(op.cpu);
      case 'crash':
        return this.live();
    }
  }

  /** A CPU goes, or comes back; one stays. */
  #plug(which: number): void {
    const { schedulable } = this.#whole;
    const cpu = schedulable[which % schedulable.length]!;
    const gone = this.#topology !== this.#whole;
    if (!gone && schedulable.length < 2) return;
    this.#topology = gone
      ? this.#whole
      : {
          ...this.#whole,
          cpus: this.#whole.cpus.map((one) => (one.cpu === cpu ? { ...one, online: false } : one)),
          schedulable: schedulable.filter((one) => one !== cpu),
        };
    this.made.knobs.topology = this.#topology;
    this.made.reservations.capacityChanged();
  }

  allOnline(): void {
    if (this.#topology !== this.#whole) this.#plug(0);
  }

  async expectedly(run: () => Promise<void>): Promise<void> {
    try {
      await run();
    } catch (error) {
      if (!isCorecastError(error) || !EXPECTED.includes(error.code)) throw error;
    }
  }

  async check(): Promise<void> {
    // Who finds no place stays on a CPU that is gone.
    checkInvariants(this.made.reservations, this.#whole);
    for (const { id, token } of this.made.reservations.list(true)) {
      expect(token, `token of ${id}`).toBeGreaterThanOrEqual(this.tokens.get(id) ?? 1);
      this.tokens.set(id, token);
    }
    // What ends by itself may be on its way to the disk; memory never runs ahead of it.
    for (let tries = 0; ; tries++) {
      const [durable, memory] = await this.#both();
      if (durable !== undefined && JSON.stringify(durable) === JSON.stringify(memory)) return;
      if (tries === 40) expect(memory).toEqual(durable);
      await settled(5);
    }
  }

  /** What is on the disk; undefined while the ledger reopens it after a failed write. */
  async #both(): Promise<[Reservation[] | undefined, Reservation[]]> {
    let durable: Reservation[] | undefined = [];
    try {
      for await (const [key, value] of this.#store.iterator()) {
        if (!key.startsWith(RECORD_PREFIX)) continue;
        const decoded = decode<LedgerRecord>(key, value);
        if (!decoded.ok) throw new Error(`${key} ${decoded.problem}`);
        durable.push(decoded.body.reservation);
      }
    } catch (error) {
      if (!/NOT_OPEN/.test(String((error as { code?: unknown }).code))) throw error;
      durable = undefined;
    }
    const memory = [...this.made.ledger.records()].map(({ reservation }) => reservation);
    memory.sort((a, b) => (a.id < b.id ? -1 : 1));
    return [durable, memory];
  }
}

/** More for a night: CORECAST_PROPERTY_RUNS=1000. */
const RUNS = Number(process.env['CORECAST_PROPERTY_RUNS'] ?? 10);

it(
  'whatever happens in whatever order: no CPU over its capacity, memory is what is durable, tokens only grow',
  async () => {
    const root = mkdtempSync(join(tmpdir(), 'corecast-property-'));
    onTestFinished(() => rmSync(root, { recursive: true, force: true }));
    let runs = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(ops, { minLength: 8, maxLength: 30 }), async (sequence) => {
        const host = new Host(join(root, String(runs++)));
        await host.live();
        try {
          for (const op of sequence) {
            await host.run(op);
            await host.check();
          }
          // Everything ends sooner or later, and nothing is leaked.
          host.failing = 0;
          host.allOnline();
          for (const one of host.known) await one.process?.end();
          // What waits is refused or admitted first, then expires: in some turns, because the disk takes its time.
          const { list, occupancy } = host.made.reservations;
          const left = () => list(false).length + occupancy().milli.size;
          for (let turn = 0; turn < 40 && left() > 0; turn++) await host.time.pass(15_000);
          await host.check();
          expect(host.made.reservations.list(false)).toEqual([]);
          expect(host.made.reservations.occupancy().milli.size).toBe(0);
        } finally {
          await host.made.stop();
          await Promise.all(host.waiting);
        }
      }),
      { numRuns: RUNS, endOnFailure: true },
    );
  },
  60_000 + RUNS * 5_000,
);
