/**
 * How well the allocator keeps room together over days of channels that come and go: a simulation of pure code, by seed.
 *
 *   npm run -s bench -- fragmentation [--json] [--days 7] [--seed 1] [--load 0.9]
 *
 * Channels arrive at random (Poisson) and stay for six hours on average (exponential), as many as fill `load` of the host
 * if none were refused; of 50, 35 want a part of one CPU, 10 two to four CPUs, 4 eight CPUs, one four whole cores. The same
 * arrivals meet, on each host:
 *
 *   allocator        as it ships
 *   all places       the same, looking at every place (FURTHER_LOOKS without end): what the limit costs
 *   defragmented     as it ships, with at most 4 migrations for one admission where only the place is missing
 *   first fit        the lowest CPUs with room, whatever their L3: what is done without an allocator
 *
 * fragmented_percent: arrivals that are refused although enough is free in all. refused_percent: all that are refused.
 * search_p50_ms, search_p99_ms: one search for migrations, of those that failed to place, found or not. spread_percent: of
 * those placed, that span several L3s, though one would hold them. migrations_per_day: of defragmented.
 * same_score_percent: placements of the shipped allocator, of those on one and the same host state, whose score is the
 * best of all places; worse_l3_percent of them span more L3s or nodes. Figures are of the largest host; the rows have all.
 */
import { fileURLToPath } from 'node:url';
import { topologyOf } from './decision/hosts.mjs';
import { Churn } from './fragmentation/churn.mjs';

const dist = process.env.CORECAST_DIST ?? fileURLToPath(new URL('../dist', import.meta.url));
const { seededRandom } = await import(`${dist}/feedback/random.js`);

const HOSTS = {
  '16 CPUs, one L3': { nodes: 1, l3sPerNode: 1, coresPerL3: 8 },
  '128 CPUs, 8 L3s': { nodes: 2, l3sPerNode: 4, coresPerL3: 8 },
  '1,024 CPUs, 64 L3s': { nodes: 4, l3sPerNode: 16, coresPerL3: 8 },
};
const POLICIES = ['allocator', 'all places', 'defragmented', 'first fit'];

export async function run({ days = 7, seed = 1, load = 0.9 } = {}) {
  const rows = [];
  for (const [host, shape] of Object.entries(HOSTS)) {
    const topology = topologyOf(shape);
    for (const policy of POLICIES) {
      const churn = new Churn(topology, policy, { load: Number(load), random: seededRandom(Number(seed)) });
      rows.push({ host, policy, ...churn.run(Number(days)) });
    }
  }
  const largest = Object.keys(HOSTS).at(-1);
  const of = (policy) => rows.find((row) => row.host === largest && row.policy === policy);
  const { fragmented_percent, refused_percent, spread_percent, same_score_percent, worse_l3_percent } =
    of('allocator');
  return {
    rows,
    figures: {
      days: Number(days),
      fragmented_percent,
      refused_percent,
      spread_percent,
      same_score_percent,
      worse_l3_percent,
      all_places_fragmented_percent: of('all places').fragmented_percent,
      defragmented_percent: of('defragmented').fragmented_percent,
      migrations_per_day: of('defragmented').migrations_per_day,
      search_p50_ms: of('defragmented').search_p50_ms,
      search_p99_ms: of('defragmented').search_p99_ms,
    },
    peers: {
      first_fit: {
        fragmented_percent: of('first fit').fragmented_percent,
        spread_percent: of('first fit').spread_percent,
      },
    },
  };
}
