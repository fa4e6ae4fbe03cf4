/**
 * What a durable Reserve costs inside the daemon, against its floor on the same disk: one synced LevelDB put. Without the
 * RPC and the model run, which are measured on their own.
 *
 *   npm run -s bench -- reserve [--json]
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const dist = process.env.CORECAST_DIST ?? fileURLToPath(new URL('../dist', import.meta.url));
const { configSchema } = await import(`${dist}/config/schema.js`);
const { systemClock } = await import(`${dist}/lib/clock.js`);
const { silentLog } = await import(`${dist}/lib/log.js`);
const { openLedger } = await import(`${dist}/reservation/ledger-open.js`);
const { levelStore } = await import(`${dist}/reservation/ledger-store.js`);
const { createReservations } = await import(`${dist}/reservation/reservations.js`);
const { systemScheduler } = await import(`${dist}/reservation/scheduler.js`);

const ROUNDS = 300;
const CONCURRENT = 100;
const CPUS = 256;
const PEER = { uid: 1000, gid: 1000, pid: 1 };

export async function run() {
  const root = mkdtempSync(join(tmpdir(), 'corecast-bench-'));
  try {
    return await measure(root);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

async function measure(root) {
  const { reservations, ledger, batches } = await build(join(root, 'ledger'));
  const floor = levelStore(join(root, 'floor'));
  await floor.open();
  const { signal } = new AbortController();
  const times = { put: [], reserve: [] };
  // In turns, so that both meet the same disk.
  for (let i = -20; i < ROUNDS; i++) {
    const value = 'x'.repeat(1_500);
    const put = await timed(() => floor.batch([{ type: 'put', key: `k${i}`, value }], { sync: true }));
    const reserve = await timed(() => reservations.reserve(call(`s${i}`), PEER, signal));
    if (i < 0) continue;
    times.put.push(put);
    times.reserve.push(reserve);
  }
  const before = batches.count;
  const calls = Array.from({ length: CONCURRENT }, (_, i) => call(`c${i}`));
  const all = await timed(() => Promise.all(calls.map((one) => reservations.reserve(one, PEER, signal))));
  const shared = batches.count - before;
  await reservations.stop();
  await ledger.close();
  await floor.close();
  const [put, reserve] = [quantile(times.put, 0.5), quantile(times.reserve, 0.5)];
  return {
    rows: [
      { what: 'one synced put', p50: put, p99: quantile(times.put, 0.99) },
      { what: 'reserve', p50: reserve, p99: quantile(times.reserve, 0.99) },
      { what: `${CONCURRENT} reserves at once, ${shared} synced batches`, p50: all, p99: all },
    ],
    figures: {
      synced_put_p50_ms: put,
      reserve_p50_ms: reserve,
      reserve_over_put: reserve / put,
      concurrent_reserves: CONCURRENT,
      concurrent_all_ms: all,
      concurrent_over_put: all / put,
      concurrent_batches: shared,
    },
  };
}

async function build(directory) {
  const config = configSchema.parse({});
  const batches = { count: 0 };
  const createStore = (path) => {
    const store = levelStore(path);
    const batch = store.batch.bind(store);
    return Object.assign(store, {
      batch: (...args) => {
        batches.count++;
        return batch(...args);
      },
    });
  };
  const { ledger } = await openLedger({
    directory,
    clock: systemClock,
    keepEndedMs: () => 3_600_000,
    createStore,
  });
  let ids = 0;
  const reservations = createReservations({
    ledger,
    clock: systemClock,
    scheduler: systemScheduler,
    log: silentLog,
    forecaster: { forecast: async ({ candidates }) => candidates.map(forecastOn) },
    topology: () => TOPOLOGY,
    host: () => ({ window: [], now: undefined, memory: undefined }),
    limits: () => ({ ...config.limits, channels_per_peer: 100_000 }),
    leases: () => ({ ...config.leases, start_timeout_ms: 600_000 }),
    smtCoreMilli: () => config.cpus.smt_core_milli,
    closedReason: () => '',
    history: { putDecision: async () => {}, decision: async () => undefined },
    newId: () => `r${++ids}`,
  });
  return { reservations, ledger, batches };
}

const TOPOLOGY = {
  cpus: Array.from({ length: CPUS }, (_, cpu) => ({
    cpu,
    core: cpu,
    l3: cpu >> 4,
    node: cpu >> 7,
    package: cpu >> 7,
    kind: 'performance',
    capacity: 1024,
    online: true,
    housekeeping: false,
  })),
  schedulable: Array.from({ length: CPUS }, (_, cpu) => cpu),
  housekeeping: [],
  distance: new Map(),
};

function forecastOn(cpuCount) {
  const quantiles = (of) => ({ q50: of * 0.8, q90: of, q99: of * 1.2 });
  return {
    source: 'cost_table',
    modelId: '',
    cpuCount,
    horizons: [
      [0, 10],
      [10, 60],
      [60, 300],
    ].map(([fromS, toS]) => ({
      fromS,
      toS,
      demand: quantiles(0.25),
      coreUsage: Array.from({ length: cpuCount }, () => quantiles(0.25 / cpuCount)),
      hostLoad: quantiles(0.1),
    })),
    notes: [],
  };
}

function call(idempotencyKey) {
  return {
    name: 'a channel',
    signature: {
      input: { codec: 'h264', width: 1280, height: 720, fps: 25, bitrateBps: 4e6, bitDepth: 8 },
      outputs: [
        {
          encoder: 'libx264',
          preset: 'veryfast',
          width: 1280,
          height: 720,
          fps: 25,
          rate: { bitrateBps: 2e6 },
          bitDepth: 8,
          options: {},
        },
      ],
      complexity: {},
    },
    channelClass: 'live',
    priority: 50,
    exclusive: false,
    cpuCount: 1,
    waitMs: 0,
    startTimeoutMs: 0,
    idempotencyKey,
    ladderRungs: 0,
  };
}

async function timed(run) {
  const start = process.hrtime.bigint();
  await run();
  return Number(process.hrtime.bigint() - start) / 1e6;
}

function quantile(values, q) {
  return Number([...values].sort((a, b) => a - b)[Math.floor(values.length * q)].toFixed(3));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { rows, figures } = await run();
  console.table(rows);
  if (process.argv.includes('--json')) console.log(JSON.stringify({ bench: 'reserve', figures, peers: {} }));
}
