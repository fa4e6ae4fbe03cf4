import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { clientAgainstServer, commandLine, duration, haveFfmpeg } from '../support/client-against-server.js';

const world = clientAgainstServer();
const read = (path: string) => readFileSync(path, 'utf8');
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

// Seconds on a host with a CPU to spare; a loaded one takes its time.
describe.skipIf(!haveFfmpeg)('a change of rung', { timeout: 120_000 }, () => {
  it('is announced, goes on where it was in a part of its own, and its gap is measured', async () => {
    const report = join(world.dir, 'rungs.json');
    const out = join(world.dir, 'rungs.mp4');
    const command = world.live('-preset', 'medium', '-tune', 'zerolatency', '-t', '5', out);
    const running = world.start([
      '--report',
      report,
      '--degrade',
      '-preset ultrafast -s 160x90',
      '--',
      ...command,
    ]);
    const { control } = world.rpc;
    await world.until(() => control.sendDirective !== undefined && existsSync(out), 'the start');
    await pause(1_500);
    control.sendDirective!({ kind: 'set_rung', rung: 1, reason: 'the host falls short' });
    await world.until(() => control.attached.length === 2, 'the second attach');
    expect(world.beats().some((beat) => beat.restarting)).toBe(true);
    const [first, second] = control.attached.map(({ pid }) => pid);
    const line = commandLine(second!, read);
    expect(line).toMatch(/ -re (?:-threads 1 )?-ss [\d.]+ (?:-threads 1 )?-i /);
    expect(line).toContain('-preset ultrafast -s 160x90');
    expect(line).not.toContain('medium');
    expect(existsSync(`/proc/${first}/exe`)).toBe(false);
    const { code, stderr } = await running.ended;
    expect(code).toBe(0);
    const said =
      /restarting FFmpeg at rung 1 \(-preset ultrafast -s 160x90\) from \d+\.\d s: the host falls short/;
    expect(stderr).toMatch(said);
    const [before, after] = [duration(out), duration(join(world.dir, 'rungs.part2.mp4'))];
    expect(before).toBeGreaterThan(0.3);
    expect(before + after).toBeGreaterThan(4.7);
    expect(before + after).toBeLessThan(5.3);
    const { rungChanges } = JSON.parse(read(report));
    expect(rungChanges).toMatchObject([{ rung: 1, reason: 'the host falls short' }]);
    expect(rungChanges[0].gapMs).toBeGreaterThan(0);
    expect(world.reservation()).toMatchObject({ ladderRungs: 1, state: 'RELEASED' });
  });

  it('to a rung that FFmpeg rejects is given up, and the channel goes on at full quality', async () => {
    const running = world.start([
      '--degrade',
      '-preset ultraslow',
      '--',
      ...world.live('-t', '4', '-f', 'null', '-'),
    ]);
    const { control } = world.rpc;
    await world.until(() => control.sendDirective !== undefined, 'the session');
    await pause(500);
    control.sendDirective!({ kind: 'set_rung', rung: 1, reason: 'try' });
    const { code, stderr } = await running.ended;
    expect(code).toBe(0);
    expect(stderr).toContain('FFmpeg does not start at rung 1; back to full quality');
    expect(control.attached.length).toBeGreaterThanOrEqual(2);
    expect(world.beats().at(-1)?.rung).toBe(0);
  });
});
