import type { Signature, VideoInput } from '../forecast/signature.js';
import { type Clock, systemClock } from '../lib/clock.js';
import { type Cpuset, cpuset } from '../lib/cpuset.js';
import { isCorecastError, messageOf } from '../lib/errors.js';
import type { ChannelClass } from '../reservation/reservation.js';
import type { Reservation__Output } from '../rpc/generated/corecast/v1/Reservation.js';
import type { UsageSummary__Output } from '../rpc/generated/corecast/v1/UsageSummary.js';
import { type Admission, admit } from './admit.js';
import { channelClassOf } from './channel-class.js';
import { ChannelRun, type RungChange } from './channel-run.js';
import { describeCost } from './complexity.js';
import { EXIT } from './exit-codes.js';
import { ExitError } from './exit-error.js';
import { type FfmpegCommand, parseFfmpegCommand } from './ffmpeg-args.js';
import { describeEnding, type Ending, FfmpegProcess } from './ffmpeg-process.js';
import { checkSwitches } from './filter-switches.js';
import type { Lease } from './holder.js';
import { allowedCpus } from './host-glance.js';
import { derivedRungs, givenRungs } from './ladder.js';
import type { ComplexityCost, ComplexityLevel } from './measure-complexity.js';
import type { PlannedOutput } from './outputs.js';
import { placeProcess } from './place-process.js';
import type { Rung } from './rungs.js';
import { SignalRelay } from './signals.js';
import { type CommandSignature, commandSignature } from './signature.js';

export interface RunOptions {
  readonly socket: string;
  readonly waitMs: number;
  readonly name?: string;
  /** Absent: by the command line (channel-class.ts). */
  readonly channelClass?: ChannelClass;
  readonly priority?: number;
  readonly exclusive: boolean;
  /** 0 lets the forecast choose. */
  readonly cpuCount: number;
  /** Rungs of the degrade ladder, each a string of output options; or "auto" alone. */
  readonly degrade: readonly string[];
  readonly require: boolean;
  readonly runAnyway: boolean;
  /** Light mode: become FFmpeg instead of staying beside it. */
  readonly exec: boolean;
  readonly probe: boolean;
  readonly probeTimeoutMs?: number;
  readonly complexity: ComplexityLevel;
  readonly content?: string;
  readonly declared: Partial<VideoInput>;
  /** Lines for the operator, on standard error. */
  readonly note: (text: string) => void;
}

/** What happened, for --json and --report. Times in milliseconds. */
export interface RunReport {
  readonly reservationId: string;
  readonly decisionId: string;
  readonly channelClass: ChannelClass;
  readonly cpus: readonly number[];
  readonly signature: Signature | null;
  /** What --complexity came to; null for packets, which cost nothing of their own. */
  readonly complexityCost: ComplexityCost | null;
  readonly threadOptions: readonly string[];
  /** Threads that had left the reserved CPUs and were brought back when FFmpeg was attached. */
  readonly threadsRepaired: number;
  readonly rungChanges: readonly RungChange[];
  /** Times that it gave way to live and was started anew. */
  readonly requeued: number;
  readonly ending: string;
  readonly usage: UsageSummary__Output | null;
  /** Reading the signature: ffprobe, and what --complexity asked for. */
  readonly probeMs: number;
  readonly reserveMs: number;
  /** From the wrapper's first line to FFmpeg's start, all of it. */
  readonly beforeStartMs: number;
  readonly notes: readonly string[];
}

export interface RunResult {
  readonly ending: Ending;
  readonly report: RunReport;
}

const CONNECT_TIMEOUT_MS = 5_000;

/** `corecast run`: an FFmpeg command line, with a reservation around it. Throws ExitError when FFmpeg did not start. */
export async function run(
  words: readonly string[],
  options: RunOptions,
  clock: Clock = systemClock,
): Promise<RunResult> {
  const startedMs = clock.monotonicMs();
  const notes: string[] = [];
  const note = (text: string) => {
    notes.push(text);
    options.note(text);
  };
  const command = parseFfmpegCommand(words);
  const given = givenRungs(options.degrade);
  const channelClass = options.channelClass ?? channelClassOf(command);

  // ffprobe runs while the gRPC library loads and connects.
  const connecting = connectLate(options.socket);
  // Its failure is read later, by admit().
  connecting.catch(() => {});
  const { read, cost } = await readSignature(command, options);
  const { signature, planned, notes: assumed } = read;
  const rungs = given ?? (options.exec ? [] : await derivedRungs(command, planned, note));
  if (!options.exec) await checkSwitches(command, rungs);
  const probeMs = clock.monotonicMs() - startedMs;
  const admission: Admission =
    signature === undefined
      ? { kind: 'unpinned', why: 'no video is encoded; FFmpeg runs without a reservation' }
      : await admit(connecting, {
          signature,
          name: options.name ?? nameOf(command),
          channelClass,
          priority: options.priority,
          exclusive: options.exclusive,
          cpuCount: options.cpuCount,
          waitMs: options.waitMs,
          ladderRungs: options.exec ? 0 : rungs.length,
          require: options.require,
          runAnyway: options.runAnyway,
        });
  for (const text of assumed) note(text);
  if (cost !== undefined) note(describeCost(cost));
  const reserveMs = clock.monotonicMs() - startedMs - probeMs;
  const complexityCost = cost ?? null;
  const summary = { channelClass, signature: signature ?? null, complexityCost, probeMs, reserveMs, notes };
  if (admission.kind === 'unpinned') {
    if (signature === undefined)
      void connecting.then(
        (client) => client.close(),
        () => {},
      );
    note(admission.why);
    if (options.exec) return lightRun(command, planned, admission, options);
    return runUnpinned(command, summary, startedMs, clock);
  }
  // Before it is placed.
  const home = allowedCpus();
  const leave = placeProcess({
    cpus: cpusOf(admission.reservation),
    ownCpuset: admission.ownCpuset,
    socket: options.socket,
    note,
  });
  if (options.exec) return lightRun(command, planned, admission, options).finally(leave);
  return runReserved(
    command,
    planned,
    rungs,
    admission,
    { ...summary, note, home, socket: options.socket },
    startedMs,
    clock,
  ).finally(leave);
}

type Summary = Pick<
  RunReport,
  'channelClass' | 'signature' | 'complexityCost' | 'probeMs' | 'reserveMs' | 'notes'
>;

async function runUnpinned(
  command: FfmpegCommand,
  summary: Summary,
  startedMs: number,
  clock: Clock,
): Promise<RunResult> {
  const ffmpeg = await startOrExit(() => FfmpegProcess.start(command, command.args, clock));
  const beforeStartMs = clock.monotonicMs() - startedMs;
  const relay = new SignalRelay((signal) => ffmpeg.kill(signal));
  const ending = await ffmpeg.ended;
  relay.close();
  const nothing = {
    reservationId: '',
    decisionId: '',
    cpus: [],
    threadOptions: [],
    threadsRepaired: 0,
    rungChanges: [],
    requeued: 0,
    usage: null,
  };
  return { ending, report: { ...summary, ...nothing, ending: describeEnding(ending), beforeStartMs } };
}

async function runReserved(
  command: FfmpegCommand,
  planned: readonly PlannedOutput[],
  rungs: readonly Rung[],
  { client, reservation, decision }: Extract<Admission, { kind: 'reserved' }>,
  context: Summary & {
    readonly note: (text: string) => void;
    readonly home: Cpuset;
    readonly socket: string;
  },
  startedMs: number,
  clock: Clock,
): Promise<RunResult> {
  const { note, home, socket, ...summary } = context;
  const cpus = cpusOf(reservation);
  const channel = new ChannelRun({
    command,
    planned,
    rungs,
    cpus,
    home,
    client,
    reservation,
    decision,
    live: summary.channelClass === 'live',
    connect: () => connectLate(socket),
    clock,
    note,
  });
  let ending: Ending;
  let beforeStartMs = 0;
  let reason = '';
  let usage: UsageSummary__Output | null = null;
  try {
    await startOrExit(() => channel.start());
    beforeStartMs = clock.monotonicMs() - startedMs;
    ending = await channel.ended();
    reason = describeEnding(ending);
  } catch (error) {
    reason = messageOf(error).slice(0, 200);
    throw error;
  } finally {
    await channel.close();
    usage = await release(client, channel.lease, reason, note);
    client.close();
  }
  return {
    ending,
    report: {
      ...summary,
      reservationId: reservation.id,
      decisionId: decision?.id ?? reservation.decisionId,
      cpus: channel.cpus,
      threadOptions: channel.threadOptions,
      threadsRepaired: channel.threadsRepaired,
      rungChanges: channel.rungChanges,
      requeued: channel.requeued,
      ending: describeEnding(ending),
      usage,
      beforeStartMs,
    },
  };
}

function cpusOf(reservation: Reservation__Output): Cpuset {
  return cpuset(reservation.cpus.map(({ cpu }) => cpu));
}

async function lightRun(
  command: FfmpegCommand,
  planned: readonly PlannedOutput[],
  admission: Admission,
  options: RunOptions,
): Promise<never> {
  const { becomeFfmpeg } = await import('./light-run.js');
  return becomeFfmpeg(command, planned, admission, { ...options, ladder: options.degrade.length > 0 });
}

/**
 * A daemon that is slow to answer is asked again: of a channel that was told to stop during a change of rung it waits for
 * the next FFmpeg, and its CPUs would be kept for nobody until the start deadline.
 */
async function release(
  client: Awaited<ReturnType<typeof connectLate>>,
  { reservationId, token }: Lease,
  reason: string,
  note: (text: string) => void,
): Promise<UsageSummary__Output | null> {
  for (let attempt = 1; ; attempt++) {
    try {
      return (await client.release({ reservationId, token, reason }, { timeoutMs: RELEASE_MS })).usage;
    } catch (error) {
      if (isCorecastError(error, 'DAEMON_UNREACHABLE') && attempt < MOST_RELEASES) continue;
      note(`the daemon did not confirm the end (${messageOf(error)}); it sees it from the process`);
      return null;
    }
  }
}

const RELEASE_MS = 2_000;
const MOST_RELEASES = 3;

interface MeasuredSignature {
  readonly read: CommandSignature;
  readonly cost?: ComplexityCost;
}

async function readSignature(command: FfmpegCommand, options: RunOptions): Promise<MeasuredSignature> {
  try {
    const read = await commandSignature(command, {
      probe: options.probe,
      ...(options.probeTimeoutMs === undefined ? {} : { timeoutMs: options.probeTimeoutMs }),
      declared: options.declared,
      ...(options.content === undefined ? {} : { content: options.content }),
    });
    if (options.complexity === 'packets') return { read };
    const { withComplexity } = await import('./measure-complexity.js');
    return await withComplexity(command, read, options.complexity);
  } catch (error) {
    // FFmpeg itself would say the same and end with 1.
    if (isCorecastError(error, 'NOT_FOUND')) throw new ExitError(EXIT.failure, error.message);
    throw error;
  }
}

async function startOrExit<T>(start: () => Promise<T>): Promise<T> {
  try {
    return await start();
  } catch (error) {
    if (!isCorecastError(error, 'NOT_FOUND')) throw error;
    throw new ExitError(error.details.errno === 'ENOENT' ? EXIT.notFound : EXIT.cannotExecute, error.message);
  }
}

async function connectLate(socket: string) {
  const { connect } = await import('./connect.js');
  return connect({ socket, timeoutMs: CONNECT_TIMEOUT_MS });
}

function nameOf(command: FfmpegCommand): string {
  const output = command.outputs.at(-1)?.url ?? '';
  return output === '-' || output === '' ? (command.inputs[0]?.url ?? 'ffmpeg') : output;
}
