import { setTimeout as sleep } from 'node:timers/promises';
import type { Complexity } from '../forecast/signature.js';
import type { Run } from '../history/records.js';
import type { Clock } from '../lib/clock.js';
import type { Cpuset } from '../lib/cpuset.js';
import { CorecastError, isCorecastError } from '../lib/errors.js';
import { clipFile, clipSeconds, clipSource } from './calibrate-clips.js';
import { type FfmpegOptions, type FfmpegUse, runFast, runPaced } from './calibrate-ffmpeg.js';
import { MIN_MEDIA_S, type PlanEntry } from './calibrate-plan.js';
import { type FfmpegCommand, parseFfmpegCommand } from './ffmpeg-args.js';
import { allowedCpus, busyShares, hostState, mean, readCpuTimes } from './host-glance.js';
import { type InputFacts, probeInput, signatureFrom } from './signature.js';
import { measureSiti } from './siti.js';
import { withThreadOptions } from './thread-options.js';
import { tryChannel } from './trial.js';
import { NOWHERE, type Sample } from './trial-command.js';
import { sampleOf } from './trial-sample.js';

/**
 * Measures plan entries by running FFmpeg on pinned CPUs: at real time, as the live channels run that are forecast, where
 * the CPUs can keep it up; else as fast as it will go, and the record is scaled to real time: the usage of each CPU is its
 * share of the work times the demand, host load is what the others did plus this demand.
 */
export interface MeasureOptions {
  readonly ffmpeg: string;
  readonly cacheDir: string;
  readonly svtAv1Major: number;
  readonly clock: Clock;
  readonly procRoot?: string;
  /** CPU seconds that one run may take at most. */
  readonly maxRunSeconds?: number;
}

const DEFAULT_MAX_RUN_S = 10;
/** Of its CPUs, the share up to which a run is taken to keep real time. */
const PACED_SHARE = 0.8;
/** CPU seconds that a run at full speed should take, and below which it is measured again for longer. */
const TARGET_CPU_S = 1.3;
const MIN_CPU_S = 0.8;
/** Content changes: where it can be afforded a run sees this much of it. */
const WANTED_MEDIA_S = 4;
const MAX_MEDIA_S = 300;
/** For each level of complexity; nobody waits for an answer here. */
const COMPLEXITY_LIMIT_MS = 30_000;
const IDLE_GLANCE_MS = 200;

export class Measurer {
  readonly #options: MeasureOptions;
  readonly #run: FfmpegOptions;
  readonly #facts = new Map<string, Promise<InputFacts>>();
  readonly #siti = new Map<string, Promise<Complexity>>();
  readonly #allowed: Cpuset;
  /** Measured over guessed demand, by encoder preset and by picture: later guesses are multiplied by both. */
  readonly #corrections = new Map<string, number>();

  constructor(options: MeasureOptions) {
    this.#options = options;
    this.#allowed = allowedCpus(options.procRoot);
    this.#run = {
      ...options,
      allowed: this.#allowed,
      maxCpuSeconds: options.maxRunSeconds ?? DEFAULT_MAX_RUN_S,
    };
  }

  /** Undefined when the entry is too slow for this host. `cpus`: as many as the entry asks for. */
  async measure(entry: PlanEntry, cpus: Cpuset): Promise<Run | undefined> {
    const { clock, ffmpeg, cacheDir } = this.#options;
    const path = await clipFile(entry.clip, ffmpeg, cacheDir);
    const facts = await this.#inputFacts(path);
    const before = await this.#glance();
    const startedMs = clock.nowMs();
    const use = (await this.#paced(entry, path, facts, cpus)) ?? (await this.#fast(entry, path, facts, cpus));
    if (use === undefined) return undefined;
    this.#correct(entry, use.cpuSeconds / use.mediaSeconds);
    const complexity = await this.#complexity(entry, path, facts, cpus);
    return this.#record(entry, { ...facts, complexity }, path, use, before, startedMs);
  }

  async #paced(
    entry: PlanEntry,
    path: string,
    facts: InputFacts,
    cpus: Cpuset,
  ): Promise<FfmpegUse | undefined> {
    if (this.#guess(entry) > PACED_SHARE * cpus.length) return undefined;
    const fps = Math.min(...entry.outputs.map((output) => output.fps || entry.clip.fps));
    return runPaced(this.#args(entry, path, facts, MAX_MEDIA_S, ['-re']), fps, cpus, this.#run);
  }

  /** Longer and longer, until it is long enough to be exact. */
  async #fast(
    entry: PlanEntry,
    path: string,
    facts: InputFacts,
    cpus: Cpuset,
  ): Promise<FfmpegUse | undefined> {
    const { fps } = entry.clip;
    const most = this.#run.maxCpuSeconds;
    const guess = this.#guess(entry);
    let media = clampMedia(
      Math.max(TARGET_CPU_S / guess, Math.min(WANTED_MEDIA_S, (0.6 * most) / guess)),
      fps,
    );
    if (guess * media > most) return undefined;
    for (let attempt = 0; ; attempt++) {
      const use = await runFast(this.#args(entry, path, facts, media, []), media, cpus, this.#run);
      if (use === undefined) {
        this.#correct(entry, most / media);
        return undefined;
      }
      if (use.cpuSeconds >= MIN_CPU_S || media >= MAX_MEDIA_S || attempt === 3) return use;
      media = clampMedia((media * TARGET_CPU_S) / Math.max(use.cpuSeconds, 0.02), fps);
    }
  }

  #args(
    entry: PlanEntry,
    path: string,
    facts: InputFacts,
    mediaSeconds: number,
    pace: readonly string[],
  ): readonly string[] {
    const command = this.#command(entry, path, mediaSeconds, pace);
    const { planned } = signatureFrom(command, [facts]);
    const request = { cpuCount: entry.cpuCount, svtAv1Major: this.#options.svtAv1Major };
    return withThreadOptions(command, planned, request).args;
  }

  #command(
    entry: PlanEntry,
    path: string,
    mediaSeconds: number,
    pace: readonly string[] = [],
  ): FfmpegCommand {
    return parseFfmpegCommand(commandWords(this.#options.ffmpeg, entry, path, mediaSeconds, pace));
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

  /** Every level that a channel's signature can have, so that a model can learn what each of them says. */
  async #complexity(entry: PlanEntry, path: string, facts: InputFacts, cpus: Cpuset): Promise<Complexity> {
    const command = this.#command(entry, path, 1);
    const { planned } = signatureFrom(command, [facts]);
    const inputSeconds = clipSeconds(entry.clip);
    const siti = await once(this.#siti, path, () => this.#sitiOf(path, sampleOf(inputSeconds)));
    const request = {
      inputSeconds,
      inputFps: facts.video.fps,
      limitMs: COMPLEXITY_LIMIT_MS,
      svtAv1Major: this.#options.svtAv1Major,
      cpus,
    };
    const { cpuSeconds, mediaSeconds } = await tryChannel(command, planned, request);
    const probeCpuSecondsPerFrame = round(cpuSeconds / (mediaSeconds * facts.video.fps));
    return { ...facts.complexity, ...siti, probeCpuSecondsPerFrame };
  }

  /** Nothing from a build without the filter. */
  async #sitiOf(path: string, sample: Sample): Promise<Complexity> {
    const input = { url: path, options: [], at: 0 };
    try {
      return await measureSiti(this.#options.ffmpeg, input, sample, COMPLEXITY_LIMIT_MS);
    } catch (error) {
      if (isCorecastError(error, 'NOT_FOUND')) return {};
      throw error;
    }
  }

  #record(
    entry: PlanEntry,
    facts: InputFacts,
    path: string,
    use: FfmpegUse,
    before: ReturnType<typeof hostState>,
    startedMs: number,
  ): Run {
    const { signature } = signatureFrom(this.#command(entry, path, 1), [facts]);
    if (signature === undefined) throw new CorecastError('INTERNAL', `no signature for ${entry.id}`);
    const { cpuSeconds, wallSeconds, mediaSeconds, shares, busy } = use;
    const cpus = this.#allowed.length;
    const demandCores = cpuSeconds / mediaSeconds;
    const others = Math.max(0, mean(busy) - cpuSeconds / wallSeconds / cpus);
    const hostLoad = round(Math.min(1, others + demandCores / cpus));
    return {
      id: entry.id,
      origin: 'calibration',
      startedMs,
      signature,
      cpuCount: entry.cpuCount,
      schedulableCpus: cpus,
      hostBefore: [before],
      samples: [
        {
          atS: round(mediaSeconds),
          demandCores: round(demandCores),
          coreUsage: shares.map((share) => round(Math.min(1, share * demandCores))),
          hostLoad,
          ingressBps: facts.video.bitrateBps,
          speed: 1,
          host: { ...hostState(busy, this.#options.procRoot), busy: hostLoad },
        },
      ],
      cpuSeconds: round(cpuSeconds),
      wallSeconds: round(wallSeconds),
      mediaSeconds: round(mediaSeconds),
      source: clipSource(entry.clip),
    };
  }

  async #glance(): Promise<ReturnType<typeof hostState>> {
    const { procRoot } = this.#options;
    const before = readCpuTimes(procRoot);
    await sleep(IDLE_GLANCE_MS);
    return hostState(busyShares(before, readCpuTimes(procRoot), this.#allowed), procRoot);
  }

  /** By the wrapper's own probe, once a clip. */
  #inputFacts(path: string): Promise<InputFacts> {
    return once(this.#facts, path, () => probeClip(this.#options.ffmpeg, path));
  }
}

/** Made once for each key; a failure is tried again the next time. */
function once<T>(known: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> {
  const present = known.get(key);
  if (present !== undefined) return present;
  const made = make();
  known.set(key, made);
  made.catch(() => known.delete(key));
  return made;
}

async function probeClip(ffmpeg: string, path: string): Promise<InputFacts> {
  const command = parseFfmpegCommand([ffmpeg, '-i', path, '-f', 'null', '-']);
  const facts = await probeInput(command, command.inputs[0]!, { probe: true, timeoutMs: 20_000 }, []);
  if (facts === undefined) throw new CorecastError('INVALID_ARGUMENT', `${path} has no video`);
  return facts;
}

function correctionKeys(entry: PlanEntry): string[] {
  return [`${entry.encoder} ${entry.encoderOptions[1] ?? ''}`, clipSource(entry.clip)];
}

/** The command line an operator would write for this entry. */
export function commandWords(
  ffmpeg: string,
  entry: PlanEntry,
  path: string,
  mediaSeconds: number,
  pace: readonly string[] = [],
): string[] {
  const words = [ffmpeg, '-nostdin', '-y', '-hide_banner', '-stream_loop', '-1', ...pace, '-i', path];
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
