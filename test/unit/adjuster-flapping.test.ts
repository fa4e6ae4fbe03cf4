import { expect, it } from 'vitest';
import type { CpuShare, Reservation } from '../../src/reservation/reservation.js';
import type { ChannelUsage } from '../../src/rpc/control.js';
import { adjusterWorld } from '../support/adjuster-world.js';
import { seededRandom } from '../support/seeded-random.js';

const TICK_MS = 250;
const HOURS = 2;

/** A live channel alone on its CPUs, `mean` cores, whose pictures change all the time; adjustments in an hour. */
async function adjustmentsPerHour(mean: number, deviation: number, seed: number): Promise<number> {
  const random = seededRandom(seed);
  let cpus: readonly CpuShare[] = [{ cpu: 0, shareMilli: 1_000 }];
  let changes = 0;
  const recent: number[] = [];
  const meanOf = (ticks: number) => {
    const newest = recent.slice(-ticks);
    return newest.reduce((sum, cores) => sum + cores, 0) / newest.length;
  };
  let wave = 0;
  const step = () => {
    // Scenes: what a picture needs is near what the one before needed.
    wave = 0.8 * wave + 0.6 * (random() + random() + random() - 1.5) * 2;
    recent.push(Math.min(cpus.length, Math.max(0.05, mean + deviation * wave)));
    if (recent.length > 20) recent.shift();
  };
  const reservation = () =>
    ({
      ...{ id: 'c', name: 'c', state: 'ACTIVE', channelClass: 'live', exclusive: true },
      ...{ rung: 0, ladderRungs: 0, priority: 50, cpus },
    }) as unknown as Reservation;
  const usage = (): ChannelUsage => {
    const now = meanOf(3);
    const full = now > cpus.length * 0.97;
    return {
      usageCores: meanOf(20),
      forecastQ90Cores: mean + 1.3 * deviation,
      speed: 1,
      lagSeconds: full ? 0.2 : 0,
      now: { usageCores: now, waitCores: full ? 1 : 0.02 },
    };
  };
  const { run } = adjusterWorld(
    {
      active: () => [reservation()],
      usage,
      idleCores: () => cpus.length - recent.at(-1)!,
      reforecast: async () => mean + 1.3 * deviation,
      place: (_, shares) => shares.map((shareMilli, cpu) => ({ cpu, shareMilli })),
      resize: async (_, after) => {
        cpus = after;
        changes++;
      },
    },
    TICK_MS,
  );
  await run(HOURS * 3_600, step);
  return changes / HOURS;
}

it.each([
  [0.5, 0.1],
  [0.7, 0.15],
  [0.8, 0.1],
  [0.9, 0.2],
])(
  'a steady channel of %d cores, deviation %d, is adjusted at most once an hour',
  async (mean, deviation) => {
    for (const seed of [1, 2, 3])
      expect(await adjustmentsPerHour(mean, deviation, seed), `seed ${seed}`).toBeLessThanOrEqual(1);
  },
);
