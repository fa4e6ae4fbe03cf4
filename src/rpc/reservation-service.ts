import { CorecastError } from '../lib/errors.js';
import type { HostAddon } from '../lib/native.js';
import type { ProcessRef } from '../reservation/reservation.js';
import { type CallScope, serverStream, unary } from './call.js';
import type { Control, Peer } from './control.js';
import { toDecision, toListed, toReservation, toThreads, toThreadUse, toUsage } from './convert.js';
import { toModelStep } from './convert-model.js';
import type { ReservationServiceHandlers } from './generated/corecast/v1/ReservationService.js';
import { daemonPid } from './peer.js';
import { session } from './session.js';
import { attachRequest, explainRequest, predictRequest, releaseRequest, reserveRequest } from './validate.js';
import { watchReservations } from './watch.js';

export function reservationService(
  control: Control,
  scope: CallScope,
  addon: Pick<HostAddon, 'translatePid'>,
  procRoot: string,
): ReservationServiceHandlers {
  const translate = (process: ProcessRef, peer: Peer): ProcessRef => ({
    ...process,
    pid: daemonPid(peer, process.pid, addon, procRoot),
  });
  return {
    Predict: unary(scope, async (message) => ({
      decision: toDecision(await control.predict(predictRequest(message))),
    })),
    Reserve: unary(scope, async (message, { peer, signal }) => {
      const call = reserveRequest(message);
      if (signal.aborted) throw new CorecastError('CANCELLED', 'the caller went away before the reservation');
      const { reservation, decision, ownCpuset } = await control.reserve(call, peer, signal);
      return { reservation: toReservation(reservation), decision: toDecision(decision), ownCpuset };
    }),
    Attach: unary(scope, async (message, { peer }) => {
      const call = attachRequest(message);
      const { reservation, pin } = await control.attach(
        { ...call, process: translate(call.process, peer) },
        peer,
      );
      return { reservation: toReservation(reservation), threads: toThreads(pin), repaired: pin.repaired };
    }),
    Session: session(control, scope, translate),
    Release: unary(scope, async (message, { peer }) => {
      const { reservation, usage } = await control.release(releaseRequest(message), peer);
      return { reservation: toReservation(reservation), usage: usage === undefined ? null : toUsage(usage) };
    }),
    ListReservations: unary(scope, (message, { peer }) => ({
      reservations: control
        .reservations(message.includeEnded)
        .map(({ reservation, usage }) => toListed(peer, reservation, usage)),
    })),
    WatchReservations: serverStream(scope, (_message, { peer, signal }) =>
      watchReservations(control, peer, signal),
    ),
    Explain: unary(scope, async (message) => {
      const { decision, usage, modelStep, threads = [] } = await control.explain(explainRequest(message));
      return {
        decision: toDecision(decision),
        usage: usage === undefined ? null : toUsage(usage),
        modelStep: modelStep === undefined ? null : toModelStep(modelStep),
        threads: toThreadUse(threads),
      };
    }),
  };
}
