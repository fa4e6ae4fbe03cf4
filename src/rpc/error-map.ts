import { randomUUID } from 'node:crypto';
import { Metadata, type StatusObject, status } from '@grpc/grpc-js';
import { CorecastError, type ErrorCode, type FieldViolation } from '../lib/errors.js';
import type { Log } from '../lib/log.js';
import { DETAILS_TRAILER, encodeStatusDetails } from './status-details.js';

/** What each error is on the wire. Clients that want more than the status read ErrorInfo.reason. */
export const GRPC_STATUS: Readonly<Record<ErrorCode, status>> = {
  INVALID_ARGUMENT: status.INVALID_ARGUMENT,
  NOT_FOUND: status.NOT_FOUND,
  // Not ABORTED: the holder was superseded, and asking again with the same token never helps.
  STALE_TOKEN: status.FAILED_PRECONDITION,
  WRONG_STATE: status.FAILED_PRECONDITION,
  IDEMPOTENCY_CONFLICT: status.ALREADY_EXISTS,
  NO_CAPACITY: status.RESOURCE_EXHAUSTED,
  QUEUE_FULL: status.RESOURCE_EXHAUSTED,
  LIMIT_EXCEEDED: status.RESOURCE_EXHAUSTED,
  PERMISSION_DENIED: status.PERMISSION_DENIED,
  PROCESS_GONE: status.FAILED_PRECONDITION,
  KERNEL: status.INTERNAL,
  MODEL_INVALID: status.FAILED_PRECONDITION,
  MODEL_BUSY: status.ABORTED,
  // Worth another try with the same idempotency key once there is room on the disk.
  STORE_FAILED: status.UNAVAILABLE,
  STORE_DAMAGED: status.DATA_LOSS,
  CONFIG_INVALID: status.FAILED_PRECONDITION,
  DAEMON_UNREACHABLE: status.UNAVAILABLE,
  CANCELLED: status.CANCELLED,
  INTERNAL: status.INTERNAL,
};

// The trailer travels as one HTTP/2 header block; common clients allow 8 KiB of it.
const MAX_VIOLATIONS = 16;
const MAX_DESCRIPTION = 200;
const MAX_MESSAGE = 500;

/** Turns anything that was thrown into a status. What a client cannot help is logged under an id that the client gets. */
export function toGrpcStatus(error: unknown, log: Log): StatusObject {
  if (!(error instanceof CorecastError) || error.code === 'INTERNAL') return internal(error, log);
  const code = GRPC_STATUS[error.code];
  const message = wireText(error.message, MAX_MESSAGE);
  const metadata: Record<string, string> = {};
  for (const [key, value] of Object.entries(error.details.metadata ?? {})) {
    metadata[key] = wireText(value, MAX_DESCRIPTION);
  }
  if (error.details.errno !== undefined) metadata['errno'] = error.details.errno;
  const { violations, retryAfterMs } = error.details;
  return statusOf(code, message, {
    code: error.code,
    metadata,
    ...(violations === undefined ? {} : { violations: bounded(violations) }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

function internal(error: unknown, log: Log): StatusObject {
  const errorId = randomUUID();
  log.error({ err: error, errorId }, 'a call failed for a reason that is a defect in corecast');
  const message = `internal error ${errorId}; the daemon's log says more under this id`;
  return statusOf(status.INTERNAL, message, { code: 'INTERNAL', metadata: { errorId } });
}

function statusOf(
  code: status,
  message: string,
  details: Parameters<typeof encodeStatusDetails>[2],
): StatusObject {
  const metadata = new Metadata();
  metadata.set(DETAILS_TRAILER, encodeStatusDetails(code, message, details));
  return { code, details: message, metadata };
}

function bounded(violations: readonly FieldViolation[]): FieldViolation[] {
  return violations.slice(0, MAX_VIOLATIONS).map(({ field, description }) => ({
    field: wireText(field, MAX_DESCRIPTION),
    description: wireText(description, MAX_DESCRIPTION),
  }));
}

/** grpc-js percent-encodes the message with encodeURI, which throws on a lone surrogate: half of a cut emoji. */
function wireText(text: string, limit: number): string {
  const cut = text.length > limit ? `${text.slice(0, limit - 1)}…` : text;
  return cut.replace(/\p{Surrogate}/gu, '\ufffd');
}
