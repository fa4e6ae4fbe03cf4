import { type Concession, placed, preempt } from './allocator-make-room.js';
import type { OccupancyIndex } from './allocator-occupancy.js';
import type { Book } from './book.js';
import { cpusetOf } from './cpu-shares.js';
import type { ReservationDeps } from './deps.js';
import type { LedgerRecord } from './ledger-format.js';
import type { CpuShare, Reservation } from './reservation.js';
import type { RoomMaker } from './room.js';
import type { SharedCpus } from './shared-cpus.js';

interface Growth {
  readonly cpus: readonly CpuShare[];
  readonly concessions: readonly Concession[];
}

/** More CPUs for a live channel that runs and is late, where VOD gives way: it moves, shrinks or is paused, as for a newcomer. */
export class Growing {
  readonly #deps: ReservationDeps;
  readonly #book: Book;
  readonly #shared: SharedCpus;
  readonly #rooms: RoomMaker;

  constructor(deps: ReservationDeps, book: Book, shared: SharedCpus, rooms: RoomMaker) {
    this.#deps = deps;
    this.#book = book;
    this.#shared = shared;
    this.#rooms = rooms;
  }

  /** Changes nothing. */
  could(id: string, sharesMilli: readonly number[]): boolean {
    return this.#find(id, sharesMilli) !== undefined;
  }

  /** One write for all of them; undefined when things have changed since the look. */
  async grow(id: string, sharesMilli: readonly number[], reason: string): Promise<Reservation | undefined> {
    const victims = this.#find(id, sharesMilli)?.concessions.map(({ tenant }) => tenant.id);
    if (victims === undefined) return undefined;
    // In one order everywhere, so that two who make room never wait for each other.
    const locked = [id, ...victims].sort().reduceRight<() => Promise<LedgerRecord | undefined>>(
      (inner, each) => () => this.#book.lock(each, inner),
      async () => {
        const now = this.#find(id, sharesMilli);
        if (now === undefined || !now.concessions.every(({ tenant }) => victims.includes(tenant.id))) return;
        return this.#take(id, now, reason);
      },
    );
    return (await locked())?.reservation;
  }

  #take(id: string, { cpus, concessions }: Growth, reason: string): Promise<LedgerRecord> {
    const kernel = ({ process }: Reservation) => {
      if (process !== undefined) this.#deps.pinning.pin(process, cpusetOf(cpus));
    };
    const newcomer = this.#book.part(id, { step: 'assign', cpus }, { reason, event: 'grown', kernel });
    const { name } = newcomer.after.reservation;
    const title = `${name === '' ? 'live' : `live ${JSON.stringify(name)}`} (${id}), which is late`;
    return this.#book.exchange(
      newcomer,
      concessions.map((one) => this.#rooms.giving(one, title)),
    );
  }

  #find(id: string, sharesMilli: readonly number[]): Growth | undefined {
    const record = this.#book.ledger.get(id);
    const { vod } = this.#deps.preemption();
    if (vod === 'none' || record === undefined || !this.#book.isSettled(id)) return undefined;
    const { state, channelClass, cpus, exclusive } = record.reservation;
    if (state !== 'ACTIVE' || channelClass !== 'live') return undefined;
    const index = this.#book.occupancy(this.#deps.topology(), this.#deps.smtCoreMilli());
    const tenants = this.#rooms.tenants(vod).filter((tenant) => tenant.channelClass === 'vod');
    index.release(cpus, exclusive);
    try {
      const ask = () => {
        const found = this.#placeIn(index, record, sharesMilli);
        return { fits: found !== undefined, cpus: found ?? [], missing: 0 };
      };
      const concessions = preempt(index, tenants, { exclusive, ask });
      return concessions && this.#outcome(index, concessions, ask);
    } finally {
      index.reserve(cpus, exclusive);
    }
  }

  /** What it gets with everybody where the concessions put them. */
  #outcome(
    index: OccupancyIndex,
    concessions: readonly Concession[],
    ask: () => { readonly fits: boolean; readonly cpus: readonly CpuShare[] },
  ): Growth | undefined {
    for (const { tenant } of concessions) index.release(tenant.cpus, tenant.exclusive);
    for (const { tenant, cpus } of concessions) index.reserve(cpus, tenant.exclusive);
    try {
      const { fits, cpus } = ask();
      return fits ? { cpus, concessions } : undefined;
    } finally {
      for (const { tenant, cpus } of concessions) index.release(cpus, tenant.exclusive);
      for (const { tenant } of concessions) index.reserve(tenant.cpus, tenant.exclusive);
    }
  }

  #placeIn(
    index: OccupancyIndex,
    record: LedgerRecord,
    sharesMilli: readonly number[],
  ): readonly CpuShare[] | undefined {
    if (record.shared === undefined) return placed(index, record.reservation, sharesMilli);
    const milli = sharesMilli.reduce((sum, share) => sum + share, 0);
    return this.#shared.spreadIn(index, record, milli);
  }
}
