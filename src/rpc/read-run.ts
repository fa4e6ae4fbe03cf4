import { IDLE_HOST } from '../forecast/forecast.js';
import type { Run } from '../history/records.js';
import type { HostView } from './control.js';
import type { Run__Output } from './generated/corecast/v1/Run.js';
import { readSignature } from './read-signature.js';
import { Violations } from './violations.js';

const MAX_SECONDS = 31 * 86_400;
const MAX_CPUS = 8_192;

/**
 * A calibration measurement as the history keeps it. It arrives as one aggregate, so it becomes one sample as long as the
 * run; the rest of the host's state is what the daemon saw last, which is while the run was on or just after.
 */
export function readRun(message: Run__Output | null, host: HostView): Run {
  const violations = new Violations();
  if (!violations.present('run', message)) violations.raise();
  const run = message!;
  violations.text('run.id', run.id, 1, 200);
  violations.check(run.origin === 'calibration', 'run.origin', run.origin, '"calibration"');
  violations.integer('run.started_ms', run.startedMs, 1, 253_402_300_799_999);
  violations.integer('run.cpu_count', run.cpuCount, 1, MAX_CPUS);
  violations.finite('run.cpu_seconds', run.cpuSeconds, 0, MAX_SECONDS * MAX_CPUS);
  violations.finite('run.wall_seconds', run.wallSeconds, 1e-3, MAX_SECONDS);
  violations.finite('run.media_seconds', run.mediaSeconds, 1e-3, MAX_SECONDS);
  violations.finite('run.host_load', run.hostLoad, 0, 1);
  violations.text('run.source', run.source, 1, 200);
  const cores = run.coreUsage.length;
  violations.check(cores <= run.cpuCount, 'run.core_usage', `${cores} long`, `at most ${run.cpuCount} CPUs`);
  run.coreUsage.slice(0, MAX_CPUS).forEach((usage, i) => {
    violations.finite(`run.core_usage[${i}]`, usage, 0, 1.5);
  });
  const signature = readSignature(violations, run.signature);
  violations.raise();

  const coreUsage = run.coreUsage.map((usage) => Math.min(1, usage)).sort((a, b) => b - a);
  const speed = run.mediaSeconds / run.wallSeconds;
  const ingressBps = signature.input.bitrateBps * speed;
  return {
    id: run.id,
    origin: 'calibration',
    startedMs: run.startedMs,
    signature,
    cpuCount: run.cpuCount,
    schedulableCpus: host.topology.schedulable.length,
    hostBefore: [],
    samples: [
      {
        atS: run.wallSeconds,
        demandCores: run.cpuSeconds / run.mediaSeconds,
        coreUsage,
        hostLoad: run.hostLoad,
        ingressBps,
        speed,
        host: { ...(host.sample?.state ?? IDLE_HOST), busy: run.hostLoad },
      },
    ],
    cpuSeconds: run.cpuSeconds,
    wallSeconds: run.wallSeconds,
    mediaSeconds: run.mediaSeconds,
    source: run.source,
  };
}
