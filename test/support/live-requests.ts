import { type ChildProcess, spawn } from 'node:child_process';
import { afterAll } from 'vitest';
import type { LiveDaemon } from './live-daemon.js';

/** Requests to a live daemon, processes that hold reservations and do nothing, and what the daemon said of it all. */
const VIDEO = { width: 320, height: 180, fps: 25, bitDepth: 8 };
export const INPUT = { codec: 'h264', bitrateBps: 500_000, ...VIDEO };
const OUTPUT = { encoder: 'libx264', preset: 'ultrafast', crf: 23, ...VIDEO };

let keys = 0;
/** Another key at each call. */
export const freshKey = () => `key-${keys++}`;
export const channel = (more: object = {}) => ({
  signature: { input: INPUT, outputs: [OUTPUT] },
  channelClass: 'CHANNEL_CLASS_LIVE' as const,
  name: 'channel',
  idempotencyKey: freshKey(),
  ...more,
});
export const signed = (output: object, input: object = {}) => ({
  signature: { input: { ...INPUT, ...input }, outputs: [{ ...OUTPUT, ...output }] },
});
export const fieldsOf = (call: Promise<unknown>) =>
  call.then(
    () => 'taken',
    ({ code, message, details }) => ({
      code,
      message,
      fields: details?.violations?.map(({ field }: { field: string }) => field),
    }),
  );

const sleepers: ChildProcess[] = [];
export function sleeper(): ChildProcess & { pid: number } {
  const child = spawn('sleep', ['600']);
  sleepers.push(child);
  return child as ChildProcess & { pid: number };
}
afterAll(() => {
  for (const child of sleepers) child.kill('SIGKILL');
});

/** Reserves and attaches a process that does nothing. */
export async function held(daemon: LiveDaemon, name: string) {
  const { reservation } = await daemon.client.reserve(channel({ name }));
  const child = sleeper();
  const attached = await daemon.client.attach({
    reservationId: reservation!.id,
    token: reservation!.token,
    process: { pid: child.pid },
    idempotencyKey: freshKey(),
  });
  return { child, reservation: attached.reservation! };
}

/** Lines of level error and above, and what nobody handled. */
export const troubles = (daemon: LiveDaemon) =>
  daemon
    .said()
    .split('\n')
    .filter((line) => /"level":[56]0|nobody handled|Unhandled|uncaught/.test(line));
