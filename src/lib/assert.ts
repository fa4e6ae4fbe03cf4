import { CorecastError } from './errors.js';

/** States what must hold. A failure is a defect in corecast, never bad input. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new CorecastError('INTERNAL', `assertion failed: ${message}`);
}
