import { defineConfig } from 'vitest/config';

/**
 * Two groups, one after the other: what needs no particular peace runs on both CPUs of the smallest host there is; what
 * runs daemons, encoders and kernel work runs alone, because a neighbour's load is what it measures and reacts to.
 */
export default defineConfig({
  test: {
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // Tests that load onnxruntime without src/forecast/inference.ts: it must not report to its maker from there either.
    env: { ORT_DISABLE_TELEMETRY: '1' },
    projects: [
      {
        extends: true,
        test: {
          name: 'quick',
          include: ['test/{unit,property,simulation}/**/*.test.ts'],
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'host',
          include: ['test/{native,integration}/**/*.test.ts'],
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
