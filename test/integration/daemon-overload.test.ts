import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { haveFfmpeg } from '../support/client-against-server.js';
import { LiveDaemon, makeClip, until } from '../support/live-daemon.js';
import { channel, held } from '../support/live-requests.js';
import { realHost } from '../support/reservation-world.js';

const PATIENCE_MS = 60_000;
/** What nobody forecast: processes outside corecast. */
const strangers: ChildProcess[] = [];
const stranger = (program: string, ...args: string[]) => {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  strangers.push(child);
  return child;
};
const daemons: LiveDaemon[] = [];
afterEach(async () => {
  for (const child of strangers.splice(0)) child.kill('SIGKILL');
  for (const daemon of daemons.splice(0)) await daemon.close();
});
const daemonWith = async (settings: string) => {
  const daemon = new LiveDaemon(settings);
  daemons.push(daemon);
  return daemon.start();
};

/** Codes of what stands against a channel now. */
const against = async (daemon: LiveDaemon) => {
  const { decision } = await daemon.client.predict(channel());
  return decision!.reasons.filter(({ passed }) => !passed).map(({ code }) => code);
};

/** Milliseconds until a look finds it closed, less what the slowest look took: on a full host each waits its turn. */
const untilClosed = async (daemon: LiveDaemon) => {
  const begun = performance.now();
  let slowestMs = 0;
  for (;;) {
    const asked = performance.now();
    const codes = await against(daemon);
    slowestMs = Math.max(slowestMs, performance.now() - asked);
    if (codes.length > 0) return { codes, ms: performance.now() - begun - slowestMs };
    if (performance.now() - begun > PATIENCE_MS) throw new Error('admission stays open');
    await sleep(20);
  }
};

describe('overload that nobody forecast', { timeout: 4 * PATIENCE_MS }, () => {
  it('from a neighbour closes admission within a second of an ordinary moment, leaves who runs alone, and opens it by ending', async () => {
    const daemon = await daemonWith('[limits]\nhost_load = 0.98');
    const open = async () => (await against(daemon)).length === 0;
    await until(open, 'admission is open', PATIENCE_MS);
    const { reservation } = await held(daemon, 'first');
    // The close watch of a start, with its faster ticks, is over: from here on the daemon looks once a second.
    await sleep(11_000);
    await until(open, 'admission is open still', PATIENCE_MS);
    for (const _ of realHost().schedulable) stranger(process.execPath, '-e', 'for (;;);');
    const { codes, ms } = await untilClosed(daemon);
    for (const code of codes) expect(['HOST_LOAD', 'CPU_SHORT']).toContain(code);
    // Of which node takes a tenth to start computing.
    expect(ms).toBeLessThan(1_100);
    expect((await daemon.reservation('first'))!.cpus).toEqual(reservation.cpus);
    for (const child of strangers.splice(0)) child.kill('SIGKILL');
    await until(open, 'admission is open again', PATIENCE_MS);
  });

  it('of memory closes admission within a second, and opens it by going', async () => {
    const available = Number(/MemAvailable: +(\d+)/.exec(readFileSync('/proc/meminfo', 'utf8'))![1]) / 1024;
    const left = 700;
    const daemon = await daemonWith(
      `[limits]\nhost_load = 1\nmemory_reserve_mb = ${Math.floor(available - left)}`,
    );
    const open = async () => (await against(daemon)).length === 0;
    await until(open, 'admission is open', PATIENCE_MS);
    const hog = stranger(
      process.execPath,
      '-e',
      `const held = Array.from({ length: ${left / 50} }, () => Buffer.alloc(50 << 20, 1)); console.log(held.length); setInterval(() => {}, 1e6);`,
    );
    await once(hog.stdout!, 'data');
    const { codes, ms } = await untilClosed(daemon);
    expect(codes).toContain('MEMORY');
    expect(ms).toBeLessThan(1_000);
    hog.kill('SIGKILL');
    await until(open, 'admission is open again', PATIENCE_MS);
  });

  const cpus = realHost().schedulable.length;
  const lacks = !haveFfmpeg ? 'FFmpeg' : cpus < 2 ? 'a second CPU' : '';
  it.skipIf(lacks !== '')(
    `on the CPU of a live channel moves the channel to an idle one${lacks === '' ? '' : ` (this host lacks ${lacks})`}`,
    async () => {
      const daemon = await daemonWith('[adjust]\ncooldown_ms = 1000');
      const clip = makeClip(join(daemon.dir, 'clip.mp4'), '640x360', 30);
      const ffmpeg = ['ffmpeg', '-v', 'error', '-nostdin', '-re', '-stream_loop', '-1', '-i', clip];
      daemon.run(
        ['--name', 'squeezed', '--class', 'live', '--cpus', '1', '--exclusive'],
        [...ffmpeg, '-c:v', 'libx264', '-preset', 'veryfast', '-f', 'null', '-'],
      );
      const speed = async () => (await daemon.reservation('squeezed'))?.speed ?? 0;
      await until(async () => (await speed()) > 0.95, 'it keeps up', PATIENCE_MS);
      await sleep(2_000);
      const cpu = (await daemon.reservation('squeezed'))!.cpus[0]!.cpu;
      // A CPU that throttles or is stolen looks the same to who runs on it: work waits, and little is done.
      for (let i = 0; i < 12; i++) stranger('taskset', '-c', String(cpu), 'sh', '-c', 'while :; do :; done');
      const elsewhere = async () =>
        (await daemon.reservation('squeezed'))!.cpus.every((one) => one.cpu !== cpu);
      await until(elsewhere, 'it is on another CPU', PATIENCE_MS);
      await until(async () => (await speed()) > 0.95, 'it keeps up again', PATIENCE_MS);
      expect((await daemon.reservation('squeezed'))!.rung).toBe(0);
    },
  );
});
