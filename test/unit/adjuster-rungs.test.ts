import { describe, expect, it } from 'vitest';
import type { Reservation } from '../../src/reservation/reservation.js';
import type { ChannelUsage } from '../../src/rpc/control.js';
import { adjusterWorld } from '../support/adjuster-world.js';

const TICK_MS = 500;

/** A channel with three rungs on a host without room: `costs` are the cores that each rung needs at real time. */
function world(costs: readonly number[]) {
  const rungs: number[] = [];
  const closed: string[] = [];
  let trouble = '';
  let available = 1;
  let reservation = {
    ...{ id: 'c', state: 'ACTIVE', channelClass: 'live', exclusive: true, rung: 0, ladderRungs: 3 },
    cpus: [{ cpu: 0, shareMilli: 1_000 }],
  } as unknown as Reservation;
  const usage = (): ChannelUsage => {
    const cost = costs[reservation.rung]!;
    const speed = Math.min(1, available / cost);
    return { usageCores: cost * speed, forecastQ90Cores: 2, speed, lagSeconds: speed < 1 ? 3 : 0 };
  };
  const { adjuster, run } = adjusterWorld(
    {
      active: () => [reservation],
      usage,
      idleCores: () => available,
      place: (_, shares) => (shares.length === 1 && shares[0]! <= 1_000 ? reservation.cpus : undefined),
      setRung: async (_, rung) => {
        rungs.push(rung);
        reservation = { ...reservation, rung };
      },
      hostTrouble: () => trouble,
      overloaded: (reason) => {
        closed.push(reason);
      },
    },
    TICK_MS,
  );
  const host = (cores: number) => {
    available = cores;
  };
  const troubled = (reason: string) => {
    trouble = reason;
  };
  return { adjuster, rungs, run, host, closed, troubled };
}

it('a host in trouble of its own takes nobody in until that is over', async () => {
  const { run, closed, troubled } = world([0.6]);
  await run(1);
  troubled('tasks wait for memory 40 % of the time');
  await run(1);
  expect(closed).toEqual(['tasks wait for memory 40 % of the time']);
  troubled('');
  await run(1);
  expect(closed).toEqual(['tasks wait for memory 40 % of the time', '']);
});

describe('the ladder of a late channel', () => {
  it('leaves out a rung that saved nothing, and comes back past it', async () => {
    const { rungs, run, host } = world([0.6, 0.58, 0.2, 0.1]);
    await run(20);
    host(0.3);
    await run(30);
    expect(rungs).toEqual([1, 2]);
    host(1);
    await run(60);
    expect(rungs.slice(2)).toEqual([0]);
    host(0.3);
    await run(30);
    // Straight to the rung that helps.
    expect(rungs.slice(3)).toEqual([2]);
  });

  it('tries a rung again that helped, though not enough', async () => {
    const { rungs, run, host } = world([0.6, 0.4, 0.2, 0.1]);
    await run(20);
    host(0.3);
    await run(30);
    host(1);
    await run(200);
    host(0.3);
    await run(30);
    expect(rungs).toEqual([1, 2, 1, 0, 1, 2]);
  });

  it('never asks again for a rung that the encoder does not start at', async () => {
    const { adjuster, rungs, run, host } = world([0.6, 0.2, 0.2, 0.1]);
    await run(20);
    adjuster.rungFailed('c', 1);
    host(0.3);
    await run(4_000);
    expect(rungs).toEqual([2]);
  });
});
