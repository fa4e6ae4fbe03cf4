import { type Cpuset, cpuset, difference, formatCpuset } from '../lib/cpuset.js';
import { CorecastError } from '../lib/errors.js';

const FIELD = 'cpus.housekeeping';
/** With fewer cores than this, giving one away costs more than the daemon's own work disturbs. */
const LEAST_CORES = 4;

/**
 * CPUs that are never reserved. 'auto': the first usable core with all its CPUs, where there are enough cores; one that has
 * its timer tick, where some have not (nohz_full=): those were set free of such work. A list is the operator's word, so one that cannot be right is refused, not bent.
 */
export function chooseHousekeeping(
  wanted: 'auto' | Cpuset,
  present: Cpuset,
  usable: Cpuset,
  cores: ReadonlyMap<number, number>,
  nohzFull: ReadonlySet<number> = new Set(),
): Cpuset {
  if (wanted === 'auto') {
    const usableCores = new Set(usable.map((cpu) => cores.get(cpu)));
    if (usableCores.size < LEAST_CORES) return [];
    const first = cores.get(usable.find((cpu) => !nohzFull.has(cpu)) ?? usable[0]!);
    return present.filter((cpu) => cores.get(cpu) === first);
  }
  const unknown = difference(cpuset(wanted), present);
  if (unknown.length > 0) {
    throw invalid(
      wanted,
      `CPU ${formatCpuset(unknown)} does not exist; this host has ${formatCpuset(present)}`,
    );
  }
  if (usable.length > 0 && difference(usable, wanted).length === 0) {
    throw invalid(
      wanted,
      `no CPU is left to reserve; leave out at least one of ${formatCpuset(usable)}, or use "auto"`,
    );
  }
  return cpuset(wanted);
}

function invalid(wanted: Cpuset, why: string): CorecastError {
  const description = `${FIELD} is "${formatCpuset(cpuset(wanted))}": ${why}`;
  return new CorecastError('CONFIG_INVALID', description, { violations: [{ field: FIELD, description }] });
}
