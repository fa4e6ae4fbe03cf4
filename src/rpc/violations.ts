import { CorecastError, type FieldViolation, invalidField } from '../lib/errors.js';

/** Collects everything that is wrong with a request, so that a caller mends it in one go. */
export class Violations {
  readonly found: FieldViolation[] = [];

  /** Notes `field` unless `ok`. `expected` completes "field is VALUE; expected …". */
  check(ok: boolean, field: string, value: unknown, expected: string): boolean {
    if (!ok) this.found.push(...(invalidField(field, value, expected).details.violations ?? []));
    return ok;
  }

  integer(field: string, value: number, min: number, max: number, alternative = ''): number {
    const ok = Number.isSafeInteger(value) && value >= min && value <= max;
    this.check(ok, field, value, `a whole number from ${min} to ${max}${alternative}`);
    return value;
  }

  finite(field: string, value: number, min: number, max: number): number {
    const ok = Number.isFinite(value) && value >= min && value <= max;
    this.check(ok, field, value, `a number from ${min} to ${max}`);
    return value;
  }

  /** Text that may end up in a terminal or a log: no control characters. Lengths in characters, not bytes. */
  text(field: string, value: string, min: number, max: number): string {
    const length = value.length <= max ? value.length : [...value].length;
    const ok = length >= min && length <= max && !/\p{Cc}/u.test(value);
    this.check(ok, field, value, `${min} to ${max} characters, none of them control characters`);
    return value;
  }

  present<T>(field: string, value: T | null | undefined): value is T {
    if (value !== null && value !== undefined) return true;
    this.missing(field);
    return false;
  }

  missing(field: string, expected = ''): void {
    const description = `${field} is missing${expected === '' ? '' : `; expected ${expected}`}`;
    this.found.push({ field, description });
  }

  add(violations: readonly FieldViolation[]): void {
    this.found.push(...violations);
  }

  /** Throws INVALID_ARGUMENT with all that was found. */
  raise(): void {
    if (this.found.length === 0) return;
    throw new CorecastError('INVALID_ARGUMENT', this.found.map((one) => one.description).join('; '), {
      violations: this.found,
    });
  }
}
