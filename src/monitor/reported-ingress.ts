import { CorecastError } from '../lib/errors.js';
import type { IngressReport } from '../rpc/control.js';

/** A report older than this says nothing of now. */
const STALE_MS = 30_000;
/** Streams that are remembered; more are refused, stale ones make room first. */
const MAX_STREAMS = 10_000;

/** The latest word of the ingest servers, by stream. */
export class IngressReports {
  readonly #nowMs: () => number;
  readonly #byStream = new Map<string, IngressReport>();
  readonly #byReservation = new Map<string, Map<string, IngressReport>>();

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  report(reports: readonly IngressReport[]): void {
    const fresh = reports.filter(({ stream }) => !this.#byStream.has(stream)).length;
    if (this.#byStream.size + fresh > MAX_STREAMS) this.#dropStale();
    if (this.#byStream.size + fresh > MAX_STREAMS) {
      throw new CorecastError('LIMIT_EXCEEDED', `more than ${MAX_STREAMS} streams report ingress`);
    }
    for (const report of reports) {
      const known = this.#byStream.get(report.stream);
      // Reports may overtake each other on the way.
      if (known === undefined || known.atMs <= report.atMs) this.#put(report, known);
    }
  }

  current(): readonly IngressReport[] {
    this.#dropStale();
    return [...this.#byStream.values()];
  }

  totals(): { bps: number; queueLength: number } {
    let bps = 0;
    let queueLength = 0;
    for (const report of this.current()) {
      bps += report.bitrateBps;
      queueLength += report.queueLength;
    }
    return { bps, queueLength };
  }

  /** Of the streams that say they are this reservation's; NaN when none does. */
  bpsOf(reservationId: string | undefined): number {
    let bps = Number.NaN;
    if (reservationId === undefined) return bps;
    const oldest = this.#nowMs() - STALE_MS;
    for (const report of this.#byReservation.get(reservationId)?.values() ?? [])
      if (report.atMs >= oldest) bps = (Number.isNaN(bps) ? 0 : bps) + report.bitrateBps;
    return bps;
  }

  #dropStale(): void {
    const oldest = this.#nowMs() - STALE_MS;
    for (const report of this.#byStream.values()) if (report.atMs < oldest) this.#remove(report);
  }

  #put(report: IngressReport, known: IngressReport | undefined): void {
    if (known !== undefined) this.#remove(known);
    this.#byStream.set(report.stream, report);
    if (report.reservationId === '') return;
    const streams = this.#byReservation.get(report.reservationId) ?? new Map<string, IngressReport>();
    this.#byReservation.set(report.reservationId, streams.set(report.stream, report));
  }

  #remove({ stream, reservationId }: IngressReport): void {
    this.#byStream.delete(stream);
    const streams = this.#byReservation.get(reservationId);
    streams?.delete(stream);
    if (streams?.size === 0) this.#byReservation.delete(reservationId);
  }
}
