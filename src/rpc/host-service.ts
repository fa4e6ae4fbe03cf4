import type { Clock } from '../lib/clock.js';
import { holdsCpus } from '../reservation/reservation.js';
import { type CallScope, unary } from './call.js';
import type { Control } from './control.js';
import { toHost } from './convert.js';
import type { HostServiceHandlers } from './generated/corecast/v1/HostService.js';
import { ingressRequest } from './validate.js';

export function hostService(control: Control, scope: CallScope, clock: Clock): HostServiceHandlers {
  return {
    GetHost: unary(scope, async () => toHost(await control.host(), counts(control))),
    ReportIngress: unary(scope, (message) => {
      const reports = ingressRequest(message, clock.nowMs());
      control.reportIngress(reports);
      return { accepted: reports.length };
    }),
  };
}

function counts(control: Control): { channels: number; queued: number } {
  let channels = 0;
  let queued = 0;
  for (const { reservation } of control.reservations(false)) {
    if (holdsCpus(reservation.state)) channels++;
    if (reservation.state === 'QUEUED') queued++;
  }
  return { channels, queued };
}
