import { type HostAddon, hostAddon } from '../../src/lib/native.js';

/** One process in a kernel made of maps, for hosts and mishaps that this machine doesn't have. */
export interface FakeProcess {
  pid: number;
  startTicks: number;
  readonly threads: Map<number, number[]>;
  /** Every call with the CPUs it named. */
  readonly calls: [name: string, cpus?: readonly number[]][];
  /** Threads that set their own mask right after they were given one. */
  escapes?: ReadonlyMap<number, number[]>;
  /** Seconds since threads were made; 1000 where it is not said. */
  agesSeconds?: ReadonlyMap<number, number>;
  /** Runs before each call. */
  onCall?: (name: string) => void;
  /** An errno for everything that would change a mask. */
  refuse?: string;
}

export function fakeKernel(process: FakeProcess, online: readonly number[]): HostAddon {
  const begin = (name: string, cpus?: readonly number[]) => {
    process.calls.push(cpus === undefined ? [name] : [name, cpus]);
    process.onCall?.(name);
  };
  const give = (cpus: readonly number[], wants: (present: readonly number[]) => boolean) => {
    if (process.refuse !== undefined) {
      throw Object.assign(new Error(`${process.refuse}: refused`), {
        code: process.refuse,
        syscall: 'sched_setaffinity',
      });
    }
    let changed = 0;
    for (const [tid, present] of process.threads) {
      if (!wants(present)) continue;
      const effective = cpus.filter((cpu) => online.includes(cpu));
      if (String(effective) !== String(present)) changed++;
      process.threads.set(tid, process.escapes?.get(tid) ?? effective);
    }
    return { threads: process.threads.size, changed, strays: [] };
  };
  const confine = (name: string, cpus: readonly number[]) => {
    begin(name, cpus);
    const outside = (present: readonly number[]) => !present.every((cpu) => cpus.includes(cpu));
    const strays = [...process.threads]
      .filter(([, present]) => outside(present))
      .map(([tid, present]) => ({
        ...{ tid, name: `thread-${tid}`, cpus: present },
        ageSeconds: process.agesSeconds?.get(tid) ?? 1000,
      }));
    return { ...give(cpus, outside), strays };
  };
  return {
    ...hostAddon(),
    startTicks: () => {
      begin('startTicks');
      return process.startTicks;
    },
    getProcessAffinity: () => {
      begin('getProcessAffinity');
      return [...process.threads].map(([tid, cpus]) => ({ tid, name: `thread-${tid}`, cpus: [...cpus] }));
    },
    setProcessAffinity: (_pid, cpus) => {
      begin('setProcessAffinity', cpus);
      return give(cpus, () => true);
    },
    confineProcess: (_pid, cpus) => confine('confineProcess', cpus),
    openConfiner: () => ({
      confine(pid, startTicks, cpus) {
        begin('startTicks');
        if (pid !== process.pid || startTicks !== process.startTicks) {
          throw Object.assign(new Error('ESRCH: gone'), { code: 'ESRCH', syscall: 'open' });
        }
        return confine('confine', cpus);
      },
      forget: () => process.calls.push(['forget']),
      close() {},
    }),
  };
}
