import { Adjuster } from './adjuster/adjuster.js';
import type { Sharing } from './balancer/choose-shared.js';
import { normalQuantile } from './balancer/shared-demand.js';
import type { Config } from './config/schema.js';
import type { Recorder } from './feedback/recorder.js';
import type { HostForecaster } from './forecast/forecaster.js';
import type { Signature } from './forecast/signature.js';
import type { Clock } from './lib/clock.js';
import type { Log } from './lib/log.js';
import type { Monitor } from './monitor/sample.js';
import { reallocate } from './reservation/allocator.js';
import type { CpuShare, Reservation } from './reservation/reservation.js';
import type { Reservations } from './reservation/reservations.js';
import type { Topology } from './topology/topology.js';

export interface AdjustingParts {
  readonly clock: Clock;
  readonly log: Log;
  config(): Config;
  topology(): Topology;
  /** Reservations whose process runs. */
  active(): readonly Reservation[];
  readonly reservations: Reservations;
  readonly recorder: Recorder;
  readonly forecaster: HostForecaster;
  readonly monitor: Monitor;
  /** Called with '' when the overload is over. */
  overloaded(reason: string): void;
}

/** How live channels share CPUs; undefined where they do not. */
export function sharingRule(
  { enabled, quantile, headroom, cpus }: Config['sharing'],
  common: number,
): Omit<Sharing, 'sharers'> | undefined {
  return enabled ? { quantile, cpus, rule: { z: normalQuantile(quantile), headroom, common } } : undefined;
}

/** The adjuster with the daemon's parts as its levers. */
export function createAdjuster(parts: AdjustingParts): Adjuster {
  const { clock, log, config, topology, active, reservations, recorder, monitor } = parts;
  return new Adjuster({
    clock,
    log,
    config,
    active,
    usage: (id) => recorder.usage(id),
    idleCores: (held) => idleCores(monitor, held),
    reforecast: (id, ingressBps) => reforecast(parts, id, ingressBps),
    ingress: (id) => ({
      window: recorder.channelWindow(id),
      expectedBps: reservations.requestOf(id)?.signature.input.bitrateBps ?? 0,
    }),
    shared: (id) => reservations.sharedPart(id),
    closing: () => reservations.closing(),
    place: ({ id, cpus, exclusive, channelClass }, sharesMilli, idle = false) => {
      if (reservations.sharedPart(id) !== undefined) {
        const milli = sharesMilli.reduce((sum, share) => sum + share, 0);
        const spread = reservations.spread(id, milli);
        const others = spread?.filter(({ cpu }) => cpus.every((held) => held.cpu !== cpu)) ?? [];
        // CPUs that a neighbour keeps busy are no help, whoever they are promised to.
        return others.length > 0 && idleCores(monitor, others) < LEAST_IDLE_CORES ? undefined : spread;
      }
      const request = { sharesMilli, exclusive, channelClass, smtCoreMilli: config().cpus.smt_core_milli };
      const host = idle ? withIdleCpus(topology(), monitor) : topology();
      const found = reallocate(host, reservations.occupancy(id), cpus, request);
      return found.ok ? found.cpus : undefined;
    },
    couldGrowOverVod: (id, sharesMilli) => reservations.couldGrowOverVod(id, sharesMilli),
    growOverVod: async (id, sharesMilli, reason) =>
      (await reservations.growOverVod(id, sharesMilli, reason)) !== undefined,
    resize: async (id, cpus, event, reason) => {
      await reservations.resize(id, cpus, event, reason);
    },
    setRung: async (id, rung, reason) => {
      await reservations.setRung(id, rung, reason);
    },
    direct: (id, directive) => reservations.direct(id, directive),
    hostTrouble: () => memoryTrouble(monitor),
    overloaded: (reason) => {
      parts.overloaded(reason);
      if (reason === '') reservations.capacityChanged();
      log.warn(
        { part: 'adjuster', reason },
        reason === '' ? 'admission is open again' : 'admission is closed',
      );
    },
  });
}

const LEAST_IDLE_CORES = 0.1;
/** Where a channel flees to must be at leisure. */
const AT_LEISURE = 0.5;

/** The host as if it had only the CPUs that are idle for the most part. */
function withIdleCpus(topology: Topology, monitor: Monitor): Topology {
  const busy = monitor.latest()?.busyByCpu;
  const schedulable = topology.schedulable.filter((cpu) => 1 - (busy?.get(cpu) ?? 1) >= AT_LEISURE);
  return { ...topology, schedulable };
}

/** The idle shares of these CPUs over the last tick, summed. */
function idleCores(monitor: Monitor, held: readonly CpuShare[]): number {
  const busy = monitor.latest()?.busyByCpu;
  return held.reduce((idle, { cpu }) => idle + 1 - (busy?.get(cpu) ?? 1), 0);
}

/** The same stream with another bit rate: more bits for each pixel, too. */
function withIngress(signature: Signature, ingressBps: number): Signature {
  const { input, complexity } = signature;
  const { bitsPerPixel } = complexity;
  const factor = input.bitrateBps > 0 ? ingressBps / input.bitrateBps : 1;
  return {
    ...signature,
    input: { ...input, bitrateBps: Math.round(ingressBps) },
    complexity:
      bitsPerPixel === undefined ? complexity : { ...complexity, bitsPerPixel: bitsPerPixel * factor },
  };
}

/** Tasks that wait for memory a fifth of the time: a host that thrashes, which another encoder makes worse for all. */
const MEMORY_STALLED = 0.2;

function memoryTrouble(monitor: Monitor): string {
  const now = monitor.latest()?.detail.pressure.memoryNow ?? 0;
  return now < MEMORY_STALLED ? '' : `tasks wait for memory ${Math.round(now * 100)} % of the time`;
}

/** The most of the horizons' 0.9 quantiles, cores; undefined without a request to forecast or CPUs to run on. */
async function reforecast(
  { reservations, recorder, forecaster, monitor, topology }: AdjustingParts,
  id: string,
  ingressBps: number | undefined,
): Promise<number | undefined> {
  const request = reservations.requestOf(id);
  const held = reservations.get(id)?.cpus.length ?? 0;
  if (request === undefined || held === 0) return undefined;
  const [forecast] = await forecaster.forecast({
    signature: ingressBps === undefined ? request.signature : withIngress(request.signature, ingressBps),
    host: monitor.window(),
    channel: recorder.channelWindow(id),
    candidates: [held],
    schedulableCpus: topology().schedulable.length,
  });
  if (forecast === undefined) return undefined;
  recorder.reforecast(id, forecast);
  return Math.max(...forecast.horizons.map(({ demand }) => demand.q90));
}
