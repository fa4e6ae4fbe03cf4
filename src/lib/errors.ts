/**
 * The one list of what can go wrong, in the words that clients see. rpc/error-map.ts turns each code into a gRPC
 * status; a test holds the two together.
 */
export const ERROR_CODES = [
  'INVALID_ARGUMENT', // a field is malformed or out of range; `field` and `value` say which
  'NOT_FOUND', // no such reservation, decision, model or series
  'STALE_TOKEN', // the fencing token was superseded
  'WRONG_STATE', // the reservation's state does not allow this
  'IDEMPOTENCY_CONFLICT', // the key was used before with a different request
  'NO_CAPACITY', // does not fit now; `retryAfterMs` says when to ask again
  'QUEUE_FULL', // as many requests wait as are allowed
  'LIMIT_EXCEEDED', // a per-peer limit
  'PERMISSION_DENIED', // not the caller's process or reservation
  'PROCESS_GONE', // no such process, or the pid now names another one
  'KERNEL', // a system call failed; `errno` says how
  'MODEL_INVALID', // a model file is missing, corrupt or has the wrong shape
  'MODEL_BUSY', // a training run is already under way
  'STORE_FAILED', // the database could not write or read
  'STORE_DAMAGED', // the database is damaged
  'CONFIG_INVALID', // corecast.toml
  'DAEMON_UNREACHABLE', // the client could not reach the daemon
  'CANCELLED', // the caller went away or asked to stop
  'INTERNAL', // a defect in corecast
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

export interface FieldViolation {
  /** Path in the request or file, for instance "signature.outputs[0].preset". */
  field: string;
  /** What was wrong with it, the value included. */
  description: string;
}

export interface CorecastErrorDetails {
  violations?: readonly FieldViolation[];
  retryAfterMs?: number;
  errno?: string;
  /** Extra facts for ErrorInfo.metadata. */
  metadata?: Readonly<Record<string, string>>;
  cause?: unknown;
}

export class CorecastError extends Error {
  readonly code: ErrorCode;
  readonly details: CorecastErrorDetails;

  constructor(code: ErrorCode, message: string, details: CorecastErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'CorecastError';
    this.code = code;
    this.details = details;
  }
}

/** A bad field: the message names the field and quotes the value. */
export function invalidField(field: string, value: unknown, expected: string): CorecastError {
  const description = `${field} is ${quote(value)}; expected ${expected}`;
  return new CorecastError('INVALID_ARGUMENT', description, { violations: [{ field, description }] });
}

export function isCorecastError(error: unknown, code?: ErrorCode): error is CorecastError {
  return error instanceof CorecastError && (code === undefined || error.code === code);
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function quote(value: unknown): string {
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return text.length > 120 ? `${text.slice(0, 117)}...` : text;
}
