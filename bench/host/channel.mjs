/** One channel that runs: FFmpeg by itself or behind `corecast run`; its packets come over standard output. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Lateness, PacketReader } from './lateness.mjs';

const TICKS_PER_S = 100;
/** `corecast run` ends so when the daemon refuses. */
const TRY_LATER = 75;

export class HostChannel {
  #child;
  #lateness;
  #wrapped;
  #pid;
  #said = '';
  #stopping = false;
  /** CPU seconds up to the last look: of its FFmpeg, and of what is in front of it. */
  cpuS = 0;
  wrapperCpuS = 0;
  startDelayS;
  mostBehindS = 0;
  /** 'refused', 'done', 'stopped' or 'failed'; undefined while it runs. */
  ending;
  ended;

  constructor({ program, args, wrapped, lateS }) {
    this.#wrapped = wrapped;
    const begunS = nowS();
    this.#lateness = new Lateness(begunS, lateS);
    this.#child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    if (!wrapped) this.#pid = this.#child.pid;
    const reader = new PacketReader((mediaS) => {
      const now = nowS();
      this.startDelayS ??= now - begunS;
      this.mostBehindS = Math.max(this.mostBehindS, this.#lateness.behindS(now));
      this.#lateness.packet(mediaS, now);
    });
    this.#child.stdout.setEncoding('utf8').on('data', (text) => reader.feed(text));
    this.#child.stderr.setEncoding('utf8').on('data', (text) => {
      this.#said = (this.#said + text).slice(-500);
    });
    this.ended = new Promise((resolve, reject) => {
      this.#child.once('error', reject);
      this.#child.once('close', (code) => {
        this.ending = this.#endingOf(code);
        resolve();
      });
    });
  }

  /** Its FFmpeg runs. */
  get running() {
    return this.ending === undefined && (this.#pid !== undefined || this.#lateness.shown);
  }

  /** Of its FFmpeg, once it is seen. */
  get pid() {
    return this.#pid;
  }

  get said() {
    return this.#said.trim();
  }

  /** Once a second. True when it was late at any time since the last look. */
  look() {
    if (this.#pid === undefined) {
      this.#pid = ffmpegUnder(this.#child.pid);
      if (this.#pid !== undefined) this.#lateness.begins(nowS());
    }
    if (this.#pid !== undefined) this.cpuS = cpuSecondsOf(this.#pid) ?? this.cpuS;
    if (this.#wrapped) this.wrapperCpuS = cpuSecondsOf(this.#child.pid) ?? this.wrapperCpuS;
    return this.running && this.#lateness.wasLate(nowS());
  }

  stop() {
    if (this.ending !== undefined) return;
    this.#stopping = true;
    this.#child.kill('SIGTERM');
  }

  /** One that does not stop. What its wrapper leaves behind ends with its media. */
  kill() {
    this.#child.kill('SIGKILL');
  }

  #endingOf(code) {
    if (this.#stopping) return 'stopped';
    if (code === 0) return 'done';
    return this.#wrapped && code === TRY_LATER ? 'refused' : 'failed';
  }
}

export function nowS() {
  return performance.now() / 1000;
}

/** The wrapper's child that is paced: a trial and ffprobe are not. */
function ffmpegUnder(pid) {
  const children = read(`/proc/${pid}/task/${pid}/children`)?.trim().split(' ') ?? [];
  const found = children.find(
    (child) => child !== '' && read(`/proc/${child}/cmdline`)?.split('\0').includes('-re'),
  );
  return found === undefined ? undefined : Number(found);
}

/** Of all its threads; undefined when it is gone. */
export function cpuSecondsOf(pid) {
  const stat = read(`/proc/${pid}/stat`);
  if (stat === undefined) return undefined;
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[14 - 3]) + Number(fields[15 - 3])) / TICKS_PER_S;
}

function read(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
