import type { Verdict } from '../balancer/decide.js';
import { milliOf } from './cpu-shares.js';

/** Asked again this soon when it is the caller's own reservations that must end first. */
const RETRY_MS = 5_000;

/** A verdict that gives a uid no more than limits.cores_per_peer in all, beside the thousandths that it holds. */
export function withinPeerLimit(
  verdict: Verdict,
  cores: number,
  uid: number | undefined,
  heldMilli: number,
): Verdict {
  if (cores === 0 || uid === undefined || !verdict.fits) return verdict;
  const limitMilli = Math.floor(cores * 1000);
  const needed = milliOf(verdict.cpus);
  const available = Math.max(0, limitMilli - heldMilli);
  if (needed <= available) return verdict;
  const possible = needed <= limitMilli;
  const text =
    `uid ${uid} holds ${inCores(heldMilli)} of the ${inCores(limitMilli)} cores that limits.cores_per_peer allows it; ` +
    `this channel takes ${inCores(needed)}${possible ? '' : ', more than that alone: ask for fewer CPUs'}`;
  return {
    ...verdict,
    fits: false,
    waitingHelps: possible,
    reasons: [
      ...verdict.reasons,
      { code: 'PEER_LIMIT', text, needed, available, unit: 'thousandths', passed: false },
    ],
    cpus: [],
    retryAfterMs: possible ? RETRY_MS : 0,
  };
}

function inCores(milli: number): string {
  return (milli / 1000).toFixed(2);
}
