import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
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

  it('keeps one HLS playlist, played from start to end: numbers that rise, one discontinuity, no end in between', async () => {
    const dir = mkdtempSync(join(world.dir, 'hls-'));
    const playlist = join(dir, 'live.m3u8');
    const hls = ['-hls_time', '1', '-hls_list_size', '0', '-hls_segment_filename', join(dir, '%d.ts')];
    const encode = ['-preset', 'veryfast', '-g', '25', '-t', '8'];
    const running = world.start([
      ...['--degrade', '-preset ultrafast -s 160x90', '--', ...world.live(...encode, ...hls, playlist)],
    ]);
    const { control } = world.rpc;
    await world.until(
      () => control.sendDirective !== undefined && existsSync(join(dir, '2.ts')),
      'three segments',
    );
    control.sendDirective!({ kind: 'set_rung', rung: 1, reason: 'the host falls short' });
    await world.until(() => control.attached.length === 2, 'the second attach');
    expect(read(playlist)).not.toContain('#EXT-X-ENDLIST');
    expect((await running.ended).code).toBe(0);

    const text = read(playlist);
    expect(text.trim().endsWith('#EXT-X-ENDLIST')).toBe(true);
    expect(text.match(/#EXT-X-ENDLIST/g)).toHaveLength(1);
    expect(text.match(/#EXT-X-DISCONTINUITY/g)).toHaveLength(1);
    const numbers = [...text.matchAll(/^(\d+)\.ts$/gm)].map((match) => Number(match[1]));
    expect(numbers).toEqual(numbers.map((_, i) => i));
    expect(numbers.length).toBeGreaterThanOrEqual(7);
    // Every frame of the eight seconds but those that the restart cost is decoded, in both sizes.
    const frames = playedFrames(playlist);
    expect(frames.length).toBeGreaterThan(8 * 25 - 10);
    expect(frames.length).toBeLessThan(8 * 25 + 10);
    expect([...new Set(frames)]).toEqual(['320', '160']);
    const gaps = world.beats().filter(({ gapMs }) => gapMs !== undefined);
    expect(gaps).toHaveLength(1);
    expect(gaps[0]!.gapMs).toBeGreaterThan(0);
    expect(gaps[0]!.rung).toBe(1);
  });

  it('gives DASH a Period for each run, every segment of both still there', async () => {
    const dir = mkdtempSync(join(world.dir, 'dash-'));
    const manifest = join(dir, 'live.mpd');
    const dash = ['-preset', 'veryfast', '-g', '25', '-t', '7', '-seg_duration', '1', manifest];
    const running = world.start(['--degrade', '-preset ultrafast -s 160x90', '--', ...world.live(...dash)]);
    const { control } = world.rpc;
    const third = join(dir, 'chunk-stream0-00003.m4s');
    await world.until(() => control.sendDirective !== undefined && existsSync(third), 'three segments');
    control.sendDirective!({ kind: 'set_rung', rung: 1, reason: 'the host falls short' });
    await world.until(() => /<Period id="1"/.test(read(manifest)), 'the second Period');
    expect(read(manifest)).toContain('type="dynamic"');
    expect((await running.ended).code).toBe(0);

    const text = read(manifest);
    expect(text).toContain('type="static"');
    const periods = text.split('<Period ').slice(1);
    expect(periods.map((period) => / width="(\d+)"/.exec(period)![1])).toEqual(['320', '160']);
    const starts = periods.map((period) => Number(/start="PT([\d.]+)S"/.exec(period)![1]));
    const whole = Number(/mediaPresentationDuration="PT([\d.]+)S"/.exec(text)![1]);
    expect(starts[0]).toBe(0);
    expect(starts[1]).toBeGreaterThan(2);
    expect(whole).toBeGreaterThan(6.5);
    expect(whole).toBeLessThan(7.5);
    for (const [part, period] of periods.entries()) {
      const media = /media="([^"]+)"/.exec(period)![1]!.replace('$RepresentationID$', '0');
      expect(media).toContain(part === 0 ? 'chunk-stream0-' : '.part2.');
      for (let number = 1; number <= 2; number++)
        expect(existsSync(join(dir, media.replace('$Number%05d$', `0000${number}`)))).toBe(true);
    }
  });

  it('opens a stream again, also where the receiver takes a moment to let it', async () => {
    const received: number[] = [];
    const take = (port: number) =>
      new Promise<Server>((resolve) => {
        const server = createServer((socket) => {
          const at = received.push(0) - 1;
          socket.on('data', (bytes) => {
            received[at]! += bytes.length;
          });
          socket.on('error', () => {});
        }).listen(port, '127.0.0.1', () => resolve(server));
      });
    const first = await take(0);
    const { port } = first.address() as AddressInfo;
    const output = [
      '-preset',
      'veryfast',
      '-tune',
      'zerolatency',
      '-t',
      '6',
      '-f',
      'mpegts',
      `tcp://127.0.0.1:${port}`,
    ];
    const running = world.start(['--degrade', '-preset ultrafast -s 160x90', '--', ...world.live(...output)]);
    const { control } = world.rpc;
    await world.until(() => control.sendDirective !== undefined && (received[0] ?? 0) > 10_000, 'the stream');
    // Nobody listens when the new FFmpeg comes for the first time.
    first.close();
    control.sendDirective!({ kind: 'set_rung', rung: 1, reason: 'the host falls short' });
    await world.until(() => running.stderr().includes('it did not start'), 'the second try');
    const second = await take(port);
    const { code, stderr } = await running.ended;
    second.close();
    expect(code).toBe(0);
    expect(stderr).not.toContain('back to full quality');
    expect(received).toHaveLength(2);
    expect(received[1]).toBeGreaterThan(10_000);
    expect(world.beats().find(({ gapMs }) => gapMs !== undefined)?.rung).toBe(1);
  });

  it('follows a ladder that it derives itself', async () => {
    const command = world.live('-preset', 'medium', '-b:v', '500k', '-t', '4', '-f', 'null', '-');
    const running = world.start(['--degrade', 'auto', '--', ...command]);
    const { control } = world.rpc;
    await world.until(() => control.sendDirective !== undefined, 'the session');
    const rungs = world.reservation().ladderRungs;
    expect(rungs).toBeGreaterThanOrEqual(3);
    await pause(700);
    control.sendDirective!({ kind: 'set_rung', rung: rungs, reason: 'try' });
    await world.until(() => control.attached.length === 2, 'the second attach');
    const line = commandLine(control.attached[1]!.pid, read);
    expect(line).toContain('-preset ultrafast -b:v 300k');
    const { code, stderr } = await running.ended;
    expect(code).toBe(0);
    expect(stderr).toMatch(/ladder: 1\. -preset \w+; .*-preset ultrafast -b:v 300k\n/);
  });
});

/** The width of each frame that a player gets. */
function playedFrames(playlist: string): string[] {
  const shown = ['-show_entries', 'frame=width', '-of', 'csv=p=0', '-select_streams', 'v'];
  const text = execFileSync('ffprobe', ['-v', 'error', ...shown, playlist], { encoding: 'utf8' });
  return text.split('\n').flatMap((line) => /^(\d+)/.exec(line)?.[1] ?? []);
}
