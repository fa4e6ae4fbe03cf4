import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { HistoryStore } from '../../src/history/store.js';
import { buildCli, startCli } from '../support/client-cli.js';
import { type Folder, historyFolder, open, ramp, stillClock, T0, valuesOf } from '../support/history.js';
import { rpcServer } from '../support/rpc-server.js';

/* `corecast history` as a child process, against a gRPC server whose history is a real one. */

let built: { cli: string; remove(): void };
let folder: Folder;
let history: HistoryStore;
let rpc: Awaited<ReturnType<typeof rpcServer>>;
const FROM = new Date(T0).toISOString();
const TO = new Date(T0 + 3_600_000).toISOString();
/** Digits and a name that CSV has to quote. */
const ODD = 'channel.a,"b".cores';

beforeAll(() => {
  built = buildCli();
}, 60_000);
afterAll(() => built.remove());

beforeEach(async () => {
  folder = historyFolder();
  ({ history } = await open(folder.dir, { clock: stillClock(T0 + 86_400_000) }));
  history.append(ramp('host.busy', 3_000).map((point) => ({ ...point, value: point.value / 7 })));
  history.append(ramp(ODD, 50).map((point, i) => ({ ...point, value: i === 7 ? Number.NaN : i / 8 })));
  await history.flush();
  rpc = await rpcServer();
  const { control } = rpc;
  Object.assign(control, {
    query: history.query,
    seriesNames: history.seriesNames,
    historyStats: history.stats,
    verifyHistory: history.verify,
    compactHistory: history.compact,
    backupHistory: (dir: string) => history.backup(dir),
    importSamples: ({ series, points }: Parameters<typeof control.importSamples>[0]) =>
      history.importSamples(series, points),
  });
});
afterEach(async () => {
  await rpc.stop();
  await history.close();
  folder.remove();
});

async function corecast(...args: string[]) {
  const { ended } = startCli(built.cli, ['history', ...args, '--socket', rpc.socket]);
  const { code, stdout, stderr } = await ended;
  return { code, stdout: stdout.toString(), stderr };
}

async function duckdb(sql: string): Promise<Record<string, unknown>[]> {
  const connection = await (await DuckDBInstance.create(':memory:')).connect();
  const reader = await connection.runAndReadAll(sql);
  return reader.getRowObjectsJS();
}

test('query prints steps of any aggregate, and as JSON on one line', async () => {
  const { stdout } = await corecast(
    'query',
    'host.busy',
    '--from',
    FROM,
    '--to',
    TO,
    '--step',
    '10m',
    '--aggregate',
    'max',
  );
  expect(stdout.split('\n')[0]).toMatch(/^2025-10-09 08:53:20 {2}host\.busy {2}57 share$/);
  const json = await corecast('query', 'host.busy', '--from', FROM, '--to', TO, '--json');
  const chunks = JSON.parse(json.stdout).chunks as { points: { atMs: number; value: number }[] }[];
  expect(json.stdout.trimEnd()).not.toContain('\n');
  const points = chunks.flatMap((chunk) => chunk.points);
  expect(points).toHaveLength(3_000);
  expect(points[2_999]).toEqual({ atMs: T0 + 2_999_000, value: 2_999 / 7 });
  const none = await corecast('query', 'no.such', '--json');
  expect(JSON.parse(none.stdout)).toEqual({ chunks: [] });
  const wrong = await corecast('query', 'host.busy', '--aggregate', 'max');
  expect(wrong).toMatchObject({
    code: 64,
    stderr: expect.stringMatching(/step_ms is 0; expected more than 0 for max/),
  });
});

test('--plot draws in the terminal, and into an SVG file with the band of each step', async () => {
  const { stdout } = await corecast('query', 'host.busy', '--from', FROM, '--to', TO, '--plot');
  const lines = stdout.split('\n');
  expect(lines[0]).toBe('host.busy (share)');
  expect(lines.filter((line) => line.includes('┤'))).toHaveLength(12);
  expect(stdout).toMatch(/[\u2801-\u28ff]/);
  expect(lines.every((line) => line.length <= 100)).toBe(true);
  const file = join(folder.parent, 'plot.svg');
  const drawn = await corecast('query', 'host.*', '--from', FROM, '--to', TO, '--plot', file);
  expect(drawn).toMatchObject({ code: 0, stdout: `1 series drawn into ${file}\n` });
  const svg = readFileSync(file, 'utf8');
  expect(svg).toMatch(/^<\?xml.*\n<svg .*xmlns="http:\/\/www.w3.org\/2000\/svg"/);
  expect(svg).toContain('aria-label="area"');
  expect(svg).toContain('aria-label="line"');
  expect(svg).not.toContain('NaN');
});

for (const format of ['parquet', 'csv'] as const)
  test(`what export writes as ${format}, DuckDB reads and import takes back`, async () => {
    const file = join(folder.parent, `all.${format}`);
    const wrote = await corecast('export', file, '--json');
    expect(wrote.code, wrote.stderr).toBe(0);
    expect(JSON.parse(wrote.stdout)).toEqual({ file, format, rows: 3_050 });
    expect(existsSync(`${file}.partial`)).toBe(false);
    const rows = await duckdb(
      `SELECT host, series, unit, epoch_ms(time) AS ms, CAST(value AS DOUBLE) AS value FROM '${file}' ORDER BY series, time`,
    );
    expect(rows).toHaveLength(3_050);
    const odd = rows.filter(({ series }) => series === ODD);
    expect(odd.map(({ value }) => value)).toEqual(
      Array.from({ length: 50 }, (_, i) => (i === 7 ? Number.NaN : i / 8)),
    );
    const busy = rows.filter(({ series }) => series === 'host.busy');
    expect(busy.map(({ ms }) => Number(ms))).toEqual(Array.from({ length: 3_000 }, (_, i) => T0 + i * 1_000));
    expect(busy.map(({ value }) => value)).toEqual(Array.from({ length: 3_000 }, (_, i) => i / 7));
    expect(new Set(busy.map(({ host, unit }) => `${host} ${unit}`)).size).toBe(1);

    const again = await corecast('import', file, '--json');
    expect(JSON.parse(again.stdout)).toEqual({ file, points: 3_050, added: 0 });
    const elsewhere = await corecast('import', file, '--prefix', 'web1.', '--json');
    expect(JSON.parse(elsewhere.stdout)).toMatchObject({ points: 3_050, added: 3_050 });
    expect(await valuesOf(history, 'web1.host.busy')).toEqual(Array.from({ length: 3_000 }, (_, i) => i / 7));
    expect(await valuesOf(history, `web1.${ODD}`)).toHaveLength(50);
  });

test('export to standard output is CSV; a part of the series and steps may be asked for', async () => {
  const { stdout } = await corecast(
    'export',
    '-',
    '--series',
    'host.*',
    '--from',
    FROM,
    '--to',
    TO,
    '--step',
    '20m',
  );
  const [head, first, ...rest] = stdout.trimEnd().split('\n');
  expect(head).toBe('host,series,unit,time,value');
  expect(first).toMatch(/^[^,]+,host\.busy,share,2025-10-09T08:53:20.000Z,[\d.]+$/);
  expect(rest).toHaveLength(3);
});

test('a file that cannot be imported is refused with its row, and one that cannot be written leaves nothing', async () => {
  const file = join(folder.parent, 'bad.csv');
  writeFileSync(file, 'series,time,value\nx,2025-10-09T08:53:20Z,1\nx,yesterday,2\n');
  const bad = await corecast('import', file);
  expect(bad).toMatchObject({
    code: 64,
    stderr: expect.stringMatching(/row 3: time is "yesterday"; expected an ISO 8601/),
  });
  writeFileSync(join(folder.parent, 'bad.parquet'), 'no');
  expect((await corecast('import', join(folder.parent, 'bad.parquet'))).stderr).toMatch(
    /is not a Parquet file/,
  );
  expect((await corecast('import', join(folder.parent, 'none.csv'))).stderr).toMatch(
    /file is .*none\.csv.*ENOENT/,
  );
  expect((await corecast('export', join(folder.parent, 'x.txt'))).stderr).toMatch(
    /neither .csv nor .parquet; say --format/,
  );
  const nowhere = await corecast('export', join(folder.parent, 'none', 'x.csv'));
  expect(nowhere.code).not.toBe(0);
  expect(nowhere.stderr).toMatch(/ENOENT/);
});

test('stats, verify, compact and backup say what they found and did', async () => {
  const stats = await corecast('stats');
  expect(stats.stdout).toMatch(/on disk, format 2, 2 series\nsamples from 2025-10-09 08:00:00/);
  expect(stats.stdout).toMatch(/KIND +ENTRIES +ABOUT\nsamples/);
  expect((await corecast('verify')).stdout).toMatch(
    /^\d+ records and \d+ samples checked, 0 damaged parts\n$/,
  );
  expect(JSON.parse((await corecast('compact', '--json')).stdout)).toEqual({
    bytesBefore: expect.any(Number),
    bytesAfter: expect.any(Number),
  });
  const dir = join(folder.parent, 'backup');
  expect((await corecast('backup', dir)).stdout).toMatch(new RegExp(`^\\d+ records, .*, in ${dir}\n$`));
  const restored = await open(dir);
  expect(await valuesOf(restored.history, 'host.busy')).toHaveLength(3_000);
  await restored.history.close();
  rpc.control.verifyHistory = async () => ({ records: 1, samples: 0, damage: ['run "x": bad'], damaged: 1 });
  expect(await corecast('verify')).toMatchObject({
    code: 1,
    stdout: expect.stringMatching(/ {2}run "x": bad/),
  });
});

test('a reader slower than the daemon is waited for: little is read ahead', async () => {
  let read = 0;
  const query = async function* () {
    for (let chunk = 0; chunk < 2_000; chunk++) {
      read++;
      yield {
        series: 'x',
        points: Array.from({ length: 4_000 }, (_, i) => ({ atMs: chunk * 4_000 + i, value: i / 3 })),
      };
    }
  };
  Object.assign(rpc.control, { query });
  const { child, ended } = startCli(built.cli, [
    'history',
    'query',
    'x',
    '--from',
    FROM,
    '--socket',
    rpc.socket,
  ]);
  child.stdout?.pause();
  let settled = -1;
  while (settled !== read || read === 0) {
    settled = read;
    await new Promise((resolve) => setTimeout(resolve, 1_000));
  }
  expect(read).toBeLessThan(200);
  child.kill('SIGKILL');
  await ended;
});
