/** Callers of Reserve: each has a connection of its own, all live in this process. */
import { randomUUID } from 'node:crypto';
import { dist } from './daemon.mjs';

const { connect } = await import(`${dist}/client/connect.js`);

const PICTURE = { width: 160, height: 90, fps: 5, bitDepth: 8 };

/** A channel so small that hundreds of it share two CPUs. */
export const SIGNATURE = {
  input: { codec: 'h264', bitrateBps: 50_000, ...PICTURE },
  outputs: [{ encoder: 'libx264', preset: 'ultrafast', bitrateBps: 40_000, options: {}, ...PICTURE }],
  complexity: {},
  content: '',
};

export async function openClients(socket, count) {
  return Promise.all(Array.from({ length: count }, () => connect({ socket, timeoutMs: 30_000 })));
}

export function requestOf() {
  return {
    signature: SIGNATURE,
    name: 'a small channel',
    channelClass: 'CHANNEL_CLASS_LIVE',
    cpuCount: 0,
    startTimeoutMs: 600_000,
    idempotencyKey: randomUUID(),
  };
}

export async function releaseAll(client, reservations) {
  for (const { id, token } of reservations) await client.release({ reservationId: id, token, reason: '' });
}

/**
 * Every client makes `each` calls, one after the other, all clients at once. Returns how long that took and what was
 * reserved by each. A refused call rejects: what is counted was answered with CPUs.
 */
export async function burst(clients, each) {
  const reserved = clients.map(() => []);
  const startedMs = performance.now();
  await Promise.all(
    clients.map(async (client, i) => {
      for (let n = 0; n < each; n++) {
        const { reservation } = await client.reserve(requestOf());
        if (reservation.cpus.length === 0) throw new Error('an answer without CPUs');
        reserved[i].push(reservation);
      }
    }),
  );
  return { ms: performance.now() - startedMs, reserved };
}
