import { cpSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { normalQuantile, type SeenDemand } from '../../src/balancer/shared-demand.js';
import type { Forecaster } from '../../src/forecast/forecast.js';
import { hostAddon } from '../../src/lib/native.js';
import { ManualTime } from '../support/manual-time.js';
import { forecastOf } from '../support/requests.js';
import { call, FOREVER, ME, realHost, sleeper, type World, world } from '../support/reservation-world.js';

const { length: CPUS } = realHost().schedulable;
const RULE = { z: normalQuantile(0.999), headroom: 0.05, common: 0 };
/** As many cores as the input's frame rate says, in thousandths; sigma 0.25 in log demand. */
const forecaster: Forecaster = {
  forecast: async ({ signature, candidates }) =>
    candidates.map((cpuCount) => {
      const q50 = signature.input.fps / 1000;
      const one = forecastOf(cpuCount, q50);
      const demand = { q50, q90: q50 * Math.exp(0.25 * 1.2816), q99: q50 * Math.exp(0.25 * 2.3263) };
      return { ...one, horizons: one.horizons.map((horizon) => ({ ...horizon, demand })) };
    }),
};
let keys = 0;

async function sharingWorld(options: Parameters<typeof world>[0] = {}) {
  const seen = new Map<string, SeenDemand>();
  const time = new ManualTime();
  const made = await world({
    time,
    ...options,
    deps: {
      forecaster,
      sharing: () => ({ quantile: 0.999, cpus: 64, rule: RULE }),
      seen: (id) => seen.get(id),
    },
  });
  made.knobs.topology = realHost();
  return { ...made, time, seen };
}

async function running(made: World, milli: number) {
  const { reservation, decision } = await made.reservations.reserve(call(milli), ME, FOREVER);
  const process = sleeper();
  const { id, token } = reservation;
  const idempotencyKey = `attach${++keys}`;
  await made.reservations.attach({ reservationId: id, token, process: process.ref, idempotencyKey }, ME);
  return { id, process, decision };
}

const milliOf = (made: World, id: string) =>
  made.reservations.get(id)!.cpus.reduce((sum, { shareMilli }) => sum + shareMilli, 0);
const maskOf = (pid: number) => hostAddon().getThreadAffinity(pid);

describe('channels that share CPUs', () => {
  it('are carried while their sum fits; who was promised more than it uses lends to a newcomer', async () => {
    const made = await sharingWorld();
    const held: Awaited<ReturnType<typeof running>>[] = [];
    for (;;) {
      try {
        held.push(await running(made, 300));
        made.check();
      } catch (error) {
        expect(String(error)).toMatch(/cores are missing/);
        break;
      }
    }
    // Each for itself (0.9 quantile and 20 % headroom) there is room for 1.9 a CPU.
    expect(held.length).toBeGreaterThanOrEqual(2 * CPUS);
    await made.time.pass(1_000);
    for (const { id } of held) made.seen.set(id, { meanMilli: 150, deviationMilli: 15, seconds: 600 });
    const before = new Map(held.map(({ id }) => [id, milliOf(made, id)]));
    await made.time.pass(1_000);
    const newcomer = await running(made, 300);
    const reason = newcomer.decision.reasons.find(({ code }) => code === 'BORROWED');
    expect(reason?.text).toMatch(/room is made: r\d+ needs no more than \d+ of its \d+ thousandths/);
    const lenders = held.filter(({ id }) => milliOf(made, id) < before.get(id)!);
    expect(lenders.length).toBeGreaterThanOrEqual(1);
    expect(lenders.length).toBeLessThan(held.length);
    for (const { id } of lenders) expect(milliOf(made, id)).toBeGreaterThan(150);
    for (const { id, process } of [...held, newcomer])
      expect(maskOf(process.ref.pid)).toEqual(made.reservations.get(id)!.cpus.map(({ cpu }) => cpu));
    made.check();
  });

  it('are refused once those who run need more than was forecast, though thousandths are free', async () => {
    const made = await sharingWorld();
    const { id } = await running(made, 200);
    made.seen.set(id, { meanMilli: CPUS * 950, deviationMilli: 10, seconds: 600 });
    await made.time.pass(1_000);
    await expect(running(made, 200)).rejects.toThrow(/cores are missing/);
    made.seen.delete(id);
    await made.time.pass(1_000);
    await running(made, 200);
    made.check();
  });

  it.skipIf(CPUS < 2)('leave a core that few use, when asked where one could go', async () => {
    const made = await sharingWorld();
    const [first, second] = [await running(made, 60), await running(made, 60)];
    const [cpu0, cpu1] = realHost().schedulable;
    await made.reservations.resize(second.id, [{ cpu: cpu1!, shareMilli: 100 }], 'moved', 'for a test');
    await made.reservations.resize(first.id, [{ cpu: cpu0!, shareMilli: 120 }], 'moved', 'for a test');
    const move = made.reservations.closing();
    expect(move).toMatchObject({ id: second.id, cpus: [{ cpu: cpu0!, shareMilli: 100 }] });
    await made.reservations.resize(move!.id, move!.cpus, 'moved', move!.reason);
    expect(made.reservations.closing()).toBeUndefined();
    made.check();
  });

  it('are what they were reserved for after a restart of the daemon, too', async () => {
    const made = await sharingWorld();
    const { id } = await running(made, 300);
    const part = made.reservations.sharedPart(id);
    expect(part?.needMilli).toBeGreaterThan(309);
    const directory = `${made.directory}-next`;
    cpSync(made.directory, directory, { recursive: true });
    await made.stop();
    const next = await sharingWorld({ directory, ids: 'next-' });
    await next.reservations.reconcile();
    expect(next.reservations.sharedPart(id)).toEqual(part);
    next.check();
  });
});
