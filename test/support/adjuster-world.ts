import { Adjuster, type AdjusterDeps } from '../../src/adjuster/adjuster.js';
import { configSchema } from '../../src/config/schema.js';
import { silentLog } from '../../src/lib/log.js';

/** An adjuster whose channels, CPUs and levers are the test's; levers that are not given do nothing. */
export function adjusterWorld(
  parts: Pick<AdjusterDeps, 'active' | 'usage' | 'idleCores' | 'place'> & Partial<AdjusterDeps>,
  tickMs: number,
) {
  const clock = { now: 0, nowMs: () => clock.now, monotonicMs: () => clock.now };
  const adjuster = new Adjuster({
    clock,
    log: silentLog,
    config: () => configSchema.parse({}),
    reforecast: async () => undefined,
    shared: () => undefined,
    closing: () => undefined,
    couldGrowOverVod: () => false,
    growOverVod: async () => false,
    resize: async () => {},
    setRung: async () => {},
    direct: () => true,
    overloaded: () => {},
    ...parts,
  });
  /** Looks once in `tickMs`; `before` each look. */
  const run = async (seconds: number, before = () => {}) => {
    for (let ms = 0; ms < seconds * 1_000; ms += tickMs) {
      clock.now += tickMs;
      before();
      await adjuster.tick();
    }
  };
  return { adjuster, run };
}
