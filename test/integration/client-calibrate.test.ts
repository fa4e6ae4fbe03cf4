import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ClipSpec } from '../../src/client/calibrate-clips.js';
import { Measurer } from '../../src/client/calibrate-measure.js';
import type { PlanEntry } from '../../src/client/calibrate-plan.js';
import { allowedCpus } from '../../src/client/host-glance.js';
import type { Run } from '../../src/history/records.js';
import { systemClock } from '../../src/lib/clock.js';
import { haveFfmpeg } from '../support/client-against-server.js';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'corecast-calibrate-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const CLIP: ClipSpec = {
  picture: { made: 'testsrc2' },
  codec: 'h264',
  width: 426,
  height: 240,
  fps: 25,
  original: false,
};
const entry = (preset: string, roughCores: number): PlanEntry => ({
  id: `cal-${preset}`,
  clip: CLIP,
  encoder: 'libx264',
  encoderOptions: ['-preset', preset],
  outputs: [{ width: 426, height: 240, fps: 0, rate: ['-crf', '23'] }],
  cpuCount: 1,
  roughCores,
});

describe.skipIf(!haveFfmpeg)('a calibration measurement', { timeout: 120_000 }, () => {
  const measurer = () =>
    new Measurer({ ffmpeg: 'ffmpeg', cacheDir: dir, svtAv1Major: 1, clock: systemClock });
  const cost = (run: Run) => run.cpuSeconds / run.mediaSeconds;

  it('is a real run, paced where the CPU keeps it up, and a slower preset costs more', async () => {
    const cpus = allowedCpus().slice(0, 1);
    const one = measurer();
    const fast = (await one.measure(entry('ultrafast', 0.08), cpus))!;
    // Guessed to be too much for a CPU: as fast as it will go.
    const slow = (await one.measure(entry('slower', 2), cpus))!;
    expect(fast.wallSeconds / fast.mediaSeconds).toBe(1);
    expect(slow.cpuSeconds).toBeGreaterThan(0.8);
    expect(slow.wallSeconds).toBeGreaterThan(slow.cpuSeconds * 0.8);
    for (const run of [fast, slow]) {
      expect(run).toMatchObject({ origin: 'calibration', cpuCount: 1, source: 'testsrc2' });
      expect(run.signature.input).toMatchObject({ codec: 'h264', width: 426, height: 240, fps: 25 });
      expect(run.signature.complexity.bitsPerPixel).toBeGreaterThan(0);
      const [sample] = run.samples;
      expect(sample!.demandCores).toBeCloseTo(run.cpuSeconds / run.mediaSeconds, 3);
      expect(sample!.coreUsage).toEqual([Math.min(1, sample!.demandCores)]);
      expect(sample!.hostLoad).toBeGreaterThan(0);
    }
    expect(cost(slow)).toBeGreaterThan(2 * cost(fast));
  });

  it('brings every level of complexity along, and the trial is near what the run took', async () => {
    const run = (await measurer().measure(entry('medium', 0.2), allowedCpus().slice(0, 1)))!;
    const { spatial, temporal, probeCpuSecondsPerFrame } = run.signature.complexity;
    expect(spatial).toBeGreaterThan(0);
    expect(temporal).toBeGreaterThan(0);
    // A loaded host blurs both; of another order they never are.
    const trial = probeCpuSecondsPerFrame! * run.signature.input.fps;
    expect(trial / cost(run)).toBeGreaterThan(0.4);
    expect(trial / cost(run)).toBeLessThan(2.5);
  });
});
