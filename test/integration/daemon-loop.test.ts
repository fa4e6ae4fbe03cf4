import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hostAddon } from '../../src/lib/native.js';
import { LiveDaemon, makeClip, until } from '../support/live-daemon.js';

/** One live channel at real time, small enough for any host. */
const live = (clip: string, seconds: number, out: string, ...options: string[]) => [
  ...[
    'ffmpeg',
    '-v',
    'error',
    '-nostdin',
    '-y',
    '-re',
    '-stream_loop',
    '-1',
    '-t',
    String(seconds),
    '-i',
    clip,
  ],
  ...['-c:v', 'libx264', '-preset', 'ultrafast', ...options, out],
];

describe('the daemon', { timeout: 120_000 }, () => {
  const daemon = new LiveDaemon();
  let clip: string;

  beforeAll(async () => {
    clip = makeClip(join(daemon.dir, 'clip.mp4'), '320x180', 20);
    await daemon.start();
  });
  afterAll(() => daemon.close());

  it('admits, pins before the start, watches, frees at the end and explains what was forecast and used', async () => {
    const wrapper = daemon.run(['--name', 'loop'], live(clip, 6, join(daemon.dir, 'loop.mp4')));
    await until(
      async () => (await daemon.reservation('loop'))?.state === 'RESERVATION_STATE_ACTIVE',
      'active',
    );
    const active = (await daemon.reservation('loop'))!;
    const masks = hostAddon().getProcessAffinity(active.process!.pid);
    const reserved = active.cpus.map(({ cpu }) => cpu);
    for (const { cpus } of masks) expect(reserved).toEqual(expect.arrayContaining(cpus));

    expect((await wrapper.ended).code).toBe(0);
    expect(await daemon.reservation('loop')).toMatchObject({ state: 'RESERVATION_STATE_RELEASED', cpus: [] });
    const { decision, usage } = await daemon.client.explain({ reservationId: active.id });
    expect(decision).toMatchObject({ outcome: 'OUTCOME_ACCEPTED', id: active.decisionId });
    expect(decision!.forecast!.horizons).toHaveLength(3);
    expect(decision!.reasons.every(({ passed }) => passed)).toBe(true);
    expect(usage!.cpuSeconds).toBeGreaterThan(0);
    expect(usage!.mediaSeconds).toBeGreaterThan(4);
    expect(usage!.coreUsage).toHaveLength(reserved.length);

    const series: string[] = [];
    for await (const chunk of daemon.client.queryHistory({ series: `channel.${active.id}.*` }))
      series.push(chunk.series);
    expect(series).toContain(`channel.${active.id}.cores`);
  });

  it('is killed and started again in the middle of a transcode: FFmpeg runs on, is adopted, and frees its CPUs', async () => {
    const out = join(daemon.dir, 'killed.mp4');
    const wrapper = daemon.run(['--name', 'survivor'], live(clip, 90, out));
    await until(
      async () => (await daemon.reservation('survivor'))?.state === 'RESERVATION_STATE_ACTIVE',
      'active',
    );
    const before = (await daemon.reservation('survivor'))!;
    await daemon.end('SIGKILL');
    await new Promise((done) => setTimeout(done, 500));
    expect(hostAddon().startTicks(before.process!.pid)).toBe(before.process!.startTicks);
    await daemon.start();
    const adopted = (await daemon.reservation('survivor'))!;
    expect(adopted).toMatchObject({ id: before.id, cpus: before.cpus, process: before.process });
    expect(['RESERVATION_STATE_ACTIVE', 'RESERVATION_STATE_ORPHANED']).toContain(adopted.state);
    // The wrapper's session comes back by itself and brings progress.
    await until(
      async () => (await daemon.reservation('survivor'))?.speed !== undefined,
      'progress after the restart',
    );
    wrapper.child.kill('SIGINT');
    expect((await wrapper.ended).code).toBe(255);
    await until(
      async () => (await daemon.reservation('survivor'))?.state === 'RESERVATION_STATE_RELEASED',
      'released',
    );
    expect((await daemon.client.getHost({})).cpus.every(({ reservedMilli }) => reservedMilli === 0)).toBe(
      true,
    );
  });

  it('loses its history while a channel runs: the channel is watched all the same', async () => {
    const wrapper = daemon.run(['--name', 'watched'], live(clip, 90, join(daemon.dir, 'watched.mp4')));
    await until(
      async () => (await daemon.reservation('watched'))?.state === 'RESERVATION_STATE_ACTIVE',
      'active',
    );
    await daemon.end('SIGKILL');
    rmSync(join(daemon.stateDir, 'history'), { recursive: true });
    await daemon.start();
    await until(
      async () => ((await daemon.reservation('watched'))?.forecastQ90Cores ?? 0) > 0,
      'its use is known beside a forecast',
    );
    await until(async () => (await daemon.reservation('watched'))?.speed !== undefined, 'its speed is');
    wrapper.child.kill('SIGINT');
    expect((await wrapper.ended).code).toBe(255);
    await until(
      async () => (await daemon.reservation('watched'))?.state === 'RESERVATION_STATE_RELEASED',
      'released',
    );
  });

  it('loses its ledger while a channel runs: sets it aside, starts fresh, rebuilds the reservation from the kernel', async () => {
    const wrapper = daemon.run(['--name', 'lost'], live(clip, 90, join(daemon.dir, 'lost.mp4')));
    await until(
      async () => (await daemon.reservation('lost'))?.state === 'RESERVATION_STATE_ACTIVE',
      'active',
    );
    const before = (await daemon.reservation('lost'))!;
    await daemon.end('SIGKILL');
    const ledger = join(daemon.stateDir, 'ledger');
    damage(ledger);
    await daemon.start();
    expect(readdirSync(daemon.stateDir).some((name) => name.startsWith('ledger.damaged-'))).toBe(true);
    const found = async () =>
      (await daemon.client.listReservations({})).reservations.find(({ id }) => id === before.id);
    await until(async () => (await found())?.state === 'RESERVATION_STATE_ACTIVE', 'adopted from the kernel');
    expect((await found())!.process).toEqual(before.process);
    expect((await found())!.token).toBeGreaterThanOrEqual(before.token);
    wrapper.child.kill('SIGINT');
    expect((await wrapper.ended).code).toBe(255);
    await until(async () => (await found()) === undefined, 'released');
  });

  it('stops at SIGTERM within a second or two and leaves no socket', async () => {
    expect(await daemon.end('SIGTERM')).toBe(0);
    expect(existsSync(daemon.socket)).toBe(false);
    await daemon.start();
  });
});

/** Overwrites the middle of every file of a LevelDB, its manifest included. */
function damage(directory: string): void {
  for (const name of readdirSync(directory)) {
    if (!/^(MANIFEST|CURRENT|.*\.(ldb|log))/.test(name)) continue;
    const bytes = readFileSync(join(directory, name));
    bytes.fill(0xa5);
    writeFileSync(join(directory, name), bytes);
  }
}
