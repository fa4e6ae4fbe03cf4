import type { Decision } from './balancer/decision.js';
import type { Forecaster, HostState } from './forecast/forecast.js';
import type { Reservation } from './reservation/reservation.js';
import type { ChannelRequest } from './rpc/control.js';

export interface DecisionAgainDeps {
  readonly forecaster: Pick<Forecaster, 'forecast'>;
  /** Resolves at the monitor's first sample. */
  readonly measured: Promise<void>;
  window(): readonly HostState[];
  schedulableCpus(): number;
  requestOf(id: string): ChannelRequest | undefined;
  /** Of a channel that shares its CPUs with others. */
  forecastCpus(id: string): number | undefined;
}

/**
 * Stands for the decision on a running channel whose own the history has lost: damaged, or killed within the moment in which
 * decisions are gathered. Without one the channel would be neither recorded nor adjusted to its end. Undefined where the
 * ledger has lost what was asked for, too.
 */
export async function decisionAgain(
  { forecaster, measured, window, schedulableCpus, requestOf, forecastCpus }: DecisionAgainDeps,
  { id, decisionId, createdMs, cpus, pausedFrom = [] }: Reservation,
): Promise<Decision | undefined> {
  const request = requestOf(id);
  const held = cpus.length > 0 ? cpus : pausedFrom;
  if (request === undefined || held.length === 0) return undefined;
  await measured;
  const { signature } = request;
  const candidates = [forecastCpus(id) ?? held.length];
  const [forecast] = await forecaster.forecast({
    ...{ signature, candidates, host: window(), schedulableCpus: schedulableCpus() },
  });
  if (forecast === undefined) return undefined;
  const lost = 'forecast anew: the history has lost the decision';
  return {
    id: decisionId,
    atMs: createdMs,
    outcome: 'ACCEPTED',
    reasons: [],
    signature,
    forecast: { ...forecast, notes: [...forecast.notes, lost] },
    candidates: [],
    cpus: held,
    retryAfterMs: 0,
    reservationId: id,
  };
}
