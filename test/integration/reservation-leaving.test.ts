import { describe, expect, it } from 'vitest';
import { CorecastError } from '../../src/lib/errors.js';
import { hostAddon } from '../../src/lib/native.js';
import type { Reservation } from '../../src/reservation/reservation.js';
import { Gate } from '../support/gate.js';
import { eventually } from '../support/manual-time.js';
import { call, FOREVER, ME, realHost, sleeper, type World, world } from '../support/reservation-world.js';

async function running(made: World) {
  const { reservation } = await made.reservations.reserve(call(300, { cpuCount: 1 }), ME, FOREVER);
  const process = sleeper();
  return { ...process, reservation: (await attach(made, reservation, process.ref)).reservation };
}

let keys = 0;

function attach(made: World, { id, token }: Reservation, ref: { pid: number; startTicks: number }) {
  const idempotencyKey = `leaving${++keys}`;
  return made.reservations.attach({ reservationId: id, token, process: ref, idempotencyKey }, ME);
}

const everywhere = () => hostAddon().getThreadAffinity(0);
const maskOf = ({ pid }: { pid: number }) => hostAddon().getThreadAffinity(pid);

/** After a kill the write may be on the disk, and nobody would know the process that a tick has brought back meanwhile. */
describe('a process on its way out, while that is being written', () => {
  it('is free already and is not to be brought back', async () => {
    const gate = new Gate();
    const made = await world({ createStore: gate.store });
    made.knobs.topology = realHost();
    const { reservation, ref } = await running(made);
    const { id, token } = reservation;
    expect(made.reservations.confinedTo(id)).toEqual(reservation.cpus.map(({ cpu }) => cpu));
    gate.close();
    const released = made.reservations.release({ reservationId: id, token, reason: '' }, ME);
    await eventually('the release is being written', () => gate.waiting > 0);
    expect(maskOf(ref)).toEqual(everywhere());
    expect(made.reservations.confinedTo(id)).toEqual([]);
    expect(made.reservations.get(id)?.state).toBe('ACTIVE');
    gate.open();
    expect((await released).state).toBe('RELEASED');
    expect(maskOf(ref)).toEqual(everywhere());
  });

  it('is to be brought back when the disk refuses: it is a channel still', async () => {
    const gate = new Gate();
    const made = await world({ createStore: gate.store });
    made.knobs.topology = realHost();
    const { reservation } = await running(made);
    const { id, token } = reservation;
    gate.fails = true;
    const refused = made.reservations.release({ reservationId: id, token, reason: '' }, ME);
    await expect(refused).rejects.toThrow(CorecastError);
    expect(made.reservations.confinedTo(id)).toEqual(reservation.cpus.map(({ cpu }) => cpu));
    gate.fails = false;
  });

  it('is not confined when another takes its place, and the other one is', async () => {
    const gate = new Gate();
    const made = await world({ createStore: gate.store });
    made.knobs.topology = realHost();
    const first = await running(made);
    const second = sleeper();
    gate.close();
    const attached = attach(made, first.reservation, second.ref);
    await eventually('the attach is being written', () => gate.waiting > 0);
    expect(maskOf(first.ref)).toEqual(everywhere());
    expect(made.reservations.confinedTo(first.reservation.id)).toEqual([]);
    gate.open();
    const { reservation } = await attached;
    const cpus = reservation.cpus.map(({ cpu }) => cpu);
    expect(made.reservations.confinedTo(reservation.id)).toEqual(cpus);
    expect(maskOf(second.ref)).toEqual(cpus);
    expect(maskOf(first.ref)).toEqual(everywhere());
  });
});
