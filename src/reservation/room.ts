import type { Verdict } from '../balancer/decide.js';
import type { Reason } from '../balancer/decision.js';
import type { Config } from '../config/schema.js';
import { formatCpuset } from '../lib/cpuset.js';
import { isCorecastError } from '../lib/errors.js';
import type { ChannelRequest } from '../rpc/control.js';
import type { Admission, Forecasts, Place } from './admission.js';
import {
  type Ask,
  type Concession,
  defragment,
  preempt,
  type Tenant,
  type Trial,
} from './allocator-make-room.js';
import type { OccupancyIndex } from './allocator-occupancy.js';
import type { Book, Part } from './book.js';
import { cpusetOf, milliOf } from './cpu-shares.js';
import type { ReservationDeps } from './deps.js';
import type { LedgerRecord } from './ledger-format.js';
import type { Lifetimes } from './lifetimes.js';
import type { Reservation } from './reservation.js';
import type { SharedCpus } from './shared-cpus.js';

/** What stands against a request whose room can be made, and by which way. */
const FRAGMENTED: readonly Reason['code'][] = ['NO_PLACEMENT'];
const LENT: readonly Reason['code'][] = ['CPU_SHORT'];
const CROWDED: readonly Reason['code'][] = ['NO_PLACEMENT', 'CPU_SHORT', 'HOST_LOAD'];
/** Decisions that one search for a defragmentation may take. */
const TRIES = 64;
/** A decision that must prove that nothing fits may take some 50 ms; nobody else is served meanwhile. */
const SEARCH_MS = 50;
const TOO_LATE: Trial = { fits: false, cpus: [], missing: Number.POSITIVE_INFINITY };

export interface Asking {
  readonly request: ChannelRequest;
  readonly forecasts: Forecasts;
  readonly place: Place;
}

/** The verdict on a request for which others make room, and what they do for it. */
export interface Room {
  readonly verdict: Verdict;
  readonly concessions: readonly Concession[];
}

/** Makes room for a request that does not fit: allocator-make-room.ts says how, this looks who may be asked and does it. */
export class RoomMaker {
  readonly #deps: ReservationDeps;
  readonly #book: Book;
  readonly #admission: Admission;
  readonly #shared: SharedCpus;
  readonly #lifetimes: Lifetimes;
  readonly #requeues: (id: string) => boolean;

  /** `requeues`: whether its holder is there and can start FFmpeg anew. */
  constructor(
    deps: ReservationDeps,
    book: Book,
    admission: Admission,
    shared: SharedCpus,
    lifetimes: Lifetimes,
    requeues: (id: string) => boolean,
  ) {
    this.#shared = shared;
    this.#lifetimes = lifetimes;
    this.#requeues = requeues;
    this.#deps = deps;
    this.#book = book;
    this.#admission = admission;
  }

  /** Changes nothing. Undefined when it fits as it is, and when nobody's giving way would help. */
  find(asking: Asking, refused: Verdict): Room | undefined {
    if (refused.fits || !refused.waitingHelps) return undefined;
    const { vod, migrations } = this.#deps.preemption();
    const against = refused.reasons.filter(({ passed }) => !passed).map(({ code }) => code);
    const may = (codes: readonly Reason['code'][]) => against.every((code) => codes.includes(code));
    const { exclusive, channelClass } = asking.request;
    const index = this.#index();
    if (refused.loan !== undefined && may(LENT)) {
      const loans = this.#shared.lending(index, this.tenants(), refused.loan);
      const room = loans && this.#outcome(index, asking, loans, 'BORROWED');
      if (room !== undefined) return room;
    }
    if (migrations > 0 && may(FRAGMENTED)) {
      const ask = this.#timed(() => trialOf(this.#decide(asking, 0)));
      const budget = { migrations, tries: TRIES };
      const moves = defragment(index, this.tenants(), { exclusive, ask }, budget);
      const room = moves && this.#outcome(index, asking, moves, 'DEFRAGMENTED');
      if (room !== undefined) return room;
    }
    if (channelClass !== 'live' || vod === 'none' || !may(CROWDED)) return undefined;
    const tenants = this.tenants(vod).filter((tenant) => tenant.channelClass === 'vod');
    for (const keep of [true, false]) {
      const ask = this.#timed((away) => trialOf(this.#decide(asking, sumOf(away))));
      const given = preempt(index, tenants, { exclusive, ask }, keep);
      const room = given && this.#outcome(index, asking, given, 'PREEMPTED');
      if (room !== undefined) return room;
    }
    return undefined;
  }

  /**
   * Writes what was found together with the newcomer's part. Undefined when things have changed since, in which case
   * nothing was done.
   */
  take(
    { concessions }: Room,
    asking: Asking,
    title: string,
    newcomer: (verdict: Verdict) => Part,
  ): Promise<LedgerRecord | undefined> {
    const ids = concessions.map(({ tenant }) => tenant.id).sort();
    // In one order everywhere, so that two who make room never wait for each other.
    const locked = ids.reduceRight<() => Promise<LedgerRecord | undefined>>(
      (inner, id) => () => this.#book.lock(id, inner),
      async () => {
        if (!concessions.every(({ tenant }) => this.asItWas(tenant))) return undefined;
        const room = this.#outcome(this.#index(), asking, concessions, codeOf(concessions));
        if (room === undefined) return undefined;
        return this.#book.exchange(
          newcomer(room.verdict),
          concessions.map((one) => this.giving(one, title)),
        );
      },
    );
    return locked();
  }

  /** After SEARCH_MS nothing fits any more, and the search ends. */
  #timed(ask: Ask): Ask {
    const untilMs = this.#deps.clock.monotonicMs() + SEARCH_MS;
    return (away) => (this.#deps.clock.monotonicMs() > untilMs ? TOO_LATE : ask(away));
  }

  /** The decision with everybody where the concessions put them. */
  #outcome(
    index: OccupancyIndex,
    asking: Asking,
    concessions: readonly Concession[],
    code: Way,
  ): Room | undefined {
    // What is lent was not used.
    const given = concessions.reduce(
      (sum, { tenant, cpus, way }) => sum + (way === 'lend' ? 0 : milliOf(tenant.cpus) - milliOf(cpus)),
      0,
    );
    for (const { tenant } of concessions) index.release(tenant.cpus, tenant.exclusive);
    for (const { tenant, cpus } of concessions) index.reserve(cpus, tenant.exclusive);
    try {
      const verdict = this.#decide(asking, given);
      if (!verdict.fits) return undefined;
      const reasons = [...verdict.reasons, reasonOf(code, concessions)];
      return { verdict: { ...verdict, reasons }, concessions };
    } finally {
      for (const { tenant, cpus } of concessions) index.release(cpus, tenant.exclusive);
      for (const { tenant } of concessions) index.reserve(tenant.cpus, tenant.exclusive);
    }
  }

  /** Its part of the write. `title`: who gets the room. */
  giving({ tenant: { id, cpus: before }, way, cpus }: Concession, title: string): Part {
    const reason = `${PREFIX[way] ?? ''}makes room for ${title}`;
    if (way === 'requeue') {
      const kernel = (after: Reservation) => this.#lifetimes.setFree(after);
      return this.#book.part(id, { step: 'requeue' }, { reason, event: 'requeued', kernel });
    }
    if (way === 'pause') {
      return this.#book.part(
        id,
        { step: 'pause' },
        { reason, event: 'paused', set: { wasPaused: true }, kernel: ({ process }) => this.#stop(process!) },
      );
    }
    return this.#book.part(
      id,
      { step: 'assign', cpus },
      {
        reason,
        event: way === 'move' ? 'moved' : 'shrunk',
        kernel: ({ process }) => {
          // Who lends thousandths mostly stays where it is.
          if (way !== 'lend' || cpus.length !== before.length)
            this.#deps.pinning.pin(process!, cpusetOf(cpus));
        },
      },
    );
  }

  #stop(process: NonNullable<LedgerRecord['reservation']['process']>): void {
    try {
      this.#deps.signals.stop(process);
    } catch (error) {
      // Its end is on its way: nobody is left on the CPUs.
      if (!isCorecastError(error, 'PROCESS_GONE')) throw error;
    }
  }

  /** Running channels that may be asked. `vod`: how VOD may yield; whether it can is looked up only then. */
  tenants(vod: Policy = 'none'): Tenant[] {
    const tenants: Tenant[] = [];
    for (const record of this.#book.settled()) {
      if (!mayMove(record)) continue;
      const { id, cpus, exclusive, channelClass, priority, createdMs } = record.reservation;
      const yields = channelClass === 'vod' ? this.#yields(record, vod) : undefined;
      const spread = this.#shared.spreadOf(record);
      tenants.push({
        ...{ id, cpus, exclusive, channelClass, priority, createdMs },
        ...(yields === undefined ? {} : { yields }),
        ...(spread === undefined ? {} : { spread }),
      });
    }
    return tenants;
  }

  #yields({ reservation, request }: LedgerRecord, vod: Policy): Tenant['yields'] {
    const { id, state, process } = reservation;
    const anew = state === 'ACTIVE' && reservation.selfHeld !== true && request !== undefined;
    if (vod === 'requeue' && anew && this.#requeues(id)) return 'requeue';
    const may = vod === 'pause' || vod === 'requeue';
    return may && this.#deps.signals.mayStop(process!) ? 'pause' : undefined;
  }

  asItWas({ id, cpus }: Tenant): boolean {
    const record = this.#book.ledger.get(id);
    return (
      record !== undefined && mayMove(record) && record.reservation.cpus === cpus && this.#book.isSettled(id)
    );
  }

  #decide({ request, forecasts, place }: Asking, awayMilli: number): Verdict {
    return this.#admission.decide(request, forecasts, place, awayMilli);
  }

  #index(): OccupancyIndex {
    return this.#book.occupancy(this.#deps.topology(), this.#deps.smtCoreMilli());
  }
}

/** A process that is about to be replaced is not followed about. */
function mayMove({ reservation: { state, process }, restarting }: LedgerRecord): boolean {
  return (state === 'ACTIVE' || state === 'ORPHANED') && process !== undefined && !restarting;
}

function trialOf(verdict: Verdict): Trial {
  const short = verdict.reasons.find(({ code, passed }) => !passed && CROWDED.includes(code));
  return {
    fits: verdict.fits,
    cpus: verdict.cpus,
    missing: short === undefined ? 0 : short.needed - short.available,
  };
}

function sumOf(tenants: readonly Tenant[]): number {
  return tenants.reduce((sum, { cpus }) => sum + milliOf(cpus), 0);
}

type Policy = Config['preemption']['vod'];
const PREFIX: Partial<Record<Concession['way'], string>> = {
  pause: 'paused: ',
  requeue: 'waits for room again: ',
};

type Way = 'PREEMPTED' | 'DEFRAGMENTED' | 'BORROWED';

function codeOf(concessions: readonly Concession[]): Way {
  if (concessions.every(({ way }) => way === 'lend')) return 'BORROWED';
  return concessions.every(({ way }) => way === 'move') ? 'DEFRAGMENTED' : 'PREEMPTED';
}

/** So many concessions are named in a decision. */
const MOST_NAMED = 4;

function reasonOf(code: Way, concessions: readonly Concession[]): Reason {
  const named = concessions.slice(0, MOST_NAMED).map(({ tenant, way, cpus }) => {
    const from = `CPUs ${formatCpuset(cpusetOf(tenant.cpus))}`;
    const kind = tenant.channelClass === 'vod' ? `VOD ${tenant.id} (priority ${tenant.priority})` : tenant.id;
    if (way === 'pause') return `${kind} is paused and gives ${from}`;
    if (way === 'requeue') return `${kind} waits for room again and gives ${from}`;
    if (way === 'lend')
      return `${kind} needs no more than ${milliOf(cpus)} of its ${milliOf(tenant.cpus)} thousandths`;
    return `${kind} ${way === 'move' ? 'moves' : 'shrinks'} from ${from} to ${formatCpuset(cpusetOf(cpus))}`;
  });
  const more = concessions.length - named.length;
  return {
    code,
    text: `room is made: ${named.join('; ')}${more > 0 ? `; and ${more} more` : ''}`,
    needed: concessions.length,
    available: concessions.length,
    unit: 'channels',
    passed: true,
  };
}
