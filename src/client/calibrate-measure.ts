import { setTimeout as sleep } from 'node:timers/promises';
import type { Complexity } from '../forecast/signature.js';
import type { Run } from '../history/records.js';
import type { Clock } from '../lib/clock.js';
import type { Cpuset } from '../lib/cpuset.js';
import { CorecastError, isCorecastError } from '../lib/errors.js';
import { parseBench } from './bench-line.js';
import { clipFile, clipSeconds, clipSource } from './calibrate-clips.js';
import { MIN_MEDIA_S, type PlanEntry } from './calibrate-plan.js';
import { parseFfmpegCommand } from './ffmpeg-args.js';
import { allowedCpus, busyShares, hostState, mean, readCpuTimes } from './host-glance.js';
import { samplePlaces } from './measure-complexity.js';
import { type InputFacts, probeInput, signatureFrom } from './signature.js';
import { measureSiti } from './siti.js';
import { repin, spawnPinned } from './spawn-pinned.js';
import { withThreadOptions } from './thread-options.js';
import { ThreadUsage } from './thread-usage.js';
import { tryCommand } from './trial.js';
import { NOWHERE } from './trial-command.js';

/**
 * Measures plan entries by running FFmpeg on pinned CPUs, as fast as it will go. Demand is CPU seconds per media second,
 * which does not depend on the pace; everything else of the record is scaled to what it would be at real time: the
 * usage of each CPU is its share of the work times the demand, host load is what the others did plus this demand.
 * Starting FFmpeg costs CPU that a channel of hours spends once; it is measured first and taken off.
 */
export interface MeasureOptions {
  readonly ffmpeg: string;
  readonly cacheDir: string;
  readonly svtAv1Major: number;
  readonly clock: Clock;
  readonly procRoot?: string;
  /** CPU seconds, and wall seconds on an idle host, that one run may take at most. */
  readonly maxRunSeconds?: number;
}

/** CPU seconds a run should take, and below which it is measured again for longer. */
const TARGET_CPU_S = 1.3;
const MIN_CPU_S = 0.8;
/** A run that takes more than this was guessed wrong; it is abandoned. CPU, not wall, so that a loaded host loses no more. */
const DEFAULT_MAX_RUN_S = 10;
/** Content changes: where it can be afforded a run sees this much of it. */
const WANTED_MEDIA_S = 4;
const MAX_MEDIA_S = 300;
/** For each level of it; nobody waits for an answer here. */
const COMPLEXITY_LIMIT_MS = 30_000;
const IDLE_GLANCE_MS = 200;
const SAMPLE_MS = 60;

export class Measurer {
  readonly #options: MeasureOptions;
  readonly #facts = new Map<string, InputFacts>();
  readonly #allowed: Cpuset;
  /** Measured over guessed demand, by encoder preset and by picture: later guesses are multiplied by both. */
  readonly #corrections = new Map<string, number>();
  readonly #siti = new Map<string, Complexity>();
  readonly #maxCpuSeconds: number;
  #startCpuSeconds: number | undefined;
  #background = { busy: 0, seconds: 0 };

  constructor(options: MeasureOptions) {
    this.#options = options;
    this.#allowed = allowedCpus(options.procRoot);
    this.#maxCpuSeconds = options.maxRunSeconds ?? DEFAULT_MAX_RUN_S;
  }

  /** Busy share 0-1 of the CPUs that is not these measurements', over all runs so far. */
  get backgroundBusy(): number {
    return this.#background.seconds === 0 ? 0 : this.#background.busy / this.#background.seconds;
  }

  /** Undefined when the entry is too slow for this host, or too short to be measured. */
  async measure(entry: PlanEntry): Promise<Run | undefined> {
    const { clock, ffmpeg, cacheDir } = this.#options;
    const path = await clipFile(entry.clip, ffmpeg, cacheDir);
    const facts = await this.#inputFacts(path);
    const startCpu = await this.#startCost();
    const cpus = this.#allowed.slice(0, entry.cpuCount);
    const before = await this.#glance();
    const startedMs = clock.nowMs();

    const guess = this.#guess(entry);
    const affordable = (this.#maxCpuSeconds * 0.6) / guess;
    let media = clampMedia(
      Math.max(TARGET_CPU_S / guess, Math.min(WANTED_MEDIA_S, affordable)),
      entry.clip.fps,
    );
    if (guess * media > this.#maxCpuSeconds) return undefined;
    let result: FfmpegRun | undefined;
    for (let attempt = 0; attempt < 4; attempt++) {
      result = await this.#encode(entry, path, facts, cpus, media);
      if (result === undefined) {
        this.#correct(entry, this.#maxCpuSeconds / media);
        return undefined;
      }
      const net = result.cpuSeconds - startCpu;
      if (net >= MIN_CPU_S || media >= MAX_MEDIA_S) break;
      media = clampMedia((media * TARGET_CPU_S) / Math.max(net, 0.02), entry.clip.fps);
    }
    const cpuSeconds = result!.cpuSeconds - startCpu;
    this.#correct(entry, cpuSeconds / media);
    if (cpuSeconds < MIN_CPU_S / 2) return undefined;
    const complexity = await this.#complexity(entry, path, facts);
    const measured = { ...facts, complexity };
    return this.#record(entry, measured, path, { ...result!, cpuSeconds }, media, before, startedMs);
  }

  /** Every level that a channel's signature can have, so that a model can learn what each of them says. */
  async #complexity(entry: PlanEntry, path: string, facts: InputFacts): Promise<Complexity> {
    const { ffmpeg, svtAv1Major } = this.#options;
    const command = parseFfmpegCommand(commandWords(ffmpeg, entry, path, 1));
    const { planned } = signatureFrom(command, [facts]);
    const places = samplePlaces(clipSeconds(entry.clip));
    const siti = this.#siti.get(path) ?? (await this.#sitiOf(path, places));
    this.#siti.set(path, siti);
    const request = { places, inputFps: facts.video.fps, limitMs: COMPLEXITY_LIMIT_MS, svtAv1Major };
    const { cpuSeconds, mediaSeconds } = await tryCommand(command, planned, request);
    const probeCpuSecondsPerFrame = round(cpuSeconds / (mediaSeconds * facts.video.fps));
    return { ...facts.complexity, ...siti, probeCpuSecondsPerFrame };
  }

  /** Nothing from a build without the filter. */
  async #sitiOf(path: string, places: readonly number[]): Promise<Complexity> {
    const input = { url: path, options: [], at: 0 };
    try {
      return await measureSiti(this.#options.ffmpeg, input, places, COMPLEXITY_LIMIT_MS);
    } catch (error) {
      if (isCorecastError(error, 'NOT_FOUND')) return {};
      throw error;
    }
  }

  #guess(entry: PlanEntry): number {
    return correctionKeys(entry).reduce(
      (cores, key) => cores * (this.#corrections.get(key) ?? 1),
      entry.roughCores,
    );
  }

  /** Half of the error (on a log scale) goes to the encoder preset, half to the picture. */
  #correct(entry: PlanEntry, cores: number): void {
    const factor = Math.sqrt(Math.max(0.001, cores) / this.#guess(entry));
    for (const key of correctionKeys(entry)) {
      this.#corrections.set(key, Math.min(50, Math.max(0.02, (this.#corrections.get(key) ?? 1) * factor)));
    }
  }

  #record(
    entry: PlanEntry,
    facts: InputFacts,
    path: string,
    run: FfmpegRun,
    mediaSeconds: number,
    before: ReturnType<typeof hostState>,
    startedMs: number,
  ): Run {
    const { signature } = signatureFrom(
      parseFfmpegCommand(commandWords(this.#options.ffmpeg, entry, path, 1)),
      [facts],
    );
    if (signature === undefined) throw new CorecastError('INTERNAL', `no signature for ${entry.id}`);
    const demandCores = run.cpuSeconds / mediaSeconds;
    const others = Math.max(0, mean(run.busy) - run.cpuSeconds / run.wallSeconds / this.#allowed.length);
    this.#background = {
      busy: this.#background.busy + others * run.wallSeconds,
      seconds: this.#background.seconds + run.wallSeconds,
    };
    const hostLoad = Math.min(1, others + demandCores / this.#allowed.length);
    const coreUsage = run.shares.map((share) => round(Math.min(1, share * demandCores)));
    return {
      id: entry.id,
      origin: 'calibration',
      startedMs,
      signature,
      cpuCount: entry.cpuCount,
      schedulableCpus: this.#allowed.length,
      hostBefore: [before],
      samples: [
        {
          atS: round(mediaSeconds),
          demandCores: round(demandCores),
          coreUsage,
          hostLoad: round(hostLoad),
          ingressBps: facts.video.bitrateBps,
          speed: 1,
          host: { ...hostState(run.busy, this.#options.procRoot), busy: round(hostLoad) },
        },
      ],
      cpuSeconds: round(run.cpuSeconds),
      wallSeconds: round(run.wallSeconds),
      mediaSeconds: round(mediaSeconds),
      source: clipSource(entry.clip),
    };
  }

  async #encode(
    entry: PlanEntry,
    path: string,
    facts: InputFacts,
    cpus: Cpuset,
    media: number,
  ): Promise<FfmpegRun | undefined> {
    const command = parseFfmpegCommand(commandWords(this.#options.ffmpeg, entry, path, media));
    const { planned } = signatureFrom(command, [facts]);
    const request = { cpuCount: entry.cpuCount, svtAv1Major: this.#options.svtAv1Major };
    const { args } = withThreadOptions(command, planned, request);
    return this.#run(args, cpus);
  }

  async #run(args: readonly string[], cpus: Cpuset): Promise<FfmpegRun | undefined> {
    const { ffmpeg, clock, procRoot } = this.#options;
    const before = readCpuTimes(procRoot);
    const begin = clock.monotonicMs();
    const child = spawnPinned(ffmpeg, args, cpus, { stdio: ['ignore', 'ignore', 'pipe'] });
    const usage = child.pid === undefined ? undefined : new ThreadUsage(child.pid, procRoot);
    let said = '';
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-8_192);
    });
    let abandoned = false;
    const stop = () => {
      abandoned = true;
      child.kill('SIGKILL');
    };
    const sampling = setInterval(() => {
      usage?.read();
      if ((usage?.seconds ?? 0) > this.#maxCpuSeconds) stop();
      if (child.pid !== undefined) repin(child.pid, cpus);
    }, SAMPLE_MS);
    const limit = setTimeout(stop, this.#maxCpuSeconds * 9_000);
    const exit = await new Promise<{ code: number | null; error?: Error }>((resolve) => {
      child.once('error', (error) => resolve({ code: null, error }));
      child.once('close', (code) => resolve({ code }));
    });
    clearInterval(sampling);
    clearTimeout(limit);
    const wallSeconds = (clock.monotonicMs() - begin) / 1000;
    if (exit.error !== undefined) {
      throw new CorecastError('NOT_FOUND', `could not start ${ffmpeg}: ${exit.error.message}`, {
        cause: exit.error,
      });
    }
    if (exit.code !== 0) {
      if (abandoned) return undefined;
      throw new CorecastError(
        'INTERNAL',
        `${ffmpeg} ${args.join(' ')} ended with ${exit.code}: ${said.slice(-500)}`,
      );
    }
    const bench = parseBench(said);
    if (bench === undefined)
      throw new CorecastError('INTERNAL', `FFmpeg printed no bench line: ${said.slice(-500)}`);
    return {
      cpuSeconds: bench.userSeconds + bench.systemSeconds,
      wallSeconds,
      shares: usage!.shares(cpus.length),
      busy: busyShares(before, readCpuTimes(procRoot), this.#allowed),
    };
  }

  /** Everything but frames: the least of three runs of one frame. */
  async #startCost(): Promise<number> {
    if (this.#startCpuSeconds === undefined) {
      const args = [
        '-nostdin',
        '-hide_banner',
        '-benchmark',
        '-f',
        'lavfi',
        '-i',
        'nullsrc=s=16x16',
        '-frames:v',
        '1',
      ];
      const costs: number[] = [];
      for (let i = 0; i < 3; i++) {
        const run = await this.#run([...args, '-f', 'null', '-'], this.#allowed.slice(0, 1));
        if (run !== undefined) costs.push(run.cpuSeconds);
      }
      this.#startCpuSeconds = Math.min(...costs);
    }
    return this.#startCpuSeconds;
  }

  async #glance(): Promise<ReturnType<typeof hostState>> {
    const before = readCpuTimes(this.#options.procRoot);
    await sleep(IDLE_GLANCE_MS);
    return hostState(
      busyShares(before, readCpuTimes(this.#options.procRoot), this.#allowed),
      this.#options.procRoot,
    );
  }

  /** By the wrapper's own probe, once a clip. */
  async #inputFacts(path: string): Promise<InputFacts> {
    let facts = this.#facts.get(path);
    if (facts === undefined) {
      const command = parseFfmpegCommand([this.#options.ffmpeg, '-i', path, '-f', 'null', '-']);
      facts = await probeInput(command, command.inputs[0]!, { probe: true, timeoutMs: 20_000 }, []);
      if (facts === undefined) throw new CorecastError('INVALID_ARGUMENT', `${path} has no video`);
      this.#facts.set(path, facts);
    }
    return facts;
  }
}

function correctionKeys(entry: PlanEntry): string[] {
  return [`${entry.encoder} ${entry.encoderOptions[1] ?? ''}`, clipSource(entry.clip)];
}

interface FfmpegRun {
  readonly cpuSeconds: number;
  readonly wallSeconds: number;
  /** Of the work, by CPU, busiest first. */
  readonly shares: readonly number[];
  /** Busy share of each allowed CPU. */
  readonly busy: readonly number[];
}

/** The command line an operator would write for this entry. */
export function commandWords(ffmpeg: string, entry: PlanEntry, path: string, mediaSeconds: number): string[] {
  const words = [ffmpeg, '-nostdin', '-y', '-hide_banner', '-benchmark', '-stream_loop', '-1', '-i', path];
  for (const output of entry.outputs) {
    words.push('-map', '0:v:0', '-t', mediaSeconds.toFixed(4));
    if (output.width !== entry.clip.width || output.height !== entry.clip.height) {
      words.push('-vf', `scale=${output.width}:${output.height}`);
    }
    if (output.fps > 0) words.push('-r', String(output.fps));
    words.push('-c:v', entry.encoder, ...entry.encoderOptions, ...output.rate, ...NOWHERE);
  }
  return words;
}

/** Whole frames, long enough for lookahead to matter as it does in a long run. */
function clampMedia(seconds: number, fps: number): number {
  const bounded = Math.min(MAX_MEDIA_S, Math.max(MIN_MEDIA_S, 30 / fps, seconds));
  return Math.ceil(bounded * fps) / fps;
}

function round(value: number): number {
  return Number(value.toPrecision(6));
}
