/** The same samples in other stores, each as its users would keep them. */
import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readdirSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { ClassicLevel } from 'classic-level';

const DAY_MS = 86_400_000;

export function bytesUnder(dir) {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath ?? entry.path, entry.name)).size, 0);
}

/** One table ordered by series and time (WITHOUT ROWID), a transaction for each five ticks, WAL, synchronous=NORMAL. */
export function sqlite(Database, dir, data) {
  const file = join(dir, 'samples.sqlite');
  const db = new Database(file);
  db.pragma('journal_mode = WAL');
  db.pragma('synchronous = NORMAL');
  db.exec(
    'CREATE TABLE sample (series INTEGER, at INTEGER, value REAL, PRIMARY KEY (series, at)) WITHOUT ROWID',
  );
  const insert = db.prepare('INSERT INTO sample VALUES (?, ?, ?)');
  const write = db.transaction((ticks) => {
    for (const tick of ticks)
      for (const { series, atMs, value } of tick) insert.run(ids.get(series), atMs, value);
  });
  const ids = new Map(data.names.map((name, id) => [name, id]));
  const { seconds, samples } = fed(data, write);
  db.exec('VACUUM');
  db.pragma('wal_checkpoint(TRUNCATE)');
  const select = db.prepare('SELECT at, value FROM sample WHERE series = ? AND at >= ? AND at < ?');
  const queryMs = bestOf(() => {
    const rows = select.all(0, data.startMs - 60_000, data.startMs + DAY_MS);
    if (rows.length < Math.min(data.seconds, 86_400) * 0.99) throw new Error(`only ${rows.length} rows`);
  });
  db.close();
  return { bytesPerSample: statSync(file).size / samples, samplesPerS: samples / seconds, queryMs };
}

/** A key a sample: series (4 bytes) and time (6), the value as a double; a batch for each five ticks. */
export async function plainLevel(dir, data) {
  const level = new ClassicLevel(join(dir, 'level'), { keyEncoding: 'view', valueEncoding: 'view' });
  await level.open();
  const ids = new Map(data.names.map((name, id) => [name, id]));
  const keyOf = (series, atMs) => {
    const key = Buffer.alloc(10);
    key.writeUInt32BE(series, 0);
    key.writeUIntBE(atMs, 4, 6);
    return key;
  };
  let samples = 0;
  let spent = 0n;
  for (const ticks of fives(data)) {
    const began = process.hrtime.bigint();
    const batch = [];
    for (const tick of ticks)
      for (const { series, atMs, value } of tick) {
        const bytes = Buffer.alloc(8);
        bytes.writeDoubleLE(value);
        batch.push({ type: 'put', key: keyOf(ids.get(series), atMs), value: bytes });
      }
    await level.batch(batch);
    spent += process.hrtime.bigint() - began;
    samples += batch.length;
  }
  await level.compactRange(Buffer.of(0), Buffer.alloc(12, 0xff));
  const range = { gte: keyOf(0, data.startMs - 60_000), lt: keyOf(0, data.startMs + DAY_MS) };
  const took = [];
  for (let i = 0; i < 7; i++) {
    const began = process.hrtime.bigint();
    let rows = 0;
    const iterator = level.iterator(range);
    for (let page = await iterator.nextv(1_000); page.length > 0; page = await iterator.nextv(1_000)) {
      for (const [key, value] of page) {
        Buffer.from(key.buffer, key.byteOffset, 10).readUIntBE(4, 6);
        Buffer.from(value.buffer, value.byteOffset, 8).readDoubleLE();
      }
      rows += page.length;
    }
    await iterator.close();
    if (rows < Math.min(data.seconds, 86_400) * 0.99) throw new Error(`only ${rows} rows`);
    took.push(Number(process.hrtime.bigint() - began) / 1e6);
  }
  await level.close();
  return {
    bytesPerSample: bytesUnder(join(dir, 'level')) / samples,
    samplesPerS: samples / (Number(spent) / 1e9),
    queryMs: median(took),
  };
}

/** Blocks as the server makes them, by promtool from OpenMetrics text; how long it takes says nothing of the server. */
export function prometheusBlocks({ promtool }, dir, data) {
  const text = join(dir, 'samples.om');
  const file = openSync(text, 'w');
  let samples = 0;
  for (const name of data.names) {
    const [, kind, label] = metricOf(name);
    const lines = [];
    for (const [atMs, value] of data.of(name)) {
      lines.push(`${kind}{${label}} ${value} ${(atMs / 1000).toFixed(3)}\n`);
      samples++;
    }
    writeSync(file, lines.join(''));
  }
  writeSync(file, '# EOF\n');
  closeSync(file);
  const blocks = join(dir, 'blocks');
  mkdirSync(blocks);
  execFileSync(promtool, ['tsdb', 'create-blocks-from', 'openmetrics', text, blocks], {
    stdio: ['ignore', 'ignore', 'pipe'],
    maxBuffer: 1 << 28,
  });
  return { bytesPerSample: bytesUnder(blocks) / samples };
}

/** A metric with a label that tells one CPU, channel or host from the next, as an exporter would name them. */
function metricOf(name) {
  const parts = name.split('.');
  const kind = `${parts[0]}_${parts.at(-1)}`.replaceAll(/\W/g, '_');
  return ['', kind, `of="${parts.slice(1, -1).join('.')}"`];
}

function* fives(data) {
  let waiting = [];
  for (const tick of data.ticks()) {
    waiting.push(tick);
    if (waiting.length < 5) continue;
    yield waiting;
    waiting = [];
  }
  if (waiting.length > 0) yield waiting;
}

/** Making the samples is not counted. */
function fed(data, write) {
  let samples = 0;
  let spent = 0n;
  for (const ticks of fives(data)) {
    const began = process.hrtime.bigint();
    write(ticks);
    spent += process.hrtime.bigint() - began;
    for (const tick of ticks) samples += tick.length;
  }
  return { samples, seconds: Number(spent) / 1e9 };
}

function bestOf(work) {
  return median(
    Array.from({ length: 7 }, () => {
      const began = process.hrtime.bigint();
      work();
      return Number(process.hrtime.bigint() - began) / 1e6;
    }),
  );
}

export function median(values) {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}
