import { type ChildProcess, spawn } from 'node:child_process';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { LiveDaemon, until } from '../support/live-daemon.js';
import { channel, held } from '../support/live-requests.js';
import { realHost } from '../support/reservation-world.js';

const PATIENCE_MS = 60_000;
/** A load that nobody forecast: a process that computes, for each CPU. */
const burners: ChildProcess[] = [];
const burn = () => {
  for (const _ of realHost().schedulable) burners.push(spawn(process.execPath, ['-e', 'for (;;);']));
};
const quiet = () => {
  for (const child of burners.splice(0)) child.kill('SIGKILL');
};
afterEach(quiet);

describe('a neighbour that takes all CPUs', { timeout: 4 * PATIENCE_MS }, () => {
  const daemon = new LiveDaemon('[limits]\nhost_load = 0.98');
  afterAll(() => daemon.close());

  const verdict = async () => (await daemon.client.predict(channel())).decision!;
  const failed = async () =>
    (await verdict()).reasons.filter(({ passed }) => !passed).map(({ code }) => code);

  it('closes admission with the next sample, leaves who runs alone, and opens it again by ending', async () => {
    await daemon.start();
    // Other work of this machine must let it in first.
    await until(async () => (await failed()).length === 0, 'admission is open', PATIENCE_MS);
    const first = () => held(daemon, 'first').catch(() => undefined);
    let reservation: Awaited<ReturnType<typeof held>>['reservation'] | undefined;
    await until(
      async () => {
        reservation = (await first())?.reservation;
        return reservation !== undefined;
      },
      'a channel is admitted',
      PATIENCE_MS,
    );
    await until(async () => (await failed()).length === 0, 'admission is open still', PATIENCE_MS);
    burn();
    const begun = performance.now();
    await until(async () => (await failed()).length > 0, 'admission is closed');
    // One tick of the monitor after a whole one of load, and what a busy machine takes to answer.
    expect(performance.now() - begun).toBeLessThan(4_000);
    for (const code of await failed()) expect(['HOST_LOAD', 'CPU_SHORT']).toContain(code);
    expect((await daemon.reservation('first'))?.cpus).toEqual(reservation?.cpus);
    quiet();
    await until(async () => (await failed()).length === 0, 'admission is open again', PATIENCE_MS);
  });
});
