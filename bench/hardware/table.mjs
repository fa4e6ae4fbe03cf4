import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

/** Columns of x264_hardware: one row is one encode on one machine. */
const COLUMNS = ['machine', 'model', 'cpus', 'video', 'config', 'fps', 'etime'];

/** One machine a value: { id, model, cpus, runs: Map of "video\tconfig" -> {video, config, logFps, seconds} }. */
export function readMachines(path) {
  const machines = new Map();
  for (const { machine, model, cpus, video, config, fps, etime } of readCsv(path, COLUMNS)) {
    const entry = machines.get(machine) ?? { id: machine, model, cpus: Number(cpus), runs: new Map() };
    machines.set(machine, entry);
    const [speed, seconds] = [Number(fps), Number(etime)];
    // Clock underflow, an encode that failed.
    if (!(speed > 0 && seconds > 0)) continue;
    entry.runs.set(cellKey(video, config), { video, config, logFps: Math.log(speed), seconds });
  }
  if (machines.size === 0) throw new Error(`${path}: no rows`);
  return [...machines.values()];
}

/** What the numbers in `config` stand for: Map of config -> x264 options. */
export function readX264Options(path) {
  const options = new Map();
  for (const row of readCsv(path, ['config', 'ref', 'me', 'subme', 'trellis', 'bframes', 'rc_lookahead'])) {
    if (options.has(row.config)) continue;
    const { ref, me, subme, trellis, bframes } = row;
    const lookahead = /^\d+$/.test(row.rc_lookahead) ? row.rc_lookahead : '0';
    options.set(row.config, { ref, me, subme, trellis, bframes, 'rc-lookahead': lookahead });
  }
  return options;
}

export function cellKey(video, config) {
  return `${video}\t${config}`;
}

/** Rows as objects of the wanted columns. The files quote nothing. */
function* readCsv(path, wanted) {
  const raw = readFileSync(path);
  const lines = (raw[0] === 0x1f ? gunzipSync(raw) : raw).toString('utf8').split(/\r?\n/);
  const header = lines[0].split(',');
  const missing = wanted.filter((name) => !header.includes(name));
  if (missing.length > 0)
    throw new Error(`${path}: no column ${missing.join(', ')} in "${lines[0].slice(0, 200)}"`);
  const places = wanted.map((name) => header.indexOf(name));
  for (const [i, line] of lines.entries()) {
    if (i === 0 || line === '') continue;
    const values = line.split(',');
    if (values.length !== header.length) {
      throw new Error(`${path}:${i + 1}: ${values.length} values, the header names ${header.length}`);
    }
    yield Object.fromEntries(wanted.map((name, k) => [name, values[places[k]]]));
  }
}
