import { HostUseMeter } from './balancer/host-use.js';
import type { HostSample, Monitor } from './monitor/sample.js';
import type { HostNow } from './reservation/deps.js';

/** Cores that processes with a reservation used over a tick. */
export function channelCores({ processes }: Pick<HostSample, 'processes'>): number {
  let cores = 0;
  for (const process of processes.values()) cores += process.cores;
  return cores;
}

/** The host as admission is to see it, from the monitor's ticks: the last one, and what the CPUs are used for over seconds. */
export function followHost(monitor: Monitor, schedulableCpus: () => number): () => HostNow {
  const used = new HostUseMeter();
  monitor.onTick((sample) =>
    used.add(sample.state.busy, schedulableCpus(), channelCores(sample), sample.elapsedS),
  );
  return () => {
    const sample = monitor.latest();
    return {
      window: monitor.window(),
      now: sample?.state,
      memory: sample && {
        availableBytes: sample.memoryAvailableBytes,
        totalBytes: sample.memoryTotalBytes,
      },
      use: used.now,
    };
  };
}
