/** Channels that come and go on one host, placed by one policy. */
import { fileURLToPath } from 'node:url';
import { SMT_CORE_MILLI } from '../decision/hosts.mjs';

const dist = process.env.CORECAST_DIST ?? fileURLToPath(new URL('../../dist', import.meta.url));
const { OccupancyIndex, place } = await import(`${dist}/reservation/allocator.js`);
const { defragment } = await import(`${dist}/reservation/allocator-make-room.js`);
const { SCORE } = await import(`${dist}/reservation/allocator-score.js`);

const STAY_HOURS = 6;
const BUDGET = { migrations: 4, tries: 64 };
/** One in so many placements is compared with the best of all places. */
const COMPARE_EVERY = 10;
const SPANS = ['severalL3s', 'nodes', 'l3s'];

/** Of 50 arrivals: how many, CPUs from and to, thousandths of each from and to. */
const KINDS = [
  { weight: 35, cpus: [1, 1], milli: [100, 800] },
  { weight: 10, cpus: [2, 4], milli: [500, 900] },
  { weight: 4, cpus: [8, 8], milli: [600, 650] },
  { weight: 1, cpus: [8, 8], milli: [650, 650], exclusive: true },
];
const BAG = KINDS.flatMap((kind) => new Array(kind.weight).fill(kind));
const MEAN_MILLI =
  BAG.reduce((sum, { cpus, milli }) => sum + ((cpus[0] + cpus[1]) / 2) * ((milli[0] + milli[1]) / 2), 0) /
  BAG.length;

export class Churn {
  constructor(topology, policy, { load, random }) {
    this.index = new OccupancyIndex(topology, SMT_CORE_MILLI);
    this.policy = policy;
    this.random = random;
    this.perHour = (load * this.index.capacityMilli) / MEAN_MILLI / STAY_HOURS;
    this.held = new Map();
    this.ids = 0;
    this.counts = { arrived: 0, refused: 0, fragmented: 0, placed: 0, spread: 0, migrations: 0 };
    this.searches = [];
    this.compared = { all: 0, same: 0, worseSpan: 0 };
  }

  /** The first day fills the host and is not counted. */
  run(days) {
    const ends = [];
    let counting = false;
    for (let hour = 0; hour < 24 * (days + 1); ) {
      hour += -Math.log(1 - this.random()) / this.perHour;
      if (!counting && hour >= 24) {
        for (const key of Object.keys(this.counts)) this.counts[key] = 0;
        counting = true;
      }
      ends.sort((a, b) => a.hour - b.hour);
      while (ends.length > 0 && ends[0].hour <= hour) this.#leave(ends.shift().id);
      const stays = -Math.log(1 - this.random()) * STAY_HOURS;
      const id = this.#arrive();
      if (id !== undefined) ends.push({ hour: hour + stays, id });
    }
    return this.#result(days);
  }

  #arrive() {
    const request = this.#draw();
    this.counts.arrived++;
    const milli = request.sharesMilli.reduce((a, b) => a + b, 0);
    let found = this.#place(request);
    if (found === undefined && milli <= this.index.freeMilli) {
      if (this.policy === 'defragmented') found = this.#defragment(request);
      if (found === undefined) this.counts.fragmented++;
    }
    if (found === undefined) {
      this.counts.refused++;
      return undefined;
    }
    const id = `c${++this.ids}`;
    this.index.reserve(found, request.exclusive);
    const { exclusive, channelClass } = request;
    this.held.set(id, {
      id,
      cpus: found,
      exclusive,
      channelClass,
      priority: 50,
      createdMs: 0,
    });
    this.counts.placed++;
    if (this.#l3sOf(found) > 1) this.counts.spread++;
    return id;
  }

  #draw() {
    const { cpus, milli, exclusive = false } = BAG[Math.floor(this.random() * BAG.length)];
    const count = cpus[0] + Math.floor(this.random() * (cpus[1] - cpus[0] + 1));
    const share = Math.round(milli[0] + this.random() * (milli[1] - milli[0]));
    const sharesMilli = new Array(count).fill(share);
    return { sharesMilli, exclusive, channelClass: 'live', smtCoreMilli: SMT_CORE_MILLI };
  }

  #place(request) {
    if (this.policy === 'first fit') return firstFit(this.index, request);
    const looks = this.policy === 'all places' ? Number.POSITIVE_INFINITY : undefined;
    const found = place(this.index, request, looks);
    if (!found.ok) return undefined;
    if (this.policy === 'allocator' && this.counts.arrived % COMPARE_EVERY === 0)
      this.#compare(request, found.score);
    return found.cpus;
  }

  /** With the best that looking at every place finds on the same state. */
  #compare(request, score) {
    const best = place(this.index, request, Number.POSITIVE_INFINITY).score;
    this.compared.all++;
    if (SCORE.every((name) => score[name] === best[name])) this.compared.same++;
    if (SPANS.some((name) => score[name] > best[name])) this.compared.worseSpan++;
  }

  #defragment(request) {
    const ask = () => {
      const found = place(this.index, request);
      return found.ok
        ? { fits: true, cpus: found.cpus, missing: 0 }
        : { fits: false, cpus: [], missing: found.explain().missingMilli };
    };
    const began = performance.now();
    const moves = defragment(
      this.index,
      [...this.held.values()],
      { exclusive: request.exclusive, ask },
      BUDGET,
    );
    this.searches.push(performance.now() - began);
    if (moves === undefined) return undefined;
    for (const { tenant } of moves) this.index.release(tenant.cpus, tenant.exclusive);
    for (const { tenant, cpus } of moves) {
      this.index.reserve(cpus, tenant.exclusive);
      this.held.set(tenant.id, { ...tenant, cpus });
    }
    this.counts.migrations += moves.length;
    return this.#place(request);
  }

  #leave(id) {
    const { cpus, exclusive } = this.held.get(id);
    this.held.delete(id);
    this.index.release(cpus, exclusive);
  }

  #l3sOf(cpus) {
    const { host } = this.index;
    return new Set(cpus.map(({ cpu }) => host.cells[host.cellOf[host.coreOf[host.slotOf.get(cpu)]]].l3)).size;
  }

  #result(days) {
    const { arrived, refused, fragmented, placed, spread, migrations } = this.counts;
    const { all, same, worseSpan } = this.compared;
    const percent = (part, whole) => (whole === 0 ? 0 : Number(((100 * part) / whole).toFixed(3)));
    return {
      arrived,
      refused_percent: percent(refused, arrived),
      fragmented_percent: percent(fragmented, arrived),
      spread_percent: percent(spread, placed),
      ...(this.searches.length === 0
        ? {}
        : { search_p50_ms: quantile(this.searches, 0.5), search_p99_ms: quantile(this.searches, 0.99) }),
      migrations_per_day: Number((migrations / days).toFixed(2)),
      ...(all === 0
        ? {}
        : { same_score_percent: percent(same, all), worse_l3_percent: percent(worseSpan, all) }),
    };
  }
}

function quantile(values, q) {
  const sorted = [...values].sort((a, b) => a - b);
  return Number(sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))].toFixed(2));
}

/** Each share, largest first, on the lowest CPU that has room for it. */
function firstFit(index, { sharesMilli, exclusive }) {
  const { host, free, capacity } = index;
  const room = index.room.slice();
  const cpus = [];
  if (exclusive) {
    const wanted = Math.ceil(sharesMilli.length / 2);
    const cores = host.allCores.filter((core) => host.whole[core] === 1 && room[core] === capacity[core]);
    if (cores.length < wanted) return undefined;
    for (const core of cores.slice(0, wanted)) {
      const count = host.firstSlot[core + 1] - host.firstSlot[core];
      const shareMilli = Math.floor(capacity[core] / count);
      for (let slot = host.firstSlot[core]; slot < host.firstSlot[core + 1]; slot++)
        cpus.push({ cpu: host.cpuOf[slot], shareMilli });
    }
    return cpus;
  }
  let slot = 0;
  for (const shareMilli of sharesMilli) {
    while (slot < free.length && (free[slot] < shareMilli || room[host.coreOf[slot]] < shareMilli)) slot++;
    if (slot === free.length) return undefined;
    room[host.coreOf[slot]] -= shareMilli;
    cpus.push({ cpu: host.cpuOf[slot], shareMilli });
    slot++;
  }
  return cpus;
}
