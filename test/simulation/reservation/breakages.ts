import type { LedgerStore } from '../../../src/reservation/ledger-store.js';
import type { Boundaries } from './daemon.js';

/** Worlds in which one promise does not hold that the reservation system is built on: the simulator must notice each. */
export const BREAKAGES: Readonly<Record<string, Boundaries>> = {
  /** A daemon on it answers before its write is on the disk. */
  'a write is acknowledged before it is made': {
    store: (store, timeline) => ({
      ...over(store),
      batch: async (operations, options) => {
        timeline.after(20, () => void store.batch(operations, options).catch(() => {}));
      },
    }),
  },
  'a failed write is said to have succeeded': {
    store: (store) => ({
      ...over(store),
      batch: (operations, options) => store.batch(operations, options).catch(() => {}),
    }),
  },
  'a batch is cut in two': {
    store: (store) => ({
      ...over(store),
      batch: async (operations, options) => {
        const middle = Math.ceil(operations.length / 2);
        await store.batch(operations.slice(0, middle), options);
        await store.batch(operations.slice(middle), options);
      },
    }),
  },
  /** Every process has the start time that its pid was seen with first: a reused pid is taken for the old process. */
  'start times are not looked at': {
    kernel: (calls) => {
      const first = new Map<number, number>();
      const ticks = (pid: number) => {
        const now = calls.startTicks(pid);
        if (!first.has(pid)) first.set(pid, now);
        return first.get(pid)!;
      };
      const openConfiner = () => {
        const confiner = calls.openConfiner();
        const confine = (pid: number, _: number, cpus: readonly number[]) =>
          confiner.confine(pid, calls.startTicks(pid), cpus);
        return { ...confiner, confine };
      };
      return { ...calls, startTicks: ticks, openConfiner };
    },
  },
  'reboots are not noticed': { bootId: 'always the same' },
  'the kernel ignores masks': {
    kernel: (calls) => {
      const ignored = () => ({ threads: 1, changed: 0, strays: [] });
      const openConfiner = () => ({ ...calls.openConfiner(), confine: ignored });
      return { ...calls, setProcessAffinity: ignored, confineProcess: ignored, openConfiner };
    },
  },
  'what was stopped does not go on': {
    kernel: (calls) => ({
      ...calls,
      kill: (pid, signal) => calls.kill(pid, signal === 'SIGCONT' ? 0 : signal),
    }),
  },
  'exits are not seen': {
    kernel: (calls) => ({ ...calls, watchExit: () => ({ close: () => {} }) }),
  },
};

function over(store: LedgerStore): LedgerStore {
  return {
    open: () => store.open(),
    close: () => store.close(),
    get: (key) => store.get(key),
    batch: (operations, options) => store.batch(operations, options),
    iterator: () => store.iterator(),
  };
}
