/**
 * One admission decision on a host of 4,096 CPUs with 2,000 reservations (budget: under 1 ms). Two shapes of host, an
 * OccupancyIndex kept up to date as the daemon keeps it, and once a plain occupancy that has to be indexed first.
 *
 *   npm run -s bench -- decide [--json]
 */
import { fileURLToPath } from 'node:url';

const dist = process.env.CORECAST_DIST ?? fileURLToPath(new URL('../dist', import.meta.url));
const { candidateCpuCounts, decide } = await import(`${dist}/balancer/decide.js`);
const { allocate, OccupancyIndex } = await import(`${dist}/reservation/allocator.js`);
const { configSchema } = await import(`${dist}/config/schema.js`);

const SMT = 1300;
const RESERVATIONS = 2_000;
const WARM_UP = 100;
const LIMITS = configSchema.parse({}).limits;
const SHAPES = {
  '256 L3s of 8 cores': { nodes: 16, l3sPerNode: 16, coresPerL3: 8 },
  '8 L3s of 256 cores': { nodes: 8, l3sPerNode: 1, coresPerL3: 256 },
};

export async function run() {
  const rows = [];
  for (const [shape, of] of Object.entries(SHAPES)) {
    const topology = topologyOf(of);
    const index = loaded(topology, 0.6);
    const plain = { milli: new Map(index.milli), exclusive: new Set(index.exclusive) };
    const crowded = loaded(topology, 1.5);
    const full = loaded(topology, 2.5);
    rows.push(
      time(shape, 'live, 0.4 cores', topology, index, liveRequest(0.4)),
      time(shape, 'live, 6.5 cores', topology, index, liveRequest(6.5)),
      time(shape, 'live, 20 cores', topology, index, liveRequest(20)),
      time(shape, 'live, 3 cores, exclusive', topology, index, { ...liveRequest(3), exclusive: true }),
      time(shape, 'vod, 8 CPUs', topology, index, { ...liveRequest(8), channelClass: 'vod' }),
      time(shape, 'live, 6.5 cores, crowded', topology, crowded, liveRequest(6.5)),
      time(shape, 'live, 6.5 cores on 9 CPUs, crowded', topology, crowded, {
        ...liveRequest(6.5),
        cpuCount: 9,
      }),
      time(shape, 'live, 20 cores, full', topology, full, liveRequest(20)),
      time(shape, 'live, 40 cores, too large', topology, index, liveRequest(40)),
      time(shape, 'live, 0.4 cores, not indexed', topology, plain, liveRequest(0.4)),
    );
  }
  const of = (key) => Math.max(...rows.map((row) => row[key]));
  return {
    rows,
    figures: {
      cpus: 4096,
      reservations: RESERVATIONS,
      decide_worst_p50_ms: of('p50'),
      decide_worst_p99_ms: of('p99'),
      decide_worst_mean_cpu_ms: of('meanCpu'),
      decide_small_live_p50_ms: rows[0].p50,
      reserve_and_release_p50_ms: rows[0].updateP50,
    },
  };
}

function time(shape, what, topology, occupancy, request) {
  const input = inputOf(topology, occupancy, request);
  const rounds = 300;
  const times = [];
  const updates = [];
  let verdict;
  const cpuBefore = process.cpuUsage();
  for (let round = -WARM_UP; round < rounds; round++) {
    const from = performance.now();
    verdict = decide(input);
    const ms = performance.now() - from;
    if (round >= 0) times.push(ms);
    if (!verdict.fits || !(occupancy instanceof OccupancyIndex)) continue;
    const before = performance.now();
    occupancy.reserve(verdict.cpus, request.exclusive);
    occupancy.release(verdict.cpus, request.exclusive);
    if (round >= 0) updates.push(performance.now() - before);
  }
  const cpu = process.cpuUsage(cpuBefore);
  const failed = verdict.reasons.find(({ passed }) => !passed);
  return {
    shape,
    what,
    outcome: failed === undefined ? `${verdict.cpus.length} CPUs` : failed.code,
    p50: quantile(times, 0.5),
    p99: quantile(times, 0.99),
    // CPU time is what the decision costs; wall time beside it is what other work on the machine adds.
    meanCpu: (cpu.user + cpu.system) / 1000 / (rounds + WARM_UP),
    updateP50: quantile(updates, 0.5),
  };
}

function topologyOf({ nodes, l3sPerNode, coresPerL3 }) {
  const cores = nodes * l3sPerNode * coresPerL3;
  const cpus = Array.from({ length: cores * 2 }, (_, cpu) => {
    const core = cpu % cores;
    return {
      cpu,
      core,
      l3: Math.floor(core / coresPerL3),
      node: Math.floor(core / (coresPerL3 * l3sPerNode)),
      package: 0,
      kind: 'performance',
      capacity: 1024,
      online: true,
      housekeeping: false,
    };
  });
  const to = (a) =>
    new Map(Array.from({ length: nodes }, (_, b) => [b, a === b ? 10 : 20 + Math.abs(a - b)]));
  return {
    cpus,
    schedulable: cpus.map(({ cpu }) => cpu),
    housekeeping: [],
    distance: new Map(Array.from({ length: nodes }, (_, node) => [node, to(node)])),
  };
}

/** The same reservations every time: sizes from a fixed sequence, placed by the allocator itself. */
function loaded(topology, meanCores) {
  const index = new OccupancyIndex(topology, SMT);
  let seed = 1;
  const random = () => {
    seed = (seed * 48_271) % 2_147_483_647;
    return seed / 2_147_483_647;
  };
  for (let i = 0; i < RESERVATIONS; i++) {
    const milli = Math.ceil(2 * meanCores * random() * 1000) + 50;
    const exclusive = i % 50 === 0;
    const sharesMilli = spread(milli, Math.ceil(milli / 800));
    const placed = allocate(topology, index, {
      sharesMilli,
      exclusive,
      channelClass: 'live',
      smtCoreMilli: SMT,
    });
    if (placed.ok) index.reserve(placed.cpus, exclusive);
  }
  return index;
}

function spread(milli, count) {
  const weights = Array.from({ length: count }, (_, i) => 1 - (0.5 * i) / count);
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => Math.min(1000, Math.max(1, Math.ceil((milli * weight) / sum))));
}

function liveRequest(cores) {
  const picture = { width: 1920, height: 1080, fps: 50, bitDepth: 8 };
  return {
    cores,
    signature: {
      input: { codec: 'h264', bitrateBps: 8e6, ...picture },
      outputs: [{ encoder: 'libx264', preset: 'medium', rate: { bitrateBps: 5e6 }, options: {}, ...picture }],
      complexity: {},
    },
    channelClass: 'live',
    priority: 50,
    exclusive: false,
    cpuCount: 0,
  };
}

function inputOf(topology, occupancy, request) {
  const quantiles = (q90) => ({ q50: q90 * 0.9, q90, q99: q90 * 1.2 });
  const forecasts = candidateCpuCounts(request, topology.schedulable.length).map((cpuCount) => ({
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
      demand: quantiles(request.cores),
      coreUsage: Array.from({ length: cpuCount }, (_, rank) =>
        quantiles(Math.min(1, (request.cores / cpuCount) * (1.3 - (0.6 * rank) / cpuCount))),
      ),
      hostLoad: quantiles(0.5),
    })),
  }));
  return {
    request,
    forecasts,
    topology,
    occupancy,
    host: undefined,
    limits: LIMITS,
    smtCoreMilli: SMT,
    memory: { availableBytes: 2 ** 40, totalBytes: 2 ** 41 },
    ingressReservedBps: 0,
    channels: RESERVATIONS - 1,
    queuedAhead: 0,
    queued: 0,
    closedReason: '',
  };
}

function quantile(values, q) {
  if (values.length === 0) return 0;
  const sorted = [...values].sort((a, b) => a - b);
  return Number(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))].toFixed(4));
}
