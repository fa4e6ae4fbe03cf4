import { expect, it } from 'vitest';
import { Gate } from '../support/gate.js';
import { eventually } from '../support/manual-time.js';
import { call, FOREVER, ME, world } from '../support/reservation-world.js';

/** Its answer is written with it: a retry would be told of a reservation that has ended. */
it('leaves its reservation to a request whose admission is being written when the daemon stops', async () => {
  const gate = new Gate();
  const made = await world({ cpus: 1, createStore: gate.store });
  const first = await made.reservations.reserve(call(1_000), ME, FOREVER);
  const asked = Promise.allSettled(
    ['a', 'b'].map((name) => made.reservations.reserve(call(1_000, { name, waitMs: 60_000 }), ME, FOREVER)),
  );
  await eventually('both wait', () => made.reservations.queued() === 2);
  const waiting = made.reservations.list(false).filter(({ state }) => state === 'QUEUED');
  const { id, token } = first.reservation;
  gate.close(1);
  await made.reservations.release({ reservationId: id, token, reason: '' }, ME);
  await eventually('the admission is being written', () => gate.waiting > 0);
  const stopped = made.stop();
  gate.open();
  await stopped;
  const answers = await asked;
  const admitted = answers.flatMap((answer) =>
    answer.status === 'fulfilled' ? [answer.value.reservation] : [],
  );
  expect(admitted).toEqual([expect.objectContaining({ state: 'PENDING' })]);
  expect(answers).toContainEqual({
    status: 'rejected',
    reason: expect.objectContaining({ code: 'CANCELLED' }),
  });
  for (const one of waiting) {
    const expected = one.id === admitted[0]!.id ? 'PENDING' : 'EXPIRED';
    expect(made.ledger.get(one.id)?.reservation.state).toBe(expected);
  }
});
