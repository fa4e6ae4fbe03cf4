/**
 * One admission decision, on hosts of 8 to 4,096 CPUs with a reservation for every other CPU, at most 2,000 (budget: under
 * 1 ms at p99 on the largest). Three fillings of each host: half full, crowded, and full, so that much is refused. The
 * requests are mixed (decision/requests.mjs): shared and exclusive, live and VOD, a tenth of a core to 24, some that fit
 * nowhere. Live channels share CPUs, and adding up what all who share need is part of the time. Between two decisions one reservation ends and another comes, in the index as the daemon keeps it.
 *
 *   npm run -s bench -- decision [--json] [--rounds 2000] [--seed 1]
 *
 * p50_us, p99_us: of all decisions on the largest host of the worse of its two shapes; worst_filling_p99_us: of the worst
 * of its six fillings alone. by_size: the same for every size. growth_p50, growth_p99: exponents e of time ~ CPUs^e,
 * least squares of the logarithms over the sizes from 64 CPUs.
 */
import { fileURLToPath } from 'node:url';
import { LoadedHost, topologyOf } from './decision/hosts.mjs';
import { drawRequest } from './decision/requests.mjs';

const dist = process.env.CORECAST_DIST ?? fileURLToPath(new URL('../dist', import.meta.url));
const { decide } = await import(`${dist}/balancer/decide.js`);
const { seededRandom } = await import(`${dist}/feedback/random.js`);

const SIZES = {
  8: { 'one L3': { nodes: 1, l3sPerNode: 1, coresPerL3: 4 } },
  64: { '4 L3s of 8 cores': { nodes: 1, l3sPerNode: 4, coresPerL3: 8 } },
  512: { '32 L3s of 8 cores': { nodes: 4, l3sPerNode: 8, coresPerL3: 8 } },
  4096: {
    '256 L3s of 8 cores': { nodes: 16, l3sPerNode: 16, coresPerL3: 8 },
    '8 L3s of 256 cores': { nodes: 8, l3sPerNode: 1, coresPerL3: 256 },
  },
};
const LARGEST = 4096;
const MOST_RESERVATIONS = 2_000;
/** Share of the host's capacity that is reserved. */
const FILLINGS = { 'half full': 0.5, crowded: 0.8, full: 0.97 };
const WARM_UP = 500;
const FIT_FROM_CPUS = 64;

export async function run({ rounds = 2_000, seed = 1 } = {}) {
  const decisions = [];
  for (const [cpus, shapes] of Object.entries(SIZES)) {
    for (const [shape, of] of Object.entries(shapes)) {
      const topology = topologyOf(of);
      for (const filling of Object.keys(FILLINGS)) {
        const where = { cpus: Number(cpus), shape, filling };
        decisions.push(...measure(topology, where, Number(rounds), Number(seed)));
      }
    }
  }
  const bySize = Object.fromEntries(
    Object.keys(SIZES).map((cpus) => [cpus, sizeOf(decisions, Number(cpus))]),
  );
  const { p50_us, p99_us, reservations, worst_filling_p99_us } = bySize[LARGEST];
  return {
    rows: rowsOf(decisions),
    figures: {
      cpus: LARGEST,
      reservations,
      p50_us,
      p99_us,
      worst_filling_p99_us,
      growth_p50: growth(bySize, 'p50_us'),
      growth_p99: growth(bySize, 'p99_us'),
      by_size: bySize,
    },
  };
}

function measure(topology, where, rounds, seed) {
  const random = seededRandom(seed);
  const reservations = Math.min(MOST_RESERVATIONS, where.cpus / 2);
  const host = new LoadedHost(topology, { reservations, filled: FILLINGS[where.filling], random });
  const decisions = [];
  for (let round = -WARM_UP; round < rounds; round++) {
    host.churn();
    const { kind, input } = drawRequest(random, topology, host.index, reservations);
    const from = performance.now();
    const verdict = decide({ ...input, sharing: host.sharing() });
    const us = (performance.now() - from) * 1000;
    if (round >= 0) decisions.push({ ...where, kind, us, fits: verdict.fits, reservations });
  }
  return decisions;
}

function sizeOf(decisions, cpus) {
  const here = decisions.filter((one) => one.cpus === cpus);
  const quantiles = (groups, q) => groups.map((group) => quantile(group, q));
  const shapes = groupsOf(here, ({ shape }) => shape);
  const fillings = groupsOf(here, ({ shape, filling }) => `${shape}/${filling}`);
  return {
    reservations: Math.max(...here.map(({ reservations }) => reservations)),
    p50_us: Math.max(...quantiles(shapes, 0.5)),
    p99_us: Math.max(...quantiles(shapes, 0.99)),
    worst_filling_p99_us: Math.max(...quantiles(fillings, 0.99)),
  };
}

/** The largest host by kind of request, the others in one row a filling. */
function rowsOf(decisions) {
  const name = ({ cpus, kind }) => (cpus === LARGEST ? kind : 'mixed');
  return groupsOf(decisions, (one) => [one.cpus, one.shape, one.filling, name(one)].join('/')).map(
    (group) => {
      const { cpus, shape, filling, reservations } = group[0];
      return {
        cpus,
        shape,
        filling,
        reservations,
        request: name(group[0]),
        accepted: group.filter(({ fits }) => fits).length / group.length,
        p50_us: quantile(group, 0.5),
        p99_us: quantile(group, 0.99),
      };
    },
  );
}

function groupsOf(decisions, key) {
  const groups = new Map();
  for (const one of decisions) {
    const of = key(one);
    if (!groups.has(of)) groups.set(of, []);
    groups.get(of).push(one);
  }
  return [...groups.values()];
}

function growth(bySize, figure) {
  const points = Object.entries(bySize)
    .filter(([cpus]) => Number(cpus) >= FIT_FROM_CPUS)
    .map(([cpus, of]) => [Math.log(Number(cpus)), Math.log(of[figure])]);
  const mean = (k) => points.reduce((sum, point) => sum + point[k], 0) / points.length;
  const [x, y] = [mean(0), mean(1)];
  const covariance = points.reduce((sum, [a, b]) => sum + (a - x) * (b - y), 0);
  return covariance / points.reduce((sum, [a]) => sum + (a - x) ** 2, 0);
}

function quantile(decisions, q) {
  const sorted = decisions.map(({ us }) => us).sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];
}
