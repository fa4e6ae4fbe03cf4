import { isAbsolute } from 'node:path';
import { parseCpuset } from '../lib/cpuset.js';
import { type FieldViolation, invalidField, isCorecastError } from '../lib/errors.js';
import { hoursOf } from './hours.js';
import type { Config } from './schema.js';

/** What a schema of single keys cannot say. */
export function relations(config: Config): FieldViolation[] {
  const problems: FieldViolation[] = [];
  const check = (ok: boolean, key: string, value: unknown, expected: string) => {
    if (!ok) problems.push(...(invalidField(key, value, expected).details.violations ?? []));
  };
  const { daemon, cpus, monitor, leases, adjust } = config;
  check(isAbsolute(daemon.socket), 'daemon.socket', daemon.socket, 'an absolute path');
  check(isAbsolute(daemon.state_dir), 'daemon.state_dir', daemon.state_dir, 'an absolute path');
  check(
    isCpuList(cpus.housekeeping),
    'cpus.housekeeping',
    cpus.housekeeping,
    '"auto" or a CPU list: "0-1,8"',
  );
  for (const name of ['live', 'vod'] as const) {
    const pool = config.pools[name];
    const expected = '"any", "performance", "efficiency" or a CPU list: "8-15"';
    check(POOLS.includes(pool) || (pool !== '' && isCpuList(pool)), `pools.${name}`, pool, expected);
  }
  check(
    leases.lease_ms >= 2 * monitor.interval_ms,
    'leases.lease_ms',
    leases.lease_ms,
    `at least twice monitor.interval_ms (${monitor.interval_ms}), so that one late tick is no lost holder`,
  );
  check(
    adjust.sustain_ms >= monitor.interval_ms,
    'adjust.sustain_ms',
    adjust.sustain_ms,
    `at least monitor.interval_ms (${monitor.interval_ms}): a deviation is seen once a tick`,
  );
  check(
    hoursOf(config.training.hours) !== undefined,
    'training.hours',
    config.training.hours,
    'hours 0-23 as a list, such as "1-5,22"',
  );
  return problems;
}

const POOLS = ['any', 'performance', 'efficiency'];

function isCpuList(text: string): boolean {
  if (text === 'auto') return true;
  try {
    parseCpuset(text);
    return true;
  } catch (error) {
    if (isCorecastError(error)) return false;
    throw error;
  }
}
