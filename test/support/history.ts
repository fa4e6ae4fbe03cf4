import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Decision } from '../../src/balancer/decision.js';
import type { Forecast, HostState } from '../../src/forecast/forecast.js';
import type { Signature } from '../../src/forecast/signature.js';
import type { SeriesPoint, SeriesQuery } from '../../src/history/history.js';
import type { Run } from '../../src/history/records.js';
import { type HistoryOptions, type HistoryStore, openHistory } from '../../src/history/store.js';
import type { Log } from '../../src/lib/log.js';

export const T0 = 1_760_000_000_000;

/** A clock that stands still until it is set. */
export function stillClock(nowMs = T0) {
  return {
    wallMs: nowMs,
    monoMs: 0,
    nowMs() {
      return this.wallMs;
    },
    monotonicMs() {
      return this.monoMs;
    },
  };
}

export const config = {
  flush_ms: 60_000,
  retention_days: 14,
  retention_10s_days: 90,
  retention_5m_days: 1_095,
  max_mb: 512,
};

export interface Folder {
  readonly parent: string;
  readonly dir: string;
  remove(): void;
}

export function historyFolder(): Folder {
  const parent = mkdtempSync(join(tmpdir(), 'corecast-history-'));
  const remove = () => rmSync(parent, { recursive: true, force: true });
  return { parent, dir: join(parent, 'history'), remove };
}

export function open(dir: string, options: Partial<HistoryOptions> = {}) {
  return openHistory({ dir, clock: stillClock(), config, ...options });
}

/** `count` samples a second apart: value i at T0 + i seconds. */
export function ramp(series: string, count: number, startMs = T0): SeriesPoint[] {
  return Array.from({ length: count }, (_, i) => ({ series, atMs: startMs + i * 1000, value: i }));
}

export async function read(history: HistoryStore, query: Partial<SeriesQuery> & { series: string }) {
  const found = new Map<string, { atMs: number; value: number }[]>();
  const whole = { fromMs: 0, toMs: T0 * 2, stepMs: 0, ...query };
  for await (const { series, points } of history.query(whole))
    found.set(series, [...(found.get(series) ?? []), ...points]);
  return found;
}

export async function valuesOf(history: HistoryStore, series: string): Promise<number[]> {
  return ((await read(history, { series })).get(series) ?? []).map(({ value }) => value);
}

/** A log that keeps its sentences. */
export function listeningLog(): Log & { readonly lines: string[] } {
  const lines: string[] = [];
  const keep = (level: string) => (_: object, message: string) => {
    lines.push(`${level}: ${message}`);
  };
  return { lines, debug: keep('debug'), info: keep('info'), warn: keep('warn'), error: keep('error') };
}

export const signature: Signature = {
  input: { codec: 'h264', width: 640, height: 360, fps: 25, bitrateBps: 1_000_000, bitDepth: 8 },
  outputs: [
    {
      encoder: 'libx264',
      preset: 'veryfast',
      width: 640,
      height: 360,
      fps: 25,
      rate: { crf: 23 },
      bitDepth: 8,
      options: {},
    },
  ],
  complexity: {},
};

export const hostState: HostState = {
  busy: 0.25,
  coreSpread: 0.1,
  busiestCore: 0.5,
  memoryUsed: 0.4,
  diskBusy: 0,
  ingressBps: 1_000_000,
  queueLength: 0,
  cpuPressure: 0.01,
  channels: 1,
  reserved: 0.5,
};

const quantiles = { q50: 0.8, q90: 1, q99: 1.2 };

export const forecast: Forecast = {
  source: 'cost_table',
  modelId: '',
  cpuCount: 1,
  horizons: [
    { fromS: 0, toS: 10, demand: quantiles, coreUsage: [quantiles], hostLoad: quantiles },
    { fromS: 10, toS: 60, demand: quantiles, coreUsage: [quantiles], hostLoad: quantiles },
    { fromS: 60, toS: 300, demand: quantiles, coreUsage: [quantiles], hostLoad: quantiles },
  ],
  notes: [],
};

export function decisionOf(id: string, reservationId: string, atMs = T0): Decision {
  return {
    id,
    atMs,
    outcome: 'ACCEPTED',
    reasons: [{ code: 'FITS', text: 'fits', needed: 1, available: 2, unit: 'cpus', passed: true }],
    signature,
    forecast,
    candidates: [forecast],
    cpus: [{ cpu: 0, shareMilli: 1000 }],
    retryAfterMs: 0,
    reservationId,
  };
}

export function runOf(id: string, startedMs = T0, origin: Run['origin'] = 'live', samples = 2): Run {
  return {
    id,
    origin,
    startedMs,
    signature,
    cpuCount: 1,
    schedulableCpus: 2,
    hostBefore: [hostState],
    samples: Array.from({ length: samples }, (_, i) => ({
      atS: (i + 1) * 5,
      demandCores: 0.8,
      coreUsage: [0.8],
      hostLoad: 0.5,
      ingressBps: 1_000_000,
      speed: 1,
      host: hostState,
    })),
    forecast,
    cpuSeconds: 8,
    wallSeconds: 10,
    mediaSeconds: 10,
    source: 'test',
  };
}
