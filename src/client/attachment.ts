import type { Cpuset } from '../lib/cpuset.js';
import { isCorecastError, messageOf } from '../lib/errors.js';
import { hostAddon } from '../lib/native.js';
import type { CorecastClient } from './connect.js';
import type { Lease } from './holder.js';

/** Refusals that stay. */
const NOT_OURS = ['WRONG_STATE', 'NOT_FOUND', 'STALE_TOKEN'] as const;

export interface AttachedProcess {
  readonly pid: number;
  readonly startTicks: number;
  readonly running: boolean;
  /** It replaces another one and is on trial. */
  readonly restarting: boolean;
}

/** Binds each FFmpeg of a channel to its reservation: once, and again only when the daemon has not confirmed it. */
export class Attachment {
  /** Threads that had left the reserved CPUs and were brought back. */
  threadsRepaired = 0;
  readonly #lease: Lease;
  readonly #home: Cpuset;
  readonly #note: (text: string) => void;
  /** PID.TICKS of the process that the daemon has confirmed. */
  #confirmed = '';

  /** `home`: where a process goes that the daemon will not have. */
  constructor(lease: Lease, home: Cpuset, note: (text: string) => void) {
    this.#lease = lease;
    this.#home = home;
    this.#note = note;
  }

  /** Never rejects. */
  async ensure(client: CorecastClient, ffmpeg: () => AttachedProcess): Promise<void> {
    const { pid, startTicks, restarting } = ffmpeg();
    const name = `${pid}.${startTicks}`;
    if (this.#confirmed === name) return;
    try {
      const { reservationId, token } = this.#lease;
      const process = { pid, startTicks };
      const idempotencyKey = `${reservationId}.${name}`;
      const request = { reservationId, token, process, idempotencyKey, restarting };
      const { reservation, repaired } = await client.attach(request);
      this.#lease.token = reservation?.token ?? token;
      this.threadsRepaired += repaired;
      this.#confirmed = name;
    } catch (error) {
      // An FFmpeg that is through already has nothing left to attach.
      if (isCorecastError(error, 'PROCESS_GONE') || !ffmpeg().running) return;
      const notOurs = NOT_OURS.some((code) => isCorecastError(error, code));
      const where = notOurs ? this.#unpin(pid) : 'it keeps the CPUs it inherited';
      this.#note(`could not attach FFmpeg to its reservation (${messageOf(error)}); ${where}`);
    }
  }

  /** The CPUs are others', or about to be. */
  #unpin(pid: number): string {
    try {
      hostAddon().setProcessAffinity(process.pid, this.#home);
      hostAddon().setProcessAffinity(pid, this.#home);
      return 'it runs without one, on no CPUs of its own';
    } catch (error) {
      return `it keeps the CPUs it inherited (${messageOf(error)})`;
    }
  }
}
