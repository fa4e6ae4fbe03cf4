import { messageOf } from '../../lib/errors.js';
import type { CorecastClient } from '../connect.js';
import type { TopEvent, TopView } from './view.js';

const KEPT_EVENTS = 200;

/**
 * What the view shows, from the daemon: the host and the reservations each time that it is asked, events from one stream
 * that stays open. A daemon that goes away is looked for again at each ask.
 */
export class Feed {
  readonly #connect: () => Promise<CorecastClient>;
  readonly #nowMs: () => number;
  readonly #stop = new AbortController();
  readonly #events: TopEvent[] = [];
  #client: CorecastClient | undefined;
  #view: TopView;

  constructor(connect: () => Promise<CorecastClient>, nowMs: () => number) {
    this.#connect = connect;
    this.#nowMs = nowMs;
    this.#view = { nowMs: nowMs(), host: undefined, reservations: [], events: [], trouble: '' };
  }

  /** Never rejects: what failed stands in the view's `trouble`. */
  async read(): Promise<TopView> {
    try {
      const client = await this.#connected();
      const [host, { reservations }] = await Promise.all([client.getHost({}), client.listReservations({})]);
      this.#view = { nowMs: this.#nowMs(), host, reservations, events: this.#events, trouble: '' };
    } catch (error) {
      this.#drop();
      this.#view = { ...this.#view, nowMs: this.#nowMs(), trouble: messageOf(error) };
    }
    return this.#view;
  }

  close(): void {
    this.#stop.abort();
    this.#drop();
  }

  async #connected(): Promise<CorecastClient> {
    if (this.#client !== undefined) return this.#client;
    this.#client = await this.#connect();
    void this.#follow(this.#client);
    return this.#client;
  }

  async #follow(client: CorecastClient): Promise<void> {
    try {
      for await (const { reservation, event, reason } of client.watchReservations({
        signal: this.#stop.signal,
      })) {
        // The first listing has no events.
        if (event === '' || reservation === null) continue;
        this.#events.push({
          atMs: this.#nowMs(),
          event,
          channel: reservation.name || reservation.id,
          reason,
        });
        if (this.#events.length > KEPT_EVENTS) this.#events.shift();
      }
    } catch {
      // read() meets the same trouble, and says it.
    }
    if (this.#client === client) this.#drop();
  }

  #drop(): void {
    this.#client?.close();
    this.#client = undefined;
  }
}
