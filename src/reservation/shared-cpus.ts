import type { Loan, Sharing } from '../balancer/choose-shared.js';
import { demandNow, needOf, shareOf } from '../balancer/shared-demand.js';
import { type Sharer, sharersOf } from '../balancer/sharers.js';
import { closingOf } from './allocator-close.js';
import { lend } from './allocator-lend.js';
import type { Concession, Tenant } from './allocator-make-room.js';
import type { OccupancyIndex } from './allocator-occupancy.js';
import { segmentOf, segmentsOf, spreadAnywhere, spreadOver } from './allocator-spread.js';
import type { Book } from './book.js';
import { milliOf } from './cpu-shares.js';
import type { ReservationDeps } from './deps.js';
import type { LedgerRecord } from './ledger-format.js';
import { type CpuShare, holdsCpus } from './reservation.js';

/** One channel among those that share its CPUs. Thousandths. */
export interface SharedPart {
  /** What it should be promised now. */
  readonly needMilli: number;
  /** What all need beyond what they are promised; 0 when they need less. */
  readonly shortMilli: number;
}

/** What was seen of channels counts in a decision this much later at most. */
const FRESH_MS = 500;

/** The channels that share CPUs: what they need together now, what each lends, where one could go. */
export class SharedCpus {
  readonly #deps: ReservationDeps;
  readonly #book: Book;
  readonly #sums = new WeakMap<readonly CpuShare[], number>();
  #latest: { readonly key: string; readonly atMs: number; readonly sharing: Sharing } | undefined;

  constructor(deps: ReservationDeps, book: Book) {
    this.#deps = deps;
    this.#book = book;
  }

  /** Undefined where nobody is to share. */
  now(index: OccupancyIndex): Sharing | undefined {
    const how = this.#deps.sharing?.();
    if (how === undefined) return undefined;
    const key = `${this.#book.version} ${how.cpus} ${how.rule.z} ${how.rule.headroom}`;
    const atMs = this.#deps.clock.monotonicMs();
    const latest = this.#latest;
    if (latest?.key === key && atMs - latest.atMs < FRESH_MS) return latest.sharing;
    const segments = segmentsOf(index.host, how.cpus);
    const sharing = { ...how, sharers: sharersOf(index.host, segments, this.#sharers()) };
    this.#latest = { key, atMs, sharing };
    return sharing;
  }

  /** What each of `tenants` would lend, those with most to spare first; undefined when that is not enough. */
  lending(
    index: OccupancyIndex,
    tenants: readonly Tenant[],
    { segment, milli, sum }: Loan,
  ): readonly Concession[] | undefined {
    const how = this.#deps.sharing?.();
    if (how === undefined) return undefined;
    const segments = segmentsOf(index.host, how.cpus);
    const lenders = tenants.flatMap((tenant) => {
      const demand = this.#demandOf(tenant.id);
      if (demand === undefined || segmentOf(index.host, segments, tenant.cpus) !== segment) return [];
      return [{ tenant, cpus: tenant.cpus, keepMilli: shareOf(demand, sum, how.rule) }];
    });
    return lend(lenders, milli)?.map(({ lender: { tenant }, cpus }) => ({ tenant, way: 'lend', cpus }));
  }

  part(id: string): SharedPart | undefined {
    const demand = this.#demandOf(id);
    const index = this.#index();
    const sharing = demand && this.now(index);
    const reservation = this.#book.ledger.get(id)?.reservation;
    if (demand === undefined || sharing === undefined || reservation === undefined) return undefined;
    const segments = segmentsOf(index.host, sharing.cpus);
    const sharers = sharing.sharers.get(segmentOf(index.host, segments, reservation.cpus));
    if (sharers === undefined) return undefined;
    return {
      needMilli: Math.max(1, Math.ceil(shareOf(demand, sharers.sum, sharing.rule))),
      shortMilli: Math.max(0, Math.ceil(needOf(sharers.sum, sharing.rule) - sharers.promisedMilli)),
    };
  }

  spread(id: string, milli: number): readonly CpuShare[] | undefined {
    const record = this.#book.ledger.get(id);
    if (record?.shared === undefined) return undefined;
    const index = this.#book.occupancyWithout(id, this.#deps.topology(), this.#deps.smtCoreMilli());
    return this.spreadIn(index, record, milli);
  }

  /** In an index in which it is away itself. */
  spreadIn(index: OccupancyIndex, record: LedgerRecord, milli: number): readonly CpuShare[] | undefined {
    const how = this.#deps.sharing?.();
    if (record.shared === undefined || how === undefined) return undefined;
    const request = { milli, roomMilli: milli, cpus: record.shared.cpus };
    const segments = segmentsOf(index.host, how.cpus);
    const own = segments.all[segmentOf(index.host, segments, record.reservation.cpus)];
    return (own && spreadOver(index, own, request)) ?? spreadAnywhere(index, how.cpus, request);
  }

  closing(): { id: string; cpus: readonly CpuShare[]; reason: string } | undefined {
    const how = this.#deps.sharing?.();
    if (how === undefined) return undefined;
    const index = this.#index();
    return closingOf(index, segmentsOf(index.host, how.cpus), () =>
      [...this.#book.settled()].flatMap(({ reservation, shared }) => {
        const { id, state, cpus } = reservation;
        return shared !== undefined && state === 'ACTIVE' ? [{ id, cpus, threads: shared.cpus }] : [];
      }),
    );
  }

  /** CPUs of a segment, for a channel that shares; undefined for another. */
  spreadOf({ shared }: LedgerRecord): number | undefined {
    return shared === undefined ? undefined : this.#deps.sharing?.()?.cpus;
  }

  #demandOf(id: string) {
    const demand = this.#book.ledger.get(id)?.shared?.demand;
    return demand && demandNow(demand, this.#deps.seen?.(id));
  }

  *#sharers(): Generator<Sharer> {
    for (const { id, state, cpus } of this.#book.held()) {
      const demand = holdsCpus(state) ? this.#demandOf(id) : undefined;
      if (demand !== undefined) yield { cpus, milli: this.#milliOf(cpus), demand };
    }
  }

  /** Spread over many CPUs, and asked for at every decision. */
  #milliOf(cpus: readonly CpuShare[]): number {
    let milli = this.#sums.get(cpus);
    if (milli === undefined) {
      milli = milliOf(cpus);
      this.#sums.set(cpus, milli);
    }
    return milli;
  }

  #index(): OccupancyIndex {
    return this.#book.occupancy(this.#deps.topology(), this.#deps.smtCoreMilli());
  }
}
