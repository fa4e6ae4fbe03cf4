import { request } from 'node:http';
import { Window } from 'happy-dom';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Coverage } from '../../src/forecast/calibration-coverage.js';
import { createMetrics } from '../../src/http/metrics.js';
import { PAGE } from '../../src/http/page.js';
import { type HttpServer, startHttpServer } from '../../src/http/server.js';
import type { StatusView } from '../../src/http/status.js';
import { systemClock } from '../../src/lib/clock.js';
import { silentLog } from '../../src/lib/log.js';
import type { Reservation } from '../../src/reservation/reservation.js';
import { SIGNATURE } from '../support/control-answers.js';
import { hostDetail } from '../support/host-detail.js';
import { MemoryControl } from '../support/memory-control.js';

const ROOT = { uid: 0, gid: 0, pid: 1 };
const CALL = {
  signature: SIGNATURE,
  channelClass: 'live',
  priority: 50,
  exclusive: false,
  cpuCount: 0,
  name: '<img src=x onerror=alert(1)>',
  waitMs: 0,
  startTimeoutMs: 0,
  idempotencyKey: 'k',
  ladderRungs: 0,
} as const;

let control: MemoryControl;
let server: HttpServer;
let ailments: string[];
let registry: Registry;

beforeEach(async () => {
  control = new MemoryControl();
  ailments = [];
  registry = new Registry();
  const started = await startHttpServer({
    address: '127.0.0.1:0',
    registry,
    control,
    ailments: () => ailments,
    clock: systemClock,
    log: silentLog,
  });
  server = started!;
});
afterEach(async () => {
  await server.stop();
});

const get = (path: string) => fetch(`http://${server.address}${path}`);
const status = async () => (await (await get('/api/status')).json()) as StatusView;

function statusOf(path: string, options: { method?: string; headers?: Record<string, string> }) {
  const [host, port] = server.address.split(':');
  return new Promise<number | undefined>((resolve, reject) => {
    const call = request({ host, port, path, ...options }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    call.once('error', reject);
    call.end();
  });
}

describe('the HTTP server', () => {
  it('says it is well, or why not', async () => {
    const well = await get('/healthz');
    expect([well.status, await well.json()]).toEqual([200, { status: 'ok' }]);
    ailments.push('the history cannot be written');
    const ill = await get('/healthz');
    expect([ill.status, await ill.json()]).toEqual([
      503,
      { status: 'unavailable', reasons: ['the history cannot be written'] },
    ]);
  });

  it('answers loopback names only, GET and HEAD only, and known paths only', async () => {
    expect(await statusOf('/api/status', { headers: { Host: 'rebound.example' } })).toBe(421);
    expect(await statusOf('/api/status', { headers: { Host: 'localhost:9137' } })).toBe(200);
    expect(await statusOf('/healthz', { method: 'POST' })).toBe(405);
    expect(await statusOf('/', { method: 'HEAD' })).toBe(200);
    expect(await statusOf('/etc/passwd', {})).toBe(404);
    await expect(startHttpServer(parts('0.0.0.0:0'))).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    await expect(startHttpServer(parts(server.address))).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('another program listens there'),
    });
    expect(await startHttpServer(parts(''))).toBeUndefined();
  });

  it('shows the channels that need looking at first', async () => {
    const { reservation } = await control.reserve(
      { ...CALL, name: 'aaa' },
      ROOT,
      new AbortController().signal,
    );
    const second = await control.reserve({ ...CALL, name: 'zzz' }, ROOT, new AbortController().signal);
    control.change({ ...second.reservation, state: 'ORPHANED' } as Reservation, 'orphaned');
    const view = await status();
    expect(view.channels.map((row) => row.name)).toEqual(['zzz', 'aaa']);
    expect(view.counts).toEqual({ PENDING: 1, ORPHANED: 1 });
    expect(view.channels[1]).toMatchObject({
      id: reservation.id,
      usageCores: 0.4,
      speed: 1,
      lagSeconds: null,
    });
    expect(view).toMatchObject({
      reservedMilli: 400,
      schedulableMilli: 2000,
      load: null,
      hostname: 'encoder-7',
    });
    expect(view.trend.length).toBeGreaterThan(0);
    expect(view.trend.length).toBeLessThanOrEqual(61);
  });
});

describe('the status page', () => {
  it('loads nothing from elsewhere and runs nothing but its own script', async () => {
    const page = await get('/');
    const policy = page.headers.get('content-security-policy') ?? '';
    expect(policy).toContain("default-src 'none'");
    expect(policy).toMatch(/script-src 'sha256-[^']+';/);
    const html = await page.text();
    expect(html.match(/https?:\/\/[^'"\s]+/g)).toEqual(['http://www.w3.org/2000/svg']);
    expect(html).not.toContain('innerHTML');
  });

  it('shows channels by name, as text whatever the name says', async () => {
    await control.reserve(CALL, ROOT, new AbortController().signal);
    const page = await shown();
    expect(page.querySelector('#channels')?.hasAttribute('hidden')).toBe(false);
    expect(page.querySelector('td.name span')?.textContent).toBe(CALL.name);
    expect(page.querySelector('img')).toBeNull();
    expect(page.querySelectorAll('.cpu')).toHaveLength(4);
    expect(page.querySelector('.cpu.off')?.textContent).toBe('3');
  });

  it('tells how well forecasts keep their word, and which drift', async () => {
    const tiles = (await shown()).querySelector('#tiles')!;
    expect(tiles.textContent).toContain('91 %of 132 outcomes within their 0.9 forecast');
    const warning = tiles.querySelector('.tile.warn')!;
    expect(warning.textContent).toBe(
      'x264 widenedlstm drifts: 7 of the last 9 outcomes at 10-60 s were above',
    );
  });

  it('says so when there are no channels, no samples, or no admission', async () => {
    control.admissionClosedReason = 'drain';
    const page = await shown();
    expect(page.querySelector('#none')?.textContent).toContain('No channels');
    expect(page.querySelector('#alert')?.textContent).toContain('No sample yet');
    expect(page.querySelector('#admission')?.textContent).toBe('Closed to new channels: drain');
    expect(page.querySelector('#admission')?.className).toBe('badge bad');
  });

  it('marks old samples, and keeps trying when the daemon is away', async () => {
    const view = await status();
    const old = { ...view, load: { ...LOAD, atMs: view.nowMs - 60_000 } };
    const stale = await shown(() => Promise.resolve({ ok: true, json: async () => old }));
    expect(stale.querySelector('#alert')?.textContent).toContain('Stale: the last sample is 1 min old');
    expect(stale.body.className).toBe('stale');
    const away = await shown(() => Promise.reject(new Error('refused')));
    expect(away.querySelector('#alert')?.textContent).toContain('No contact with corecastd');
  });

  it('shows GPUs, and what should be nothing only when it is something', async () => {
    const view = await status();
    const tiles = async (more: object) => {
      const load = { ...LOAD, atMs: view.nowMs, ...more };
      const page = await shown(() => Promise.resolve({ ok: true, json: async () => ({ ...view, load }) }));
      return [...page.querySelectorAll('.tile')].map((tile) => tile.textContent);
    };
    expect(await tiles({})).not.toContainEqual(expect.stringMatching(/dropped|swap|waiting$/));
    const gpus = [{ name: 'L4', busy: 0.3, encoderBusy: 0.8 }];
    const busy = await tiles({ networkDropsPerS: 2.5, swapUsedBytes: 2 ** 30, queueLength: 7, gpus });
    expect(busy).toContain('30 %L4, encoder 80 %');
    expect(busy).toContain('2.5/spackets dropped by interfaces');
    expect(busy).toContain('1.0 GiBswap in use');
    expect(busy).toContain('7packets, frames and channels waiting');
  });
});

const LOAD = {
  ...{ busy: 0.5, load1m: 1, cpuPressure: 0, memoryPressure: 0, ioPressure: 0, diskBusy: 0, ingressBps: 0 },
  ...{ memoryAvailableBytes: 1, memoryTotalBytes: 2, swapUsedBytes: 0, majorFaultsPerS: 0 },
  ...{ queueLength: 0, networkDropsPerS: 0, gpus: [] },
};
const QUIET = { modelId: '', running: false, horizon: 1, recentObserved: 50, factor: 1 } as const;
const COVERAGE: readonly Coverage[] = [
  {
    ...{ ...QUIET, source: 'lstm', modelId: 'm1', class: 'x264/heavy', quantile: 0.9 },
    ...{ observed: 100, covered: 92, recentCovered: 44, factor: 1.25 },
  },
  {
    ...{ ...QUIET, source: 'cost_table', class: 'x265/light', quantile: 0.9 },
    ...{ observed: 100, covered: 90, recentCovered: 45 },
  },
  {
    ...{ ...QUIET, source: 'cost_table', class: 'x265/light', quantile: 0.5 },
    ...{ observed: 100, covered: 50, recentCovered: 25 },
  },
  {
    ...{ ...QUIET, source: 'cost_table', class: 'x265/light', quantile: 0.9, horizon: 0 },
    ...{ observed: 0, covered: 0, recentCovered: 0, recentObserved: 0 },
  },
];

describe('metrics', () => {
  it('carry the prefix and a unit, and say what the daemon told and is', async () => {
    const metrics = createMetrics(
      registry,
      {
        reservations: () => [{ state: 'ACTIVE' }, { state: 'ACTIVE' }, { state: 'QUEUED' }],
        reservedMilli: () => ({ reserved: 1500, schedulable: 4000 }),
        hostBusy: () => undefined,
        channelCores: () => 1.25,
        model: () => ({ id: 'm1', origin: 'baseline', trainedMs: 1_700_000_000_000 }),
        admissionOpen: () => true,
        pinning: () => ({ kind: 'cgroup', reason: 'two of three', ownCpusets: 2 }),
        coverage: () => COVERAGE,
        drift: () => ({
          alarms: [
            { source: 'lstm', modelId: 'm1', family: 'x264', level: 1, sinceMs: 0, reason: 'too many above' },
          ],
          raised: { 1: 3, 2: 1 },
        }),
        sample: () => ({
          detail: {
            ...hostDetail,
            cpus: new Map([[3, { busy: 0.5, user: 0.25, system: 0.125, steal: 0, iowait: 0 }]]),
            disks: new Map([['vda', { readBytesPerS: 512, writtenBytesPerS: 0, busy: 0.5, queue: 2 }]]),
            gpus: [
              {
                name: 'Stand-in',
                busy: 0.75,
                memoryUsedBytes: 1,
                memoryTotalBytes: 2,
                encoderBusy: Number.NaN,
                decoderBusy: 0,
              },
            ],
          },
        }),
        monitorMetrics: () => ({
          droppedDatagrams: 9,
          collectors: [
            {
              name: 'disk',
              successes: 5,
              failures: 2,
              timeouts: 1,
              skipped: 1,
              lastMs: 4,
              totalMs: 30,
              failing: 'x',
            },
          ],
        }),
      },
      '0.1.0',
    );
    metrics.decided('ACCEPTED', []);
    metrics.decided('REFUSED', ['CPU_SHORT', 'HOST_LOAD']);
    metrics.reserved(0.004);
    metrics.forecast('lstm');
    metrics.repairedThreads(3);
    metrics.modelStep('promoted');
    metrics.missedTicks(1);
    metrics.droppedSamples(5);
    metrics.call({ method: 'Reserve', code: 'OK', seconds: 0.01 });
    const answer = await get('/metrics');
    expect(answer.headers.get('content-type')).toContain('text/plain');
    const text = await answer.text();
    for (const line of [
      'corecast_reservations{state="ACTIVE"} 2',
      'corecast_reservations{state="EXPIRED"} 0',
      'corecast_decisions_total{outcome="ACCEPTED",reason="FITS"} 1',
      'corecast_decisions_total{outcome="REFUSED",reason="HOST_LOAD"} 1',
      'corecast_reserve_duration_seconds_count 1',
      'corecast_forecasts_total{source="lstm"} 1',
      'corecast_forecast_coverage_ratio{horizon="10-60"} 0.91',
      'corecast_calibration_coverage_ratio{source="lstm",class="x264/heavy",horizon="10-60",quantile="0.9"} 0.92',
      'corecast_calibration_recent_coverage_ratio{source="lstm",class="x264/heavy",horizon="10-60",quantile="0.9"} 0.88',
      'corecast_calibration_factor_ratio{source="lstm",class="x264/heavy",horizon="10-60",quantile="0.9"} 1.25',
      'corecast_calibration_outcomes{source="cost_table",class="x265/light",horizon="10-60"} 100',
      'corecast_drift_level{source="lstm",family="x264"} 1',
      'corecast_drift_level{source="cost_table",family="x265"} 0',
      'corecast_pinning_info{backend="cgroup"} 1',
      'corecast_channels_own_cpusets 2',
      'corecast_drift_alarms_total{action="widened"} 3',
      'corecast_drift_alarms_total{action="left_out"} 1',
      'corecast_repaired_threads_total 3',
      'corecast_model_steps_total{step="promoted"} 1',
      'corecast_monitor_missed_ticks_total 1',
      'corecast_collector_success{collector="disk"} 0',
      'corecast_collector_duration_seconds{collector="disk"} 0.004',
      'corecast_collector_seconds_total{collector="disk"} 0.03',
      'corecast_collector_failures_total{collector="disk"} 2',
      'corecast_collector_timeouts_total{collector="disk"} 1',
      'corecast_channels_dropped_datagrams_total 9',
      'corecast_host_cpu_ratio{cpu="3",mode="user"} 0.25',
      'corecast_host_disk_busy_ratio{disk="vda"} 0.5',
      'corecast_gpu_busy_ratio{gpu="0",name="Stand-in",engine="compute"} 0.75',
      'corecast_history_dropped_samples_total 5',
      'corecast_model_info{id="m1",origin="baseline"} 1',
      'corecast_model_trained_timestamp_seconds 1700000000',
      'corecast_reserved_cpu_thousandths 1500',
      'corecast_channels_cpu_cores 1.25',
      'corecast_rpc_calls_total{method="Reserve",code="OK"} 1',
    ]) {
      expect(text.split('\n')).toContain(line);
    }
    expect(text).not.toMatch(/^corecast_host_busy_ratio \d/m);
    expect(text).not.toContain('horizon="0-10"');
    expect(text).not.toContain('engine="encoder"');
    const names = [...text.matchAll(/^# TYPE (\S+)/gm)].map((match) => match[1]);
    expect(names.filter((name) => !name?.startsWith('corecast_'))).toEqual([]);
  });
});

function parts(address: string) {
  return { address, registry, control, ailments: () => [], clock: systemClock, log: silentLog };
}

/** The page after its first answer, in a browser's DOM without a browser. */
async function shown(answer?: () => Promise<unknown>) {
  const window = new Window({
    url: `http://${server.address}/`,
    settings: { enableJavaScriptEvaluation: true, suppressInsecureJavaScriptEnvironmentWarning: true },
  });
  const view = await status();
  const reply = answer ?? (() => Promise.resolve({ ok: true, json: async () => view }));
  Object.assign(window, { fetch: reply });
  window.document.write(PAGE);
  for (let i = 0; i < 100 && window.document.querySelector('#host')?.textContent === ''; i++) {
    if (window.document.querySelector('#alert')?.textContent !== '') break;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const { document } = window;
  void window.happyDOM.abort();
  return document;
}
