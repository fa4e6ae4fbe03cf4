import type { Config } from '../config/schema.js';
import { type Cpuset, intersection, parseCpuset } from '../lib/cpuset.js';
import type { CoreKind, Topology } from '../topology/topology.js';

/**
 * The host with the CPUs that each class may have ([pools]). A kind of core that this host lacks is no limit: one
 * configuration serves hosts with and without efficiency cores. A CPU list is meant as it stands: where none of it can be
 * reserved, nothing of the class fits.
 */
export function withPools(topology: Topology, pools: Config['pools']): Topology {
  const live = poolOf(topology, pools.live);
  const vod = poolOf(topology, pools.vod);
  if (live === undefined && vod === undefined) return topology;
  return { ...topology, pools: { live: live ?? topology.schedulable, vod: vod ?? topology.schedulable } };
}

/** Undefined for no limit. */
function poolOf(topology: Topology, pool: string): Cpuset | undefined {
  if (pool === 'any') return undefined;
  if (pool !== 'performance' && pool !== 'efficiency')
    return intersection(parseCpuset(pool), topology.schedulable);
  const cpus = intersection(cpusOfKind(topology, pool), topology.schedulable);
  return cpus.length > 0 && cpus.length < topology.schedulable.length ? cpus : undefined;
}

function cpusOfKind({ cpus }: Topology, wanted: CoreKind): Cpuset {
  return cpus.filter(({ kind }) => kind === wanted).map(({ cpu }) => cpu);
}
