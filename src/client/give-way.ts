import { renice } from '../lib/priority.js';
import type { Reservation__Output } from '../rpc/generated/corecast/v1/Reservation.js';
import { type FfmpegCommand, lastOption, parseFfmpegCommand } from './ffmpeg-args.js';

/*
 * VOD that gives way to live where the operator's policy is to requeue it (preemption.vod): its FFmpeg ends, its
 * reservation waits in the queue under the same lease, and FFmpeg is started anew when there is room. The daemon says so
 * by a directive, and by the state in every answer, for a wrapper that did not hear the directive.
 */

/** Pipes give their contents once. */
const ONCE = /^(-|pipe:|fd:|\/dev\/(stdin|stdout|fd\/))/;
/** Of setpriority(2): gets what nobody else wants. */
const LAST = 19;
const KEEP_MS = 60_000;

/** Whether a second FFmpeg could do the same work: every input can be read again, every output written again. */
export function canStartAnew({ inputs, outputs }: FfmpegCommand): boolean {
  const written = outputs.filter(({ options }) => lastOption(options, 'f')?.value !== 'null');
  return [...inputs, ...written].every(({ url }) => !ONCE.test(url));
}

/** The command for a start from the beginning: what the FFmpeg before it left is its own and may be overwritten. */
export function startedAnew(command: FfmpegCommand): FfmpegCommand {
  const { program, args, globals } = command;
  const ask = globals.filter(({ name }) => name === 'n' || name === 'y').map(({ at }) => at);
  return parseFfmpegCommand([program, '-y', ...args.filter((_, at) => !ask.includes(at))]);
}

/** What is left of a process that is about to end takes nothing from those who have its CPUs now. */
export function standBack(pid: number): void {
  try {
    renice(pid, LAST);
  } catch {
    // An FFmpeg of another user: it ends all the same.
  }
}

export type WaitEnd =
  | { readonly kind: 'room'; readonly reservation: Reservation__Output }
  | { readonly kind: 'lost'; readonly why: string }
  | { readonly kind: 'stopped' };

/** From the moment that a channel is told to give way until it has room again, is stopped, or has lost its place. */
export class Wait {
  readonly reason: string;
  readonly over: Promise<WaitEnd>;
  #end!: (end: WaitEnd) => void;

  constructor(reason: string) {
    this.reason = reason;
    // Without an FFmpeg nothing else keeps this process while the daemon is away.
    const alive = setInterval(() => {}, KEEP_MS);
    this.over = new Promise((resolve) => {
      this.#end = (end) => {
        clearInterval(alive);
        resolve(end);
      };
    });
  }

  heard(reservation: Reservation__Output): void {
    if (reservation.state === 'RESERVATION_STATE_PENDING') this.#end({ kind: 'room', reservation });
  }

  lost(why: string): void {
    this.#end({ kind: 'lost', why });
  }

  stop(): void {
    this.#end({ kind: 'stopped' });
  }
}
