import { randomUUID } from 'node:crypto';
import type { Signature } from '../forecast/signature.js';
import { CorecastError, isCorecastError, messageOf } from '../lib/errors.js';
import type { ChannelClass } from '../reservation/reservation.js';
import type { Decision__Output } from '../rpc/generated/corecast/v1/Decision.js';
import type { Reservation__Output } from '../rpc/generated/corecast/v1/Reservation.js';
import type { CorecastClient } from './connect.js';
import { EXIT } from './exit-codes.js';
import { ExitError } from './exit-error.js';
import { channelClassMessage, signatureMessage } from './messages.js';

export interface AdmitRequest {
  readonly signature: Signature;
  readonly name: string;
  readonly channelClass: ChannelClass;
  readonly priority: number | undefined;
  readonly exclusive: boolean;
  readonly cpuCount: number;
  readonly waitMs: number;
  readonly ladderRungs: number;
  /** No FFmpeg without a reservation. */
  readonly require: boolean;
  /** FFmpeg even against a refusal, unpinned. */
  readonly runAnyway: boolean;
}

export type Admission =
  | {
      readonly kind: 'reserved';
      readonly client: CorecastClient;
      readonly reservation: Reservation__Output;
      readonly decision: Decision__Output | null;
      /** The daemon would hold the channel by a cgroup of its own. */
      readonly ownCpuset: boolean;
    }
  | { readonly kind: 'unpinned'; readonly why: string };

/**
 * Asks for CPUs. A refusal is an answer: FFmpeg is not started (ExitError 75), unless `runAnyway`. No answer is none:
 * FFmpeg starts unpinned, unless `require` (ExitError 69, or 65 when the command is not one that can be forecast).
 */
export async function admit(connecting: Promise<CorecastClient>, request: AdmitRequest): Promise<Admission> {
  let client: CorecastClient;
  try {
    client = await connecting;
  } catch (error) {
    return withoutAnswer(error, request);
  }
  try {
    const { reservation, decision, ownCpuset } = await client.reserve({
      signature: signatureMessage(request.signature),
      name: request.name.slice(0, 200),
      channelClass: channelClassMessage(request.channelClass),
      ...(request.priority === undefined ? {} : { priority: request.priority }),
      exclusive: request.exclusive,
      cpuCount: request.cpuCount,
      waitMs: request.waitMs,
      idempotencyKey: randomUUID(),
      ladderRungs: request.ladderRungs,
    });
    if (reservation === null)
      throw new CorecastError('INTERNAL', 'the daemon answered without a reservation');
    return { kind: 'reserved', client, reservation, decision, ownCpuset };
  } catch (error) {
    client.close();
    if (isRefusal(error)) return refused(error, request);
    return withoutAnswer(error, request);
  }
}

function refused(error: CorecastError, request: AdmitRequest): Admission {
  const { retryAfterMs } = error.details;
  const hints = [
    retryAfterMs === undefined || retryAfterMs === 0
      ? 'waiting will not help: the host is too small, or its limits too low, for this channel'
      : `ask again in ${(retryAfterMs / 1000).toFixed(retryAfterMs < 10_000 ? 1 : 0)} s, or let the daemon wait for room: --wait 60`,
    'FFmpeg was not started; --run-anyway starts it unpinned',
  ];
  if (request.runAnyway) return { kind: 'unpinned', why: `${error.message}; running unpinned as asked` };
  throw new ExitError(EXIT.tryLater, error.message, hints);
}

function withoutAnswer(error: unknown, request: AdmitRequest): Admission {
  const message = messageOf(error);
  if (!request.require) return { kind: 'unpinned', why: `${message}; FFmpeg runs unpinned` };
  const code = isCorecastError(error, 'INVALID_ARGUMENT')
    ? EXIT.dataError
    : isCorecastError(error, 'PERMISSION_DENIED')
      ? EXIT.noPermission
      : EXIT.unavailable;
  throw new ExitError(code, message, ['FFmpeg was not started, because of --require']);
}

function isRefusal(error: unknown): error is CorecastError {
  return (
    isCorecastError(error, 'NO_CAPACITY') ||
    isCorecastError(error, 'QUEUE_FULL') ||
    isCorecastError(error, 'LIMIT_EXCEEDED')
  );
}
