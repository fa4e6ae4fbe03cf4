import { describe, expect, it } from 'vitest';
import { difference } from '../../src/lib/cpuset.js';
import { isCorecastError } from '../../src/lib/errors.js';
import { hostAddon } from '../../src/lib/native.js';
import type { Topology } from '../../src/topology/topology.js';
import { eventually } from '../support/manual-time.js';
import { call, FOREVER, ME, realHost, STRANGER, sleeper, world } from '../support/reservation-world.js';

const { length: CPUS } = realHost().schedulable;

describe('limits.cores_per_peer', () => {
  it('holds each uid to its cores, says how much is held, and lets others have theirs', async () => {
    const made = await world({
      cpus: 4,
      config: { limits: { headroom: 0, host_load: 1, cores_per_peer: 1.5 } },
    });
    const reserve = (milli: number, peer = ME) =>
      made.reservations.reserve(call(milli, { cpuCount: 1 }), peer, FOREVER);
    const first = await reserve(900);
    const refused = await reserve(700).catch((error: unknown) => error);
    expect(isCorecastError(refused, 'NO_CAPACITY')).toBe(true);
    expect((refused as Error).message).toContain(
      `uid ${ME.uid} holds 0.90 of the 1.50 cores that limits.cores_per_peer`,
    );
    expect((refused as { details: { metadata: object } }).details.metadata).toMatchObject({
      reason: 'PEER_LIMIT',
    });
    await reserve(600);
    await reserve(900, STRANGER);
    const { id, token } = first.reservation;
    await made.reservations.release({ reservationId: id, token, reason: '' }, ME);
    await reserve(700);
    made.check();
  });

  it("lets a request wait for the peer's own room, and not for what it can never have", async () => {
    const made = await world({
      cpus: 4,
      config: { limits: { headroom: 0, host_load: 1, cores_per_peer: 1 } },
    });
    const first = await made.reservations.reserve(call(800, { cpuCount: 1 }), ME, FOREVER);
    const waiting = made.reservations.reserve(call(800, { cpuCount: 1, waitMs: 20_000 }), ME, FOREVER);
    await eventually('it waits', () => made.reservations.queued() === 1);
    const { id, token } = first.reservation;
    await made.reservations.release({ reservationId: id, token, reason: '' }, ME);
    expect((await waiting).reservation.state).toBe('PENDING');
    const never = made.reservations.reserve(call(1_600, { cpuCount: 2, waitMs: 20_000 }), ME, FOREVER);
    await expect(never).rejects.toThrow(/more than that alone: ask for fewer CPUs/);
  });

  it('is raised without a restart, and those who wait get what is new', async () => {
    const made = await world({
      cpus: 4,
      config: { limits: { headroom: 0, host_load: 1, cores_per_peer: 1 } },
    });
    const before = made.knobs.limits();
    await made.reservations.reserve(call(800, { cpuCount: 1 }), ME, FOREVER);
    const waiting = made.reservations.reserve(call(800, { cpuCount: 1, waitMs: 20_000 }), ME, FOREVER);
    await eventually('it waits', () => made.reservations.queued() === 1);
    made.knobs.limits = () => ({ ...before, cores_per_peer: 2 });
    made.reservations.capacityChanged();
    expect((await waiting).reservation.state).toBe('PENDING');
  });
});

describe('housekeeping that changes without a restart', () => {
  /** The real host with one CPU set aside. */
  function without(cpu: number): Topology {
    const topology = realHost();
    return {
      ...topology,
      cpus: topology.cpus.map((one) => (one.cpu === cpu ? { ...one, housekeeping: true } : one)),
      housekeeping: [cpu],
      schedulable: difference(topology.schedulable, [cpu]),
    };
  }

  it.skipIf(CPUS < 2)(
    'moves who is on the CPU, threads and all, and leaves who finds no place until there is one',
    async () => {
      const made = await world();
      made.knobs.topology = realHost();
      const running = async (milli: number) => {
        const { reservation } = await made.reservations.reserve(call(milli, { cpuCount: 1 }), ME, FOREVER);
        const process = sleeper();
        const { id, token } = reservation;
        const attach = { reservationId: id, token, process: process.ref, idempotencyKey: `attach-${id}` };
        const attached = await made.reservations.attach(attach, ME);
        return { process, id, token: attached.reservation.token, cpu: reservation.cpus[0]!.cpu };
      };
      const large = await running(900);
      const small = await running(300);
      expect(small.cpu).not.toBe(large.cpu);
      for (const cpu of realHost().schedulable.slice(2)) expect((await running(900)).cpu).toBe(cpu);

      made.knobs.topology = without(small.cpu);
      made.reservations.capacityChanged();
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect(made.reservations.get(small.id)?.cpus, 'it keeps what it has').toEqual([
        { cpu: small.cpu, shareMilli: 300 },
      ]);

      await made.reservations.release({ reservationId: large.id, token: large.token, reason: '' }, ME);
      made.reservations.capacityChanged();
      await eventually('it has moved', () => made.reservations.get(small.id)?.cpus[0]?.cpu !== small.cpu);
      const moved = made.reservations.get(small.id)!.cpus[0]!.cpu;
      await eventually('so has its process', () => {
        const mask = hostAddon().getThreadAffinity(small.process.ref.pid);
        return mask.length === 1 && mask[0] === moved;
      });
      expect(made.events.find(({ event }) => event === 'moved')?.reason).toContain(
        'cannot be reserved any more',
      );
      made.check();
    },
  );
});
