import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ClipSpec } from '../../src/client/calibrate-clips.js';
import { Measurer } from '../../src/client/calibrate-measure.js';
import type { PlanEntry } from '../../src/client/calibrate-plan.js';
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
  it('is a real run: enough CPU time to be exact, and a slower preset costs more', async () => {
    const measurer = new Measurer({ ffmpeg: 'ffmpeg', cacheDir: dir, svtAv1Major: 1, clock: systemClock });
    const fast = (await measurer.measure(entry('ultrafast', 0.08)))!;
    const slow = (await measurer.measure(entry('slower', 0.7)))!;
    for (const run of [fast, slow]) {
      expect(run.cpuSeconds).toBeGreaterThan(0.4);
      expect(run.wallSeconds).toBeGreaterThan(run.cpuSeconds * 0.8);
      expect(run).toMatchObject({ origin: 'calibration', cpuCount: 1, source: 'testsrc2' });
      expect(run.signature.input).toMatchObject({ codec: 'h264', width: 426, height: 240, fps: 25 });
      expect(run.signature.complexity.bitsPerPixel).toBeGreaterThan(0);
      const [sample] = run.samples;
      expect(sample!.demandCores).toBeCloseTo(run.cpuSeconds / run.mediaSeconds, 3);
      expect(sample!.coreUsage).toEqual([Math.min(1, sample!.demandCores)]);
      expect(sample!.hostLoad).toBeGreaterThan(0);
    }
    const cost = (run: typeof fast) => run.cpuSeconds / run.mediaSeconds;
    expect(cost(slow)).toBeGreaterThan(2 * cost(fast));
  });
});
