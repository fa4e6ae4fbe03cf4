import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock } from '../lib/clock.js';
import { type Cpuset, cpuset, formatCpuset, parseCpuset } from '../lib/cpuset.js';
import { messageOf } from '../lib/errors.js';
import { hostAddon } from '../lib/native.js';
import type { Progress } from '../rpc/control.js';
import type { Decision__Output } from '../rpc/generated/corecast/v1/Decision.js';
import type { Directive__Output } from '../rpc/generated/corecast/v1/Directive.js';
import type { Reservation__Output } from '../rpc/generated/corecast/v1/Reservation.js';
import { Attachment } from './attachment.js';
import { channelCommand } from './channel-command.js';
import type { CorecastClient } from './connect.js';
import { EXIT } from './exit-codes.js';
import { ExitError } from './exit-error.js';
import type { FfmpegCommand } from './ffmpeg-args.js';
import { type Ending, FfmpegProcess } from './ffmpeg-process.js';
import { sameButSwitches, switchCommands, switchesAt } from './filter-switches.js';
import { canStartAnew, standBack, startedAnew, Wait } from './give-way.js';
import { HeldInputs } from './held-inputs.js';
import { Holder, type Lease } from './holder.js';
import { KeptOutputs } from './kept-outputs.js';
import type { PlannedOutput } from './outputs.js';
import { FULL_QUALITY, type Restart, type Rung } from './rungs.js';
import { SignalRelay } from './signals.js';

export interface ChannelRunOptions {
  readonly command: FfmpegCommand;
  readonly planned: readonly PlannedOutput[];
  /** Cheaper ones, the dearest first. */
  readonly rungs: readonly Rung[];
  readonly cpus: Cpuset;
  /** Where this process may be while it waits. */
  readonly home: Cpuset;
  readonly client: CorecastClient;
  readonly reservation: Reservation__Output;
  readonly decision: Decision__Output | null;
  readonly live: boolean;
  readonly connect: () => Promise<CorecastClient>;
  readonly clock: Clock;
  readonly note: (text: string) => void;
}

export interface RungChange {
  readonly rung: number;
  readonly reason: string;
  /** Milliseconds from when the old FFmpeg is asked to end to the first frame of the new one; 0 until that came, and where FFmpeg went on. */
  gapMs: number;
  /** Its FFmpeg took the change while it ran. */
  readonly live?: true;
}

/** How long a polite end may take before FFmpeg is killed. */
const STOP_MS = 10_000;
/** To make way for another rung: what it still holds is worth less than the time that nothing comes in. */
const MAKE_WAY_MS = 4_000;
/** Where all outputs are streams: what is still in the encoder would come late, and no file is left without its end. */
const MAKE_WAY_STREAM_MS = 1_000;
/** A new FFmpeg that fails within this time, before its first frame, shows a rung that does not work. */
const FAILED_START_MS = 5_000;
/** Starts of one rung; a receiver may take a moment to let go of the old connection. */
const MOST_STARTS = 3;
const START_AGAIN_MS = 500;
const GAVE_UP: readonly string[] = ['RESERVATION_STATE_PAUSED', 'RESERVATION_STATE_QUEUED'];
/** So much more lag is news. */
const LAG_STEP_S = 0.15;

/** One channel on its reserved CPUs: its FFmpeg, replaced at each change of rung, and the session that holds its lease. */
export class ChannelRun {
  readonly #options: ChannelRunOptions;
  readonly lease: Lease;
  readonly #attachment: Attachment;
  readonly rungChanges: RungChange[] = [];
  threadOptions: readonly string[] = [];
  /** Times that it gave way and was started anew. */
  requeued = 0;
  cpus: Cpuset;
  #process!: FfmpegProcess;
  #startTicks = 0;
  #rung = 0;
  /** Under way until its FFmpeg has shown a frame or outlived its trial. */
  #changing: RungChange | undefined;
  #done: Restart = { mediaSeconds: 0, frames: 0, part: 1 };
  /** Undefined without a ladder: FFmpeg is never replaced. */
  readonly #kept: KeptOutputs | undefined;
  #starts = 0;
  #stopAskedMs = 0;
  #toldLagS = 0;
  /** Rungs that FFmpeg does not start at. */
  readonly #broken = new Set<number>();
  /** For the daemon, with the next heartbeat. */
  #news: { gapMs?: number; failedRung?: number } = {};
  #launchedMs = 0;
  /** The reservation's state, as last heard. */
  #state = '';
  /** It has been told to give way. */
  #wait: Wait | undefined;
  #holder: Holder | undefined;
  #relay: SignalRelay | undefined;
  #stopping = false;
  #wanted: { rung: number; reason: string } | undefined;
  readonly #inputs = new HeldInputs();
  #wake: () => void = () => {};

  constructor(options: ChannelRunOptions) {
    this.#options = options;
    this.cpus = options.cpus;
    this.lease = { reservationId: options.reservation.id, token: options.reservation.token };
    this.#attachment = new Attachment(this.lease, options.home, options.note);
    this.#kept = options.rungs.length > 0 ? new KeptOutputs(options.command) : undefined;
  }

  /** Starts FFmpeg at full quality. Throws what FfmpegProcess.start throws. */
  async start(): Promise<void> {
    const { client, connect, clock, note } = this.#options;
    await this.#launch();
    this.#relay = new SignalRelay((signal) => {
      this.#stopping = true;
      this.#process.kill(signal);
      this.#wait?.stop();
    });
    await this.#attach(client);
    this.#holder = new Holder(client, {
      lease: this.lease,
      ensureAttached: (connected) => this.#attach(connected),
      connect,
      clock,
      note,
      onDirective: (directive) => this.#follow(directive),
      onAnswer: (answer) => this.#heard(answer),
      onLost: (why) => this.#lost(why),
      state: () => ({
        rung: this.#rung,
        restarting: this.#changing !== undefined,
        requeues: this.#requeues,
        process: this.#process.running ? { pid: this.#process.pid, startTicks: this.#startTicks } : undefined,
        progress: this.#process.progress,
      }),
      news: () => {
        const news = this.#news;
        this.#news = {};
        const { running, pid } = this.#process;
        const inputs = running ? this.#inputs.news(pid, clock.monotonicMs()) : undefined;
        return inputs === undefined ? news : { ...news, inputs };
      },
    });
  }

  /** Threads that had left the reserved CPUs and were brought back when FFmpeg was attached. */
  get threadsRepaired(): number {
    return this.#attachment.threadsRepaired;
  }

  /** Until the last FFmpeg has ended. */
  async ended(): Promise<Ending> {
    for (;;) {
      const woken = new Promise<undefined>((resolve) => {
        this.#wake = () => resolve(undefined);
      });
      const asked = this.#wanted !== undefined || this.#wait !== undefined;
      const ending = asked && !this.#stopping ? undefined : await Promise.race([this.#process.ended, woken]);
      if (ending !== undefined) {
        if (await this.#startsAgain(ending)) continue;
        return this.#end(ending);
      }
      const last = this.#wait !== undefined ? await this.#giveWay(this.#wait) : await this.#changeRung();
      if (last !== undefined) return this.#end(last);
    }
  }

  /** An FFmpeg that was killed left its outputs as they are, and so does this. */
  #end(ending: Ending): Ending {
    if (ending.code !== undefined) this.#kept?.close(this.#options.note);
    return ending;
  }

  async close(): Promise<void> {
    this.#relay?.close();
    await this.#holder?.close();
  }

  async #launch(): Promise<void> {
    const { command, planned, rungs, clock, reservation, decision } = this.#options;
    const now = await channelCommand({
      command: this.#kept?.command ?? (this.requeued > 0 ? startedAnew(command) : command),
      rung: this.#at(this.#rung),
      restart: this.#done.part > 1 ? this.#done : undefined,
      cpuCount: this.cpus.length,
      ...{ planned, reservation, decision },
    });
    this.threadOptions = now.added;
    const change = this.#changing;
    const listens = rungs.some(({ switches }) => switches !== undefined);
    let switched = !listens;
    const started = (progress: Progress, last: boolean) => {
      // Before its first frame FFmpeg has no graph yet that could be told.
      if (!switched && progress.frame > 0) {
        switched = true;
        this.#process.command(switchCommands(switchesAt(rungs, 0), switchesAt(rungs, this.#rung)));
      }
      // The heartbeat is up to two seconds behind; what the channel came to in the end must not be lost.
      if (last || this.#fallsBehind(progress)) void this.#holder?.beat();
      if (change === undefined || progress.frame === 0) return;
      if (change.gapMs > 0) return;
      change.gapMs = Math.max(1, Math.round(clock.monotonicMs() - this.#stopAskedMs));
      this.#news = { ...this.#news, gapMs: change.gapMs };
      this.#changed(change);
      void this.#holder?.beat();
    };
    this.#process = await FfmpegProcess.start(now.command, now.args, clock, started, listens);
    this.#launchedMs = clock.monotonicMs();
    this.#startTicks = startTicks(this.#process.pid);
  }

  /** The daemon is told at once, and again with each further part of a second; heartbeats are up to two seconds apart. */
  #fallsBehind({ lagSeconds }: Progress): boolean {
    const more = lagSeconds - this.#toldLagS;
    if (Math.abs(more) < LAG_STEP_S) return false;
    this.#toldLagS = lagSeconds;
    return this.#options.live && more > 0;
  }

  #attach(client: CorecastClient): Promise<void> {
    return this.#attachment.ensure(client, () => ({
      pid: this.#process.pid,
      startTicks: this.#startTicks,
      running: this.#process.running,
      restarting: this.#changing !== undefined,
    }));
  }

  #follow(directive: Directive__Output): void {
    const { note, rungs } = this.#options;
    const because = directive.reason === '' ? '' : `: ${directive.reason}`;
    if (directive.kind === 'setRung' && directive.setRung !== undefined) {
      const rung = Math.min(directive.setRung, rungs.length);
      // A daemon that was started since does not know.
      if (this.#broken.has(rung)) {
        this.#news = { ...this.#news, failedRung: rung };
        void this.#holder?.beat();
        return;
      }
      this.#wanted = rung === this.#rung ? undefined : { rung, reason: directive.reason };
      if (this.#wanted !== undefined) this.#wake();
    } else if (directive.kind === 'cpus' && directive.cpus !== undefined) {
      note(`moved to CPUs ${directive.cpus}${because}`);
      this.#moveTo(parseCpuset(directive.cpus));
    } else if (directive.kind === 'requeue' && directive.requeue === true) {
      this.#toldToWait(directive.reason);
    } else if (directive.kind === 'start') {
      // What is to be known of it comes with the answer.
      void this.#holder?.beat();
    } else if (directive.kind === 'stop' && directive.stop === true) {
      note(`stopping FFmpeg as the daemon asks${because}`);
      this.#stopping = true;
      void this.#process.stop(STOP_MS);
      this.#wait?.stop();
    }
  }

  get #requeues(): boolean {
    return !this.#options.live && canStartAnew(this.#options.command);
  }

  #heard(reservation: Reservation__Output): void {
    this.#state = reservation.state;
    if (this.#wait !== undefined) this.#wait.heard(reservation);
    else if (reservation.state === 'RESERVATION_STATE_QUEUED') this.#toldToWait('');
  }

  #lost(why: string): void {
    const { note } = this.#options;
    if (this.#wait === undefined)
      note(`the daemon no longer holds this reservation (${why}); FFmpeg goes on`);
    else this.#wait.lost(why);
  }

  #toldToWait(reason: string): void {
    if (this.#wait !== undefined || this.#stopping) return;
    this.#wait = new Wait(reason);
    this.#wake();
  }

  /** Ends FFmpeg, waits for room, and starts it anew. Returns how it ended where there is nothing left to start. */
  async #giveWay(wait: Wait): Promise<Ending | undefined> {
    const { clock, note, client, home } = this.#options;
    const because = wait.reason === '' ? '' : ` (${wait.reason})`;
    note(`FFmpeg gives its CPUs up${because}, and is started anew when there is room`);
    standBack(this.#process.pid);
    this.#moveTo(home);
    this.#kept?.ending();
    const ending = await this.#process.stop(MAKE_WAY_MS);
    if (this.#stopping || ending.code === 0) return ending;
    if (this.#kept !== undefined) {
      this.#addDone(clock.monotonicMs());
      this.#kept.ended(this.#done.part);
    }
    void this.#holder?.beat();
    const end = await wait.over;
    if (end.kind === 'stopped') return ending;
    if (end.kind === 'lost')
      throw new ExitError(EXIT.tryLater, `FFmpeg gave way, and its reservation did not wait: ${end.why}`);
    this.#wait = undefined;
    this.requeued++;
    this.#moveTo(cpuset(end.reservation.cpus.map(({ cpu }) => cpu)));
    const from = this.#kept === undefined ? 'the beginning' : `${this.#done.mediaSeconds.toFixed(1)} s`;
    note(`room again on CPUs ${formatCpuset(this.cpus)}: FFmpeg starts from ${from}`);
    await this.#launch();
    await this.#attach(client);
    return undefined;
  }

  #moveTo(cpus: Cpuset): void {
    this.cpus = cpus;
    try {
      hostAddon().setProcessAffinity(process.pid, cpus);
    } catch (error) {
      this.#options.note(`the wrapper itself could not follow (${messageOf(error)})`);
    }
  }

  #at(rung: number): Rung {
    return rung === 0 ? FULL_QUALITY : this.#options.rungs[rung - 1]!;
  }

  #named(rung: number): string {
    const { text } = this.#at(rung);
    return rung === 0 ? text : `rung ${rung} (${text})`;
  }

  /** Where the rungs differ in filters only that FFmpeg switches while it runs. False where it must be replaced. */
  #switchFilters({ rung, reason }: { rung: number; reason: string }): boolean {
    const { note, rungs } = this.#options;
    const started = (this.#process.progress?.frame ?? 0) > 0;
    if (!started || this.#changing !== undefined || !sameButSwitches(this.#at(this.#rung), this.#at(rung)))
      return false;
    this.#process.command(switchCommands(switchesAt(rungs, this.#rung), switchesAt(rungs, rung)));
    this.#rung = rung;
    this.rungChanges.push({ rung, reason, gapMs: 0, live: true });
    note(`${this.#named(rung)}, while FFmpeg runs: ${reason}`);
    void this.#holder?.beat();
    return true;
  }

  /** Replaces FFmpeg by one at the wanted rung. Returns how it ended when there is nothing left to replace. */
  async #changeRung(): Promise<Ending | undefined> {
    const { clock, note, client } = this.#options;
    const wanted = this.#wanted!;
    this.#wanted = undefined;
    if (this.#switchFilters(wanted)) return undefined;
    const change = { ...wanted, gapMs: 0 };
    this.#changing = change;
    await this.#holder?.announce();
    // It gave its CPUs up meanwhile: a new FFmpeg would be on others'.
    if (GAVE_UP.includes(this.#state)) {
      this.#changing = undefined;
      return undefined;
    }
    this.#kept?.ending();
    // A start that is tried again goes on from the same moment.
    if (this.#starts === 0) this.#stopAskedMs = clock.monotonicMs();
    const withinMs = this.#kept?.streamsOnly === true ? MAKE_WAY_STREAM_MS : MAKE_WAY_MS;
    const ending = await this.#process.stop(withinMs);
    // It may have come to its own end, or been told to end, while it was asked to make way.
    if (this.#stopping || ending.code === 0) return ending;
    this.#addDone(clock.monotonicMs());
    this.#rung = wanted.rung;
    this.rungChanges.push(change);
    this.#kept?.ended(this.#done.part);
    const from = `${this.#done.mediaSeconds.toFixed(1)} s`;
    note(`restarting FFmpeg at ${this.#named(wanted.rung)} from ${from}: ${wanted.reason}`);
    this.#starts++;
    await this.#launch();
    await this.#attach(client);
    // Until its first frame the new one is on trial, and its end would not be the channel's: see #startsAgain.
    setTimeout(() => this.#changed(change), FAILED_START_MS).unref();
    return undefined;
  }

  /** Not when the next change has begun meanwhile: that one's end of FFmpeg has been announced. */
  #changed(change: RungChange): void {
    if (this.#changing !== change) return;
    this.#changing = undefined;
    this.#starts = 0;
  }

  #addDone(nowMs: number): void {
    const progress: Progress | undefined = this.#process.progress;
    // Without -progress of our own, a paced channel has written about as much as the clock says.
    const media = progress !== undefined ? progress.outTimeUs / 1e6 : (nowMs - this.#launchedMs) / 1000;
    this.#done = {
      mediaSeconds: this.#done.mediaSeconds + media,
      frames: this.#done.frames + (progress?.frame ?? 0),
      part: this.#done.part + 1,
    };
  }

  /**
   * Whether an FFmpeg that ended before its first frame is followed by another. Where something is opened again it is
   * tried again; a rung whose options FFmpeg rejects is given up for full quality: the channel matters more than the rung.
   */
  async #startsAgain(ending: Ending): Promise<boolean> {
    const quick = this.#options.clock.monotonicMs() - this.#launchedMs < FAILED_START_MS;
    const failed = ending.code !== 0 && (this.#process.progress?.frame ?? 0) === 0;
    if (this.#starts === 0 || !quick || !failed || this.#stopping) return false;
    if ((this.#kept?.reopens === true || this.#rung === 0) && this.#starts < MOST_STARTS) {
      await sleep(START_AGAIN_MS);
      this.#wanted = { rung: this.#rung, reason: 'it did not start' };
      return !this.#stopping;
    }
    if (this.#rung === 0) return false;
    this.#options.note(`FFmpeg does not start at rung ${this.#rung}; back to full quality`);
    this.#broken.add(this.#rung);
    this.#news = { ...this.#news, failedRung: this.#rung };
    this.#starts = 0;
    this.#wanted = { rung: 0, reason: `rung ${this.#rung} does not start` };
    return true;
  }
}

function startTicks(pid: number): number {
  try {
    return hostAddon().startTicks(pid);
  } catch {
    return 0; // The daemon reads it.
  }
}
