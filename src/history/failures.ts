import { CorecastError, isCorecastError, messageOf } from '../lib/errors.js';
import { FORMAT } from './format.js';

/** What a failed read is to the caller. */
export function readFailure(error: unknown): CorecastError {
  if (isCorecastError(error)) return error;
  return new CorecastError('STORE_FAILED', `the history could not be read: ${innermost(error)}`, {
    cause: error,
  });
}

export function innermost(error: unknown): string {
  let inner = error;
  while (inner instanceof Error && inner.cause !== undefined) inner = inner.cause;
  return messageOf(inner);
}

export function newerFormat(dir: string, format: number): CorecastError {
  return new CorecastError(
    'STORE_FAILED',
    `the history in ${dir} has format ${format}, this corecast reads formats up to ${FORMAT}; ` +
      'run a newer corecast, or move the directory away to begin anew (nothing was changed)',
  );
}

export function unavailable(dir: string, why: string): CorecastError {
  return new CorecastError('STORE_FAILED', `the history in ${dir} is not available: ${why}`);
}

export function failed(dir: string, error: unknown, hint = 'is the disk full or read-only?'): CorecastError {
  return new CorecastError('STORE_FAILED', `the history in ${dir} failed: ${innermost(error)}; ${hint}`, {
    cause: error,
  });
}
