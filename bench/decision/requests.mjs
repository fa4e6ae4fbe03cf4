/** What is asked in the decision benchmark, and everything else that a decision is made from. */
import { fileURLToPath } from 'node:url';
import { SMT_CORE_MILLI } from './hosts.mjs';

const dist = process.env.CORECAST_DIST ?? fileURLToPath(new URL('../../dist', import.meta.url));
const { candidateCpuCounts } = await import(`${dist}/balancer/decide.js`);
const { configSchema } = await import(`${dist}/config/schema.js`);

/** As they ship, but that no count of channels refuses what the CPUs could take. */
const LIMITS = { ...configSchema.parse({}).limits, channels: 100_000 };

/** Of every 20 requests, how many are of which kind. `cores` is the forecast demand, 0.9 quantile. */
export const KINDS = [
  { kind: 'live, a part of a core', weight: 5, cores: [0.1, 0.9] },
  { kind: 'live, 1 to 4 cores', weight: 5, cores: [1, 4] },
  { kind: 'live, 4 to 12 cores', weight: 3, cores: [4, 12] },
  { kind: 'live, 12 to 24 cores', weight: 1, cores: [12, 24] },
  { kind: 'live, a CPU count of its own', weight: 2, cores: [1, 6], ownCount: true },
  { kind: 'live, exclusive', weight: 2, cores: [1, 6], exclusive: true },
  { kind: 'vod', weight: 1, cores: [1, 8], channelClass: 'vod' },
  { kind: 'live, more than fits', weight: 1, cores: [40, 60] },
];

const BAG = KINDS.flatMap((kind) => Array.from({ length: kind.weight }, () => kind));

/** @returns {{kind: string, input: object}} what decide() is given, but for the occupancy's changes */
export function drawRequest(random, topology, occupancy, channels) {
  const kind = BAG[Math.floor(random() * BAG.length)];
  const cores = kind.cores[0] + random() * (kind.cores[1] - kind.cores[0]);
  const request = {
    signature: SIGNATURE,
    channelClass: kind.channelClass ?? 'live',
    priority: 50,
    exclusive: kind.exclusive ?? false,
    cpuCount: kind.ownCount ? Math.ceil(cores * (1.3 + random())) : 0,
  };
  return { kind: kind.kind, input: inputOf(request, cores, topology, occupancy, channels) };
}

const PICTURE = { width: 1920, height: 1080, fps: 50, bitDepth: 8 };
const SIGNATURE = {
  input: { codec: 'h264', bitrateBps: 8e6, ...PICTURE },
  outputs: [{ encoder: 'libx264', preset: 'medium', rate: { bitrateBps: 5e6 }, options: {}, ...PICTURE }],
  complexity: {},
};

function inputOf(request, cores, topology, occupancy, channels) {
  const candidates = candidateCpuCounts(request, topology.schedulable.length);
  return {
    request,
    forecasts: candidates.map((cpuCount) => forecastOf(cpuCount, cores)),
    topology,
    occupancy,
    host: undefined,
    limits: LIMITS,
    smtCoreMilli: SMT_CORE_MILLI,
    memory: { availableBytes: 2 ** 40, totalBytes: 2 ** 41 },
    ingressReservedBps: 0,
    channels,
    queuedAhead: 0,
    queued: 0,
    closedReason: '',
  };
}

function forecastOf(cpuCount, cores) {
  const quantiles = (q90) => ({ q50: q90 * 0.9, q90, q99: q90 * 1.2 });
  const usage = (rank) => Math.min(1, (cores / cpuCount) * (1.3 - (0.6 * rank) / cpuCount));
  return {
    source: 'lstm',
    modelId: 'bench',
    cpuCount,
    notes: [],
    horizons: [
      [0, 10],
      [10, 60],
      [60, 300],
    ].map(([fromS, toS]) => ({
      fromS,
      toS,
      demand: quantiles(cores),
      coreUsage: Array.from({ length: cpuCount }, (_, rank) => quantiles(usage(rank))),
      hostLoad: quantiles(0.5),
    })),
  };
}
