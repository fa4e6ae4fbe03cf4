import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock } from '../lib/clock.js';
import { isCorecastError, messageOf } from '../lib/errors.js';
import type { Progress } from '../rpc/control.js';
import type { Directive__Output } from '../rpc/generated/corecast/v1/Directive.js';
import type { Reservation__Output } from '../rpc/generated/corecast/v1/Reservation.js';
import type { CorecastClient, SessionStream } from './connect.js';

/** The process that the reservation is held for, and how it runs now. */
export interface HeldState {
  readonly rung: number;
  readonly restarting: boolean;
  /** FFmpeg can be ended and started anew later. */
  readonly requeues: boolean;
  readonly process: { readonly pid: number; readonly startTicks: number } | undefined;
  readonly progress: Progress | undefined;
}

/** What the holder may call itself. The token changes with each attach and when it comes back: the newest one counts. */
export interface Lease {
  readonly reservationId: string;
  token: number;
}

export interface HolderOptions {
  readonly lease: Lease;
  /** Attaches the process if that has not been done; called on each connection. Never rejects. */
  readonly ensureAttached: (client: CorecastClient) => Promise<void>;
  readonly connect: () => Promise<CorecastClient>;
  readonly clock: Clock;
  readonly state: () => HeldState;
  /** What the daemon has not been told yet; asked once for each message. */
  readonly news: () => {
    readonly gapMs?: number;
    readonly failedRung?: number;
    readonly inputs?: { socketInodes: number[]; readBytes: number };
  };
  readonly onDirective: (directive: Directive__Output) => void;
  /** With each answer. */
  readonly onAnswer: (reservation: Reservation__Output) => void;
  /** The daemon will have no more of it; nothing is tried again. */
  readonly onLost: (why: string) => void;
  /** For the operator. */
  readonly note: (text: string) => void;
}

const HEARTBEAT_MS = 2_000;
const ANSWER_MS = 2_000;
const FIRST_RETRY_MS = 200;
const MAX_RETRY_MS = 5_000;

/**
 * Holds the reservation while FFmpeg runs: heartbeats with progress up, directives down. When the daemon goes away FFmpeg
 * does not notice; this reconnects with growing pauses and says again what is held.
 */
export class Holder {
  readonly #options: HolderOptions;
  readonly #stop = new AbortController();
  #session: SessionStream | undefined;
  #announced = false;
  /** Messages sent and answered in this session, and who waits for an answer. */
  #sent = 0;
  #answers = 0;
  readonly #awaited: { readonly number: number; readonly resolve: () => void }[] = [];
  readonly #done: Promise<void>;

  constructor(client: CorecastClient, options: HolderOptions) {
    this.#options = options;
    this.#done = this.#hold(client);
  }

  /**
   * Sends the state now and waits until the daemon has taken it in: that a restart is announced must be durable there
   * before the process ends. Without a daemon, or with a slow one, it gives up after ANSWER_MS.
   */
  async announce(): Promise<void> {
    if (this.#session === undefined) return;
    const answered = new Promise<void>((resolve) => {
      this.#awaited.push({ number: this.#sent + 1, resolve });
    });
    await this.beat();
    await Promise.race([answered, sleep(ANSWER_MS, undefined, { ref: false })]);
  }

  async beat(): Promise<void> {
    const session = this.#session;
    if (session === undefined) return;
    this.#sent++;
    const { lease, state, news } = this.#options;
    const { reservationId, token } = lease;
    const { rung, restarting, requeues, process, progress } = state();
    const announce = !this.#announced && process !== undefined;
    this.#announced ||= announce;
    await session.send({
      reservationId,
      token,
      rung,
      restarting,
      requeues,
      ...(progress === undefined ? {} : { progress }),
      ...(announce ? { process } : {}),
      ...news(),
    });
  }

  async close(): Promise<void> {
    this.#stop.abort();
    this.#session?.end();
    await Promise.race([this.#done, sleep(500, undefined, { ref: false })]);
    this.#session?.cancel();
  }

  async #hold(first: CorecastClient): Promise<void> {
    let client: CorecastClient | undefined = first;
    let retryMs = FIRST_RETRY_MS;
    let lost = false;
    while (!this.#stop.signal.aborted) {
      try {
        client ??= await this.#options.connect();
        await this.#oneSession(client, () => {
          if (lost) this.#options.note('the daemon is back; the reservation is held again');
          lost = false;
          retryMs = FIRST_RETRY_MS;
        });
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        if (isFinal(error)) {
          this.#options.onLost(messageOf(error));
          return;
        }
        const goesOn = this.#options.state().process === undefined ? '' : 'FFmpeg goes on, ';
        if (!lost) this.#options.note(`lost the daemon (${messageOf(error)}); ${goesOn}trying to reconnect`);
      }
      lost = true;
      if (client !== first) client?.close();
      client = undefined;
      await sleep(retryMs * (0.75 + Math.random() / 2), undefined, {
        signal: this.#stop.signal,
        ref: false,
      }).catch(() => {});
      retryMs = Math.min(MAX_RETRY_MS, retryMs * 2);
    }
  }

  async #oneSession(client: CorecastClient, onAnswer: () => void): Promise<void> {
    const { lease, ensureAttached, onDirective, onAnswer: answered } = this.#options;
    await ensureAttached(client);
    const session = client.session();
    this.#session = session;
    this.#announced = false;
    this.#sent = 0;
    this.#answers = 0;
    const heartbeat = setInterval(() => void this.beat(), HEARTBEAT_MS);
    heartbeat.unref();
    try {
      void this.beat();
      for await (const message of session.messages) {
        onAnswer();
        // A directive comes with the reservation as it was at the last answer.
        if (message.directive === null && message.reservation !== null) answered(message.reservation);
        if (message.directive === null) this.#answered();
        lease.token = Math.max(lease.token, message.reservation?.token ?? 0);
        if (message.directive !== null) onDirective(message.directive);
      }
    } finally {
      clearInterval(heartbeat);
      this.#session = undefined;
      for (const { resolve } of this.#awaited.splice(0)) resolve();
    }
  }

  /** The daemon answers each message once, in order; directives come besides. */
  #answered(): void {
    this.#answers++;
    while (this.#awaited[0] !== undefined && this.#awaited[0].number <= this.#answers) {
      this.#awaited.shift()!.resolve();
    }
  }
}

function isFinal(error: unknown): boolean {
  return (
    isCorecastError(error, 'STALE_TOKEN') ||
    isCorecastError(error, 'NOT_FOUND') ||
    isCorecastError(error, 'WRONG_STATE') ||
    isCorecastError(error, 'PERMISSION_DENIED')
  );
}
