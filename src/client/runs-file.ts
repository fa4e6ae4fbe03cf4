import { appendFileSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { constants, gunzipSync, gzipSync } from 'node:zlib';
import type { Run } from '../history/records.js';

/**
 * Runs as JSON lines in gzip. Each run is appended as a gzip member of its own, so that a calibration that is killed
 * loses nothing; gunzip and zlib read such a file as one. A last member that was cut short is dropped on opening.
 */
export class RunsFile {
  readonly #path: string;
  readonly #ids: Set<string>;

  constructor(path: string) {
    this.#path = path;
    const runs = existsSync(path) ? readRuns(path) : [];
    this.#ids = new Set(runs.map((run) => run.id));
    mkdirSync(dirname(path), { recursive: true });
    if (runs.length > 0) writeRuns(path, runs);
  }

  get ids(): ReadonlySet<string> {
    return this.#ids;
  }

  add(run: Run): void {
    appendFileSync(this.#path, gzipSync(`${JSON.stringify(run)}\n`));
    this.#ids.add(run.id);
  }

  /** One gzip member instead of many: a third of the size. */
  compact(): void {
    if (this.#ids.size > 0) writeRuns(this.#path, readRuns(this.#path));
  }
}

export function readRuns(path: string): Run[] {
  const text = gunzipSync(readFileSync(path), { finishFlush: constants.Z_SYNC_FLUSH }).toString('utf8');
  const runs: Run[] = [];
  for (const line of text.split('\n')) {
    if (line === '') continue;
    try {
      runs.push(JSON.parse(line) as Run);
    } catch {
      break; // The cut end of the file.
    }
  }
  return runs;
}

function writeRuns(path: string, runs: readonly Run[]): void {
  const partial = `${path}.${process.pid}.partial`;
  writeFileSync(partial, gzipSync(runs.map((run) => `${JSON.stringify(run)}\n`).join(''), { level: 9 }));
  renameSync(partial, path);
}
