import { appendFileSync, mkdtempSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseBench } from '../../src/client/bench-line.js';
import { clipGrid } from '../../src/client/calibrate-clips.js';
import { commandWords } from '../../src/client/calibrate-measure.js';
import { calibrationPlan, SIZES } from '../../src/client/calibrate-plan.js';
import { parseFfmpegCommand } from '../../src/client/ffmpeg-args.js';
import { busyShares, parseCpuTimes } from '../../src/client/host-glance.js';
import { plannedOutputs } from '../../src/client/outputs.js';
import { RunsFile, readRuns } from '../../src/client/runs-file.js';
import type { Run } from '../../src/history/records.js';

const CLIPS = clipGrid(SIZES, [{ path: '/clips/a.mp4', codec: 'h264', width: 768, height: 432, fps: 12.5 }]);
const ENCODERS = ['libx264', 'libx265', 'libsvtav1', 'libvpx-vp9', 'mpeg2video'];
const plan = (seed: number, cpus = 4) =>
  calibrationPlan({ runs: 300, seed, encoders: ENCODERS, clips: CLIPS, cpus });

describe('calibrationPlan', () => {
  it('is the same for the same seed, and another for another', () => {
    expect(plan(1)).toEqual(plan(1));
    expect(plan(2).map((e) => e.id)).not.toEqual(plan(1).map((e) => e.id));
  });

  it('holds no setting twice, only encoders there are, and CPU counts that are powers of two', () => {
    const entries = plan(1);
    expect(entries).toHaveLength(300);
    expect(new Set(entries.map((e) => e.id)).size).toBe(300);
    expect(new Set(entries.map((e) => e.encoder))).toEqual(new Set(ENCODERS));
    expect(new Set(entries.map((e) => e.cpuCount))).toEqual(new Set([1, 2, 4]));
  });

  it('covers sizes, ladders, both ways of rate control and several frame rates', () => {
    const entries = plan(1);
    const outputs = entries.flatMap((e) => e.outputs);
    expect(new Set(outputs.map((o) => o.height)).size).toBeGreaterThanOrEqual(SIZES.length);
    expect(entries.filter((e) => e.outputs.length > 1).length).toBeGreaterThan(30);
    for (const rate of ['-crf', '-b:v'])
      expect(outputs.filter((o) => o.rate[0] === rate).length).toBeGreaterThan(50);
    expect(new Set(outputs.map((o) => o.fps)).size).toBeGreaterThan(4);
  });

  it('writes command lines that the wrapper reads back as they were meant', () => {
    for (const entry of plan(3).slice(0, 100)) {
      const command = parseFfmpegCommand(commandWords('ffmpeg', entry, 'clip.mkv', 2));
      const picture = { ...entry.clip, bitDepth: 8 };
      const read = plannedOutputs(command, [picture]).map(({ video }) => video);
      expect(read.map((o) => [o.encoder, o.width, o.height, o.fps])).toEqual(
        entry.outputs.map((o) => [entry.encoder, o.width, o.height, o.fps || entry.clip.fps]),
      );
    }
  });

  it('is empty without encoders or clips', () => {
    expect(calibrationPlan({ runs: 5, seed: 1, encoders: [], clips: CLIPS, cpus: 1 })).toEqual([]);
    expect(calibrationPlan({ runs: 5, seed: 1, encoders: ENCODERS, clips: [], cpus: 1 })).toEqual([]);
  });
});

it('parseBench reads FFmpeg’s own account', () => {
  expect(parseBench('x\nbench: utime=1.154s stime=0.238s rtime=0.731s\n')).toEqual({
    userSeconds: 1.154,
    systemSeconds: 0.238,
  });
  expect(parseBench('frame= 1')).toBeUndefined();
});

it('busyShares counts everything but idle and iowait', () => {
  const before = parseCpuTimes('cpu  9 9\ncpu0 100 0 50 800 50 0 0 0 0 0\ncpu1 0 0 0 100 0 0 0 0 0 0\n');
  const after = parseCpuTimes('cpu0 150 0 70 860 70 0 0 0 20 0\ncpu1 0 0 0 200 0 0 0 0 0 0\n');
  expect(busyShares(before, after, [0, 1, 7])).toEqual([70 / 150, 0, 0]);
});

describe('RunsFile', () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'corecast-runs-'));
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  const run = (id: string) => ({ id, origin: 'calibration', cpuSeconds: 1 }) as Run;

  it('keeps what was added, reads as plain gzip, and compacts', () => {
    const path = join(dir, 'a', 'runs.jsonl.gz');
    const file = new RunsFile(path);
    for (const id of ['one', 'two', 'three']) file.add(run(id));
    expect(gunzipSync(readFileSync(path)).toString().trim().split('\n')).toHaveLength(3);
    const before = readFileSync(path).length;
    file.compact();
    expect(readFileSync(path).length).toBeLessThan(before);
    expect(readRuns(path).map((r) => r.id)).toEqual(['one', 'two', 'three']);
    expect(new RunsFile(path).ids).toEqual(new Set(['one', 'two', 'three']));
  });

  it('drops an end that was cut short, and goes on behind what is whole', () => {
    const path = join(dir, 'cut.jsonl.gz');
    const file = new RunsFile(path);
    file.add(run('whole'));
    const length = readFileSync(path).length;
    appendFileSync(path, gzipSync(`${JSON.stringify(run('half'))}\n`));
    truncateSync(path, length + 25);
    const again = new RunsFile(path);
    expect(again.ids).toEqual(new Set(['whole']));
    again.add(run('next'));
    expect(readRuns(path).map((r) => r.id)).toEqual(['whole', 'next']);
  });
});
