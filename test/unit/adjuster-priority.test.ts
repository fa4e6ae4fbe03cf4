import { describe, expect, it } from 'vitest';
import type { Reservation } from '../../src/reservation/reservation.js';
import type { ChannelUsage } from '../../src/rpc/control.js';
import { adjusterWorld } from '../support/adjuster-world.js';

const TICK_MS = 500;
const COSTS = [0.5, 0.25, 0.12];

/** Channels on one CPU, which a stranger may leave little of; what is there is shared out by what each wants. */
function world(channels: readonly { id: string; priority: number; ladderRungs: number; cpu?: number }[]) {
  const said: string[] = [];
  let available = 2;
  let reservations = channels.map(
    ({ cpu = 0, ...channel }) =>
      ({
        ...{ name: channel.id, state: 'ACTIVE', channelClass: 'live', exclusive: false, rung: 0 },
        ...channel,
        cpus: [{ cpu, shareMilli: 625 }],
      }) as unknown as Reservation,
  );
  const wanted = () => reservations.reduce((sum, { rung }) => sum + COSTS[rung]!, 0);
  const speed = () => Math.min(1, available / wanted());
  const usage = (id: string): ChannelUsage => {
    const { rung } = reservations.find((one) => one.id === id)!;
    const late = speed() < 1;
    return {
      usageCores: COSTS[rung]! * speed(),
      forecastQ90Cores: 2,
      speed: speed(),
      lagSeconds: late ? 3 : 0,
    };
  };
  const { run } = adjusterWorld(
    {
      active: () => reservations,
      usage,
      idleCores: () => Math.max(0, available - wanted()),
      place: (reservation, [share = 0]) => (share <= 700 ? reservation.cpus : undefined),
      setRung: async (id, rung, reason) => {
        said.push(`${id} ${rung}${reason.includes('gives way') ? ' for another' : ''}`);
        reservations = reservations.map((one) => (one.id === id ? { ...one, rung } : one));
      },
    },
    TICK_MS,
  );
  const host = (cores: number) => {
    available = cores;
  };
  return { said, run, host };
}

describe('live channels that are late together', () => {
  it('go down the ladder from the least important, as far as is needed, and come back the other way', async () => {
    const two = [
      { id: 'news', priority: 90, ladderRungs: 2 },
      { id: 'test card', priority: 10, ladderRungs: 2 },
    ];
    const { said, run, host } = world(two);
    await run(20);
    host(0.8);
    await run(30);
    expect(said).toEqual(['test card 1 for another']);
    host(0.5);
    await run(60);
    expect(said.slice(1)).toEqual(['test card 2 for another', 'news 1']);
    host(2);
    await run(300);
    expect(said.slice(3)).toEqual(['news 0', 'test card 1', 'test card 0']);
  });

  it('without a ladder are helped by one that has one and ranks below, never by one that ranks above', async () => {
    for (const [priority, expected] of [
      [10, ['other 1 for another']],
      [95, ['other 1']],
    ] as const) {
      const channels = [
        { id: 'news', priority: 90, ladderRungs: 0 },
        { id: 'other', priority, ladderRungs: 1 },
      ];
      const { said, run, host } = world(channels);
      await run(20);
      host(0.8);
      await run(30);
      expect(said).toEqual(expected);
    }
  });

  it('of equal priority, or on other CPUs, answer for themselves', async () => {
    for (const other of [
      { id: 'b', priority: 50, ladderRungs: 2 },
      { id: 'b', priority: 10, ladderRungs: 2, cpu: 1 },
    ]) {
      const { said, run, host } = world([{ id: 'a', priority: 50, ladderRungs: 2 }, other]);
      await run(20);
      host(0.8);
      await run(10);
      expect(said.sort()).toEqual(['a 1', 'b 1']);
    }
  });
});
