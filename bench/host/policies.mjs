/**
 * Who may run. What operators do today are rules of one number; their channels are FFmpeg as it is, with its own threads on
 * all CPUs. `start`, `step`: settings to try, by the number of channels that no admission carried before it was late.
 * `worstShare`: of late seconds, from which on there is nothing to learn from the rest of a run.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { dist, CLI as OWN_CLI, readRuns, startDaemon } from '../live/daemon.mjs';
import { cpuSecondsOf } from './channel.mjs';
import { LIMIT } from './score.mjs';

const { connect } = await import(`${dist}/client/connect.js`);

const plain = ({ words: [program, ...args] }) => ({ program, args, wrapped: false });

export const noAdmission = {
  name: 'no_admission',
  make: () => ({ admits: () => true, command: plain, worstShare: 0.05 }),
};

export const countCap = {
  name: 'count_cap',
  start: (carried) => Math.round(0.85 * carried),
  step: (carried) => Math.max(1, Math.round(carried / 16)),
  make: (most) => ({ admits: ({ count }) => count < most, command: plain, worstShare: LIMIT }),
};

/** Of the last seconds: channels here live for about a minute, so that an operator's minute is scaled down. */
const WINDOW_S = 5;

export const meanCpu = {
  name: 'mean_cpu',
  start: () => 0.75,
  step: () => 0.05,
  make: (threshold) => ({
    admits: (host) => host.busyOver(WINDOW_S) < threshold,
    command: plain,
    worstShare: LIMIT,
  }),
};

export const PEERS = [noAdmission, countCap, meanCpu];

/** The daemon as it ships: only its places are the benchmark's own. */
export class Corecast {
  #dir;
  #daemon;
  #client;
  #reserved = 0;
  #second = 0;
  worstShare = 1;

  constructor(dir) {
    this.#dir = dir;
    this.#daemon = startDaemon(dir);
  }

  async serving() {
    await this.#daemon.serving;
    this.#client = await connect({ socket: this.#daemon.socket, timeoutMs: 5_000 });
    return this.#daemon;
  }

  /** The daemon decides, when it is asked. */
  admits() {
    return true;
  }

  command({ words, name }, i) {
    const options = ['--socket', this.#daemon.socket, '--require', '-q', '--class', 'live', '--name', name];
    const args = [OWN_CLI, 'run', ...options, '--report', this.#reportOf(i), '--', ...words];
    return { program: process.execPath, args, wrapped: true };
  }

  /** The reserved share of the CPUs, and CPU seconds of the daemon so far. */
  async glance() {
    if (this.#second++ % GLANCE_S === 0) {
      const { cpus } = await this.#client.getHost({});
      this.#reserved = cpus.reduce((sum, { reservedMilli }) => sum + reservedMilli, 0) / 1000 / cpus.length;
    }
    return { reserved: this.#reserved, daemonCpuS: cpuSecondsOf(this.#daemon.pid) ?? 0 };
  }

  /** The report of each channel that ended, and the daemon's own record of it. */
  async results(arrivals) {
    await this.close();
    const runs = await readRuns(this.#dir);
    return arrivals.flatMap(({ encoder }, i) => {
      const report = readReport(this.#reportOf(i));
      const run = report === undefined ? undefined : runs.get(report.reservationId);
      return report === undefined ? [] : [{ encoder, report, run }];
    });
  }

  async close() {
    this.#client?.close();
    await this.#daemon.stop();
  }

  #reportOf(i) {
    return join(this.#dir, `report-${i}.json`);
  }
}

const GLANCE_S = 2;

function readReport(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    // A refused channel leaves none.
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
}
