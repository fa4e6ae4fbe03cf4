import { type ServiceError, status } from '@grpc/grpc-js';
import { CorecastError, type ErrorCode, messageOf } from '../lib/errors.js';
import { DETAILS_TRAILER, decodeStatusDetails } from '../rpc/status-details.js';

/** What grpc-js threw, as the error that the daemon meant. */
export function fromCallError(error: unknown, socket: string): CorecastError {
  if (error instanceof CorecastError) return error;
  if (!isServiceError(error)) return new CorecastError('INTERNAL', messageOf(error), { cause: error });
  const trailer = error.metadata?.get(DETAILS_TRAILER)[0];
  const details = trailer instanceof Buffer ? decodeStatusDetails(trailer) : undefined;
  if (details !== undefined) {
    const { code, metadata, violations, retryAfterMs } = details;
    return new CorecastError(code, error.details, {
      metadata,
      ...(violations === undefined ? {} : { violations }),
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
      ...(metadata['errno'] === undefined ? {} : { errno: metadata['errno'] }),
      cause: error,
    });
  }
  if (error.code === status.UNAVAILABLE) return unreachable(socket, error.details, error);
  if (error.code === status.DEADLINE_EXCEEDED) {
    return unreachable(socket, 'corecastd did not answer in time', error);
  }
  const code = WITHOUT_DETAILS[error.code] ?? 'INTERNAL';
  return new CorecastError(code, error.details, { cause: error });
}

/** Says where the daemon was looked for and what to do about it. */
export function unreachable(socket: string, why: string, cause?: unknown): CorecastError {
  return new CorecastError(
    'DAEMON_UNREACHABLE',
    `cannot reach corecastd at ${socket}: ${why}; is it running (systemctl status corecastd)?`,
    { metadata: { socket }, cause },
  );
}

/** Statuses that grpc-js makes itself, on either side. */
const WITHOUT_DETAILS: Readonly<Partial<Record<status, ErrorCode>>> = {
  [status.CANCELLED]: 'CANCELLED',
  [status.INVALID_ARGUMENT]: 'INVALID_ARGUMENT',
  [status.RESOURCE_EXHAUSTED]: 'LIMIT_EXCEEDED',
};

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && typeof (error as ServiceError).code === 'number';
}
