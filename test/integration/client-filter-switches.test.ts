import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { clientAgainstServer, haveFfmpeg } from '../support/client-against-server.js';

const world = clientAgainstServer();
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const CLOCK_TICKS = 100;

function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS;
}

/** CPU seconds a frame over the next frames: what a busy host does to the speed does not matter. */
async function costOfFrames(pid: number, frames: number): Promise<number> {
  const frameNow = () => world.beats().at(-1)?.progress?.frame ?? 0;
  const beat = async () => {
    const seen = world.beats().length;
    await world.until(() => world.beats().length > seen, 'a heartbeat');
  };
  await beat();
  const [fromFrame, fromSeconds] = [frameNow(), cpuSeconds(pid)];
  do await beat();
  while (frameNow() < fromFrame + frames);
  return (cpuSeconds(pid) - fromSeconds) / (frameNow() - fromFrame);
}

describe.skipIf(!haveFfmpeg)('a rung of filters', { timeout: 120_000 }, () => {
  it('is taken by the FFmpeg that runs, costs less, and is given back, without a gap in what it writes', async () => {
    const out = join(world.dir, 'switched.mp4');
    const report = join(world.dir, 'switched.json');
    const graph = ['-vf', 'nlmeans@clean=r=7', '-preset', 'ultrafast', '-t', '16', out];
    const rungs = ['--degrade', 'filters nlmeans=off', '--degrade', 'filters nlmeans=off -crf 40'];
    const running = world.start(['--report', report, ...rungs, '--', ...world.live(...graph)]);
    const { control } = world.rpc;
    await world.until(() => (world.beats().at(-1)?.progress?.frame ?? 0) > 0, 'its first frames');
    const pid = control.attached[0]!.pid;
    const full = await costOfFrames(pid, 40);
    control.sendDirective!({ kind: 'set_rung', rung: 1, reason: 'the host falls short' });
    await world.until(() => world.beats().at(-1)?.rung === 1, 'the rung is told');
    const cheap = await costOfFrames(pid, 40);
    expect(cheap).toBeLessThan(full / 2);
    control.sendDirective!({ kind: 'set_rung', rung: 0, reason: 'room again' });
    await world.until(() => world.beats().at(-1)?.rung === 0, 'full quality is told');
    expect(await costOfFrames(pid, 40)).toBeGreaterThan((full + cheap) / 2);
    const { code, stderr } = await running.ended;
    expect(code).toBe(0);
    expect(stderr).toContain('rung 1 (filters nlmeans=off), while FFmpeg runs: the host falls short');
    expect(control.attached).toHaveLength(1);
    expect(world.beats().some(({ restarting, gapMs }) => restarting || (gapMs ?? 0) > 0)).toBe(false);
    const { rungChanges } = JSON.parse(readFileSync(report, 'utf8'));
    expect(rungChanges).toMatchObject([
      { rung: 1, gapMs: 0, live: true },
      { rung: 0, gapMs: 0, live: true },
    ]);
    // Every picture is there, each a frame's time after the one before.
    const times = execFileSync('ffprobe', [
      ...['-v', 'error', '-select_streams', 'v', '-show_entries', 'packet=pts_time', '-of', 'csv=p=0', out],
    ]);
    const at = String(times).trim().split('\n').map(Number.parseFloat);
    at.sort((a, b) => a - b);
    expect(at).toHaveLength(400);
    for (let i = 1; i < at.length; i++) expect(at[i]! - at[i - 1]!).toBeCloseTo(0.04, 3);
  });

  it('holds over a restart for other options, and its filter is switched in the new FFmpeg too', async () => {
    const graph = ['-vf', 'nlmeans=r=7', '-preset', 'ultrafast', '-f', 'null', '-'];
    const rungs = ['--degrade', 'filters nlmeans=off', '--degrade', 'filters nlmeans=off -crf 40'];
    const running = world.start([...rungs, '--', ...world.live(...graph)]);
    const { control } = world.rpc;
    await world.until(() => (world.beats().at(-1)?.progress?.frame ?? 0) > 0, 'its first frames');
    const full = await costOfFrames(control.attached[0]!.pid, 40);
    control.sendDirective!({ kind: 'set_rung', rung: 2, reason: 'the host falls short' });
    await world.until(() => control.attached.length === 2, 'the second attach');
    await world.until(
      () => (world.beats().at(-1)?.gapMs ?? 0) > 0 || !world.beats().at(-1)!.restarting,
      'frames',
    );
    await pause(1_000);
    expect(await costOfFrames(control.attached[1]!.pid, 40)).toBeLessThan(full / 2);
    running.child.kill('SIGTERM');
    await running.ended;
  });

  it('of half the frames writes half of them, at their own times', async () => {
    const out = join(world.dir, 'half.mp4');
    const graph = ['-vf', 'shuffleframes@half=0 -1:enable=0', '-fps_mode', 'vfr', '-t', '8', out];
    const running = world.start([
      '--degrade',
      'filters shuffleframes@half=on',
      '--',
      ...world.live(...graph),
    ]);
    const { control } = world.rpc;
    await world.until(() => (world.beats().at(-1)?.progress?.frame ?? 0) > 0, 'its first frames');
    control.sendDirective!({ kind: 'set_rung', rung: 1, reason: 'the host falls short' });
    expect((await running.ended).code).toBe(0);
    const probe = ['-v', 'error', '-count_frames', '-show_entries', 'stream=nb_read_frames,duration'];
    const [seconds, frames] = String(execFileSync('ffprobe', [...probe, '-of', 'csv=p=0', out]))
      .trim()
      .split(',')
      .map(Number);
    expect(seconds).toBeGreaterThan(7.8);
    expect(frames).toBeGreaterThan(100);
    expect(frames).toBeLessThan(170);
  });

  it.each([
    ['nlmeans=off', ['-vf', 'hqdn3d'], 'names nlmeans, which is no filter of the command (hqdn3d)'],
    ['fps=off', ['-vf', 'fps=25'], 'cannot switch fps while it runs (no timeline support)'],
    ['hqdn3d=on', ['-vf', 'hqdn3d'], 'so the command must have it off'],
    ['hqdn3d=half', ['-vf', 'hqdn3d'], 'expected FILTER=off or FILTER=on'],
  ])('%s is refused at the start with %j', async (switches, graph, why) => {
    const command = world.live(...graph, '-t', '1', '-f', 'null', '-');
    const { code, stderr } = await world.start(['--degrade', `filters ${switches}`, '--', ...command]).ended;
    expect(code).toBe(64);
    expect(stderr).toContain(why);
  });
});
