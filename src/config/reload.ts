import { isDeepStrictEqual } from 'node:util';
import type { Config } from './schema.js';

/** Sections that a running daemon takes; of [monitor] all but its library, which is loaded once. */
const AT_ONCE = [
  'limits',
  'sharing',
  'pools',
  'preemption',
  'leases',
  'adjust',
  'training',
  'cpus',
  'monitor',
] as const satisfies readonly (keyof Config)[];

/** What a new configuration makes of the one in force, and the sections whose changes wait for a restart. */
export function reloaded(inForce: Config, next: Config): { config: Config; waiting: (keyof Config)[] } {
  const taken = Object.fromEntries(AT_ONCE.map((section) => [section, next[section]]));
  const { nvml_library } = inForce.monitor;
  const config = { ...inForce, ...taken, monitor: { ...next.monitor, nvml_library } };
  const sections = Object.keys(next) as (keyof Config)[];
  return {
    config,
    waiting: sections.filter((section) => !isDeepStrictEqual(next[section], config[section])),
  };
}
