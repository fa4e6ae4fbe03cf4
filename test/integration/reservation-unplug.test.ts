import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { hostAddon } from '../../src/lib/native.js';
import { OnlineWatch } from '../../src/topology/online-watch.js';
import { readTopology } from '../../src/topology/read.js';
import { until } from '../support/children.js';
import { makeTree, sysFiles } from '../support/make-tree.js';
import { call, FOREVER, ME, sleeper, world } from '../support/reservation-world.js';

const host = hostAddon();
const allowed = host.getThreadAffinity(0);
const [a, b] = allowed as [number, number];

/** A host of the first two CPUs that this process may really use, as a tree on disk. */
function twoCpus() {
  const cpus = [a, b].map((cpu) => ({ cpu, core: String(cpu) }));
  return makeTree(sysFiles(cpus, { 0: { cpulist: `${a},${b}`, distance: '10' } }));
}

describe('a CPU that goes offline', () => {
  let remove = () => {};
  afterEach(() => remove());

  async function setUp() {
    const tree = twoCpus();
    remove = tree.remove;
    const read = () => readTopology({ sysRoot: tree.root, procRoot: '/proc', housekeeping: 'auto' });
    const online = (text: string) => writeFileSync(join(tree.root, 'devices/system/cpu/online'), `${text}\n`);
    const w = await world();
    w.knobs.topology = read();
    const watch = new OnlineWatch(tree.root);
    /** As daemon.ts does. */
    const tick = () => {
      const change = watch.changed();
      if (change === undefined) return undefined;
      w.knobs.topology = read();
      w.reservations.capacityChanged();
      return change;
    };
    const running = async (milli: number) => {
      const { reservation } = await w.reservations.reserve(call(milli), ME, FOREVER);
      const { ref } = sleeper();
      const { id, token } = reservation;
      const attach = { reservationId: id, token, process: ref, idempotencyKey: `attach ${id}` };
      const attached = await w.reservations.attach(attach, ME);
      return { id, ref, cpu: attached.reservation.cpus[0]!.cpu };
    };
    return { w, online, tick, running };
  }

  it('loses its channel to the other: ledger, threads and event say so', async (ctx) => {
    if (allowed.length < 2) ctx.skip('one CPU: nowhere to go');
    const { w, online, tick, running } = await setUp();
    const channel = await running(400);
    expect(host.getThreadAffinity(channel.ref.pid)).toEqual([channel.cpu]);
    const other = channel.cpu === a ? b : a;
    expect(tick()).toBeUndefined();
    online(String(other));
    expect(tick()).toBe(`${a},${b} -> ${other}`);
    await until(() => w.events.at(-1)?.event === 'moved', 'it was moved');
    expect(w.reservations.get(channel.id)).toMatchObject({ state: 'ACTIVE', cpus: [{ cpu: other }] });
    expect(host.getThreadAffinity(channel.ref.pid)).toEqual([other]);
    expect(w.events.at(-1)).toMatchObject({
      event: 'moved',
      reason: expect.stringContaining(`CPUs ${channel.cpu} cannot be reserved`),
    });
    w.check();
  });

  it('squeezes a channel that fits nowhere, says it once, and moves it when there is room', async (ctx) => {
    if (allowed.length < 2) ctx.skip('one CPU: nowhere to go');
    const { w, online, tick, running } = await setUp();
    const channels = [await running(900), await running(900)];
    expect(new Set(channels.map(({ cpu }) => cpu))).toEqual(new Set([a, b]));
    online(String(a));
    tick();
    const squeezes = () => w.events.filter(({ event }) => event === 'squeezed');
    await until(() => squeezes().length > 0, 'it is squeezed');
    w.reservations.capacityChanged();
    await new Promise((resolve) => setTimeout(resolve, 50));
    const squeezed = squeezes();
    expect(squeezed).toHaveLength(1);
    expect(squeezed[0]!.reason).toContain(`CPUs ${b} cannot be reserved any more and no others have room`);
    const stays = channels.find(({ cpu }) => cpu === a)!;
    const moves = channels.find(({ cpu }) => cpu === b)!;
    expect(squeezed[0]!.reservation.id).toBe(moves.id);
    const { token } = w.reservations.get(stays.id)!;
    await w.reservations.release({ reservationId: stays.id, token, reason: '' }, ME);
    w.reservations.capacityChanged();
    await until(() => w.events.at(-1)?.event === 'moved', 'it was moved');
    expect(w.reservations.get(moves.id)!.cpus.map(({ cpu }) => cpu)).toEqual([a]);
    expect(host.getThreadAffinity(moves.ref.pid)).toEqual([a]);
    w.check();
  });
});
