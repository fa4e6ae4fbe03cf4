import { describe, expect, it } from 'vitest';
import { reloaded } from '../../src/config/reload.js';
import { configSchema } from '../../src/config/schema.js';

describe('a configuration that is read anew', () => {
  const inForce = configSchema.parse({ limits: { host_load: 0.9 } });

  it('is taken in the sections that a running daemon can take', () => {
    const { config, waiting } = reloaded(inForce, configSchema.parse({ limits: { host_load: 0.8 } }));
    expect(config.limits.host_load).toBe(0.8);
    expect(waiting).toEqual([]);
  });

  it('waits for a restart in the others, which stay as they are', () => {
    const { config, waiting } = reloaded(inForce, configSchema.parse({ pinning: { live_nice: 0 } }));
    expect(config.pinning).toEqual(inForce.pinning);
    expect(config.limits).toEqual(configSchema.parse({}).limits);
    expect(waiting).toEqual(['pinning']);
  });

  it('waits in [monitor] for the library only', () => {
    const next = configSchema.parse({ monitor: { interval_ms: 500, nvml_library: '/opt/libnvidia-ml.so' } });
    const { config, waiting } = reloaded(inForce, next);
    expect(config.monitor.interval_ms).toBe(500);
    expect(config.monitor.nvml_library).toBe(inForce.monitor.nvml_library);
    expect(waiting).toEqual(['monitor']);
  });
});
