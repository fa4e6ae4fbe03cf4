import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hostAddon } from '../../src/lib/native.js';
import { LiveDaemon, makeClip, until } from '../support/live-daemon.js';

const CPUS = hostAddon().getThreadAffinity(0).slice(0, 2).join(',');
const ALL = String(CPUS.split(',').length);
const SECONDS = 6;

const runs = (pid: number) => existsSync(`/proc/${pid}`);

function secondsOf(path: string): number {
  const args = ['-v', 'error', '-show_entries', 'format=duration', '-of', 'csv=p=0', path];
  return Number(execFileSync('ffprobe', args, { encoding: 'utf8' }));
}

describe('VOD that is requeued for a live channel', { timeout: 180_000 }, () => {
  const daemon = new LiveDaemon('[preemption]\nvod = "requeue"\n[cpus]\nhousekeeping = ""', CPUS);
  let clip: string;
  const state = async (name: string) =>
    (await daemon.reservation(name))?.state.replace('RESERVATION_STATE_', '');
  const encode = (seconds: number, out: string, ...overwrite: string[]) => [
    ...[
      'ffmpeg',
      '-v',
      'error',
      '-nostdin',
      ...overwrite,
      '-re',
      '-stream_loop',
      '-1',
      '-t',
      String(seconds),
    ],
    ...['-i', clip, '-c:v', 'libx264', '-preset', 'veryfast', join(daemon.dir, out)],
  ];
  const whole = (name: string, channelClass: string) => [
    ...['--name', name, '--class', channelClass, '--exclusive', '--cpus', ALL],
  ];

  beforeAll(async () => {
    clip = makeClip(join(daemon.dir, 'clip.mp4'), '320x180', 5);
    await daemon.start();
  });
  afterAll(() => daemon.close());

  it('ends, waits, also over a kill of the daemon, and is started anew; its output is whole', async () => {
    const report = join(daemon.dir, 'report.json');
    const vod = daemon.run(
      [...whole('archive', 'vod'), '--report', report],
      encode(SECONDS, 'archive.mp4', '-n'),
    );
    await until(async () => (await state('archive')) === 'ACTIVE', 'VOD runs');
    const first = (await daemon.reservation('archive'))!;
    // The wrapper says with its first heartbeat that it can start FFmpeg anew.
    await until(() => existsSync(join(daemon.dir, 'archive.mp4')), 'it writes');

    const live = daemon.run(whole('news', 'live'), encode(6, 'news.mp4', '-y'));
    await until(async () => (await state('news')) === 'ACTIVE', 'live runs');
    await until(async () => (await state('archive')) === 'QUEUED', 'VOD waits');
    const { id } = (await daemon.reservation('news'))!;
    const { decision } = await daemon.client.explain({ reservationId: id });
    const preempted = decision!.reasons.find(({ code }) => code === 'PREEMPTED');
    expect(preempted?.text).toContain(`VOD ${first.id} (priority 50) waits for room again`);
    await until(() => !runs(first.process!.pid), 'its FFmpeg ends', 5_000);

    await daemon.end('SIGKILL');
    await daemon.start();
    expect(await state('archive')).toBe('QUEUED');

    expect((await live.ended).code).toBe(0);
    await until(async () => (await state('archive')) === 'ACTIVE', 'VOD runs again');
    const again = (await daemon.reservation('archive'))!;
    expect(again.id).toBe(first.id);
    expect(again.token).toBeGreaterThan(first.token);
    expect(again.process!.pid).not.toBe(first.process!.pid);
    expect(hostAddon().getThreadAffinity(again.process!.pid)).toEqual(again.cpus.map(({ cpu }) => cpu));
    expect((await vod.ended).code).toBe(0);
    expect(secondsOf(join(daemon.dir, 'archive.mp4'))).toBeCloseTo(SECONDS, 0);
    expect(JSON.parse(readFileSync(report, 'utf8'))).toMatchObject({ requeued: 1, ending: 'exit 0' });
    await until(async () => (await state('archive')) === 'RELEASED', 'its CPUs are back');
  });

  it('goes on where it was when it has a ladder: one playlist, nothing twice', async () => {
    const film = makeClip(join(daemon.dir, 'film.mp4'), '320x180', 8);
    const playlist = join(daemon.dir, 'film.m3u8');
    const hls = [
      '-c:v',
      'libx264',
      '-preset',
      'veryfast',
      '-g',
      '25',
      '-hls_time',
      '1',
      '-hls_list_size',
      '0',
    ];
    const vod = daemon.run(
      [...whole('film', 'vod'), '--degrade', '-preset ultrafast'],
      ['ffmpeg', '-v', 'error', '-nostdin', '-re', '-i', film, ...hls, playlist],
    );
    await until(() => existsSync(playlist) && /#EXTINF/.test(readFileSync(playlist, 'utf8')), 'it writes');
    const live = daemon.run(whole('flash', 'live'), encode(2, 'flash.mp4', '-y'));
    await until(async () => (await daemon.reservation('film'))?.process === null, 'its FFmpeg has ended');
    expect((await live.ended).code).toBe(0);
    expect((await vod.ended).code).toBe(0);
    expect(vod.stderr()).toMatch(/FFmpeg starts from [1-9]\d*\.\d s/);
    const text = readFileSync(playlist, 'utf8');
    expect(text.match(/#EXT-X-DISCONTINUITY\n/g)).toHaveLength(1);
    expect(text.trimEnd().endsWith('#EXT-X-ENDLIST')).toBe(true);
    const seconds = [...text.matchAll(/#EXTINF:([\d.]+)/g)].reduce((sum, [, each]) => sum + Number(each), 0);
    expect(seconds).toBeGreaterThan(7);
    expect(seconds).toBeLessThan(9);
  });

  it('is given up when its wrapper is killed while it waits: nobody is left to start it', async () => {
    const vod = daemon.run(whole('lost', 'vod'), encode(600, 'lost.mp4', '-y'));
    await until(async () => (await state('lost')) === 'ACTIVE', 'VOD runs');
    await until(() => existsSync(join(daemon.dir, 'lost.mp4')), 'it writes');
    const live = daemon.run(whole('sport', 'live'), encode(600, 'sport.mp4', '-y'));
    await until(async () => (await state('lost')) === 'QUEUED', 'VOD waits');
    await until(async () => (await daemon.reservation('lost'))?.process === null, 'its FFmpeg has ended');
    vod.child.kill('SIGKILL');
    await until(async () => (await state('lost')) === 'EXPIRED', 'its place is given up');
    expect(await state('sport')).toBe('ACTIVE');
    live.child.kill('SIGTERM');
    await live.ended;
  });

  it('ends as it would have when it is told to while it waits', async () => {
    const vod = daemon.run(whole('told', 'vod'), encode(600, 'told.mp4', '-y'));
    await until(async () => (await state('told')) === 'ACTIVE', 'VOD runs');
    await until(() => existsSync(join(daemon.dir, 'told.mp4')), 'it writes');
    const live = daemon.run(whole('music', 'live'), encode(600, 'music.mp4', '-y'));
    await until(async () => (await daemon.reservation('told'))?.process === null, 'its FFmpeg has ended');
    vod.child.kill('SIGTERM');
    expect((await vod.ended).code).toBe(255);
    expect(await state('told')).toBe('RELEASED');
    live.child.kill('SIGTERM');
    await live.ended;
  });

  it('is paused instead in light mode: nobody is there to start FFmpeg anew', async () => {
    const light = daemon.run([...whole('light', 'vod'), '--exec'], encode(600, 'light.mp4', '-y'));
    await until(async () => (await state('light')) === 'ACTIVE', 'VOD runs');
    const live = daemon.run(whole('talk', 'live'), encode(600, 'talk.mp4', '-y'));
    await until(async () => (await state('talk')) === 'ACTIVE', 'live runs');
    expect(await state('light')).toBe('PAUSED');
    live.child.kill('SIGTERM');
    light.child.kill('SIGKILL');
    await Promise.all([live.ended, light.ended]);
  });
});
