import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';

const { HostChannel } = await import('../../bench/host/channel.mjs' as string);

const MEDIA_S = 4;
const FFMPEG = [
  ...['ffmpeg', '-nostdin', '-hide_banner', '-v', 'error', '-re', '-f', 'lavfi'],
  ...['-t', String(MEDIA_S), '-i', 'testsrc2=s=128x72:r=25', '-c:v', 'libx264', '-preset', 'ultrafast'],
  ...['-tune', 'zerolatency', '-flush_packets', '1', '-f', 'framecrc', 'pipe:1'],
] as const;
const [program, ...args] = FFMPEG;

it('a channel of the host benchmark is late while its FFmpeg stands still, and only then', async () => {
  const channel = new HostChannel({ program, args, wrapped: false, lateS: 1 });
  await sleep(1_500);
  expect(channel.running).toBe(true);
  expect(channel.look()).toBe(false);
  process.kill(channel.pid, 'SIGSTOP');
  await sleep(1_500);
  process.kill(channel.pid, 'SIGCONT');
  expect(channel.look()).toBe(true);
  await channel.ended;
  expect(channel.ending).toBe('done');
  expect(channel.startDelayS).toBeLessThan(1.5);
  expect(channel.look()).toBe(false);
}, 20_000);

it('says why a channel failed', async () => {
  const channel = new HostChannel({ program, args: ['-i', '/nowhere'], wrapped: false, lateS: 1 });
  await channel.ended;
  expect(channel.ending).toBe('failed');
  expect(channel.said).toContain('/nowhere');
});
