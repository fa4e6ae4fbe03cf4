import type { z } from 'zod';
import type { FieldViolation } from '../lib/errors.js';
import { configSchema } from './schema.js';

type Issue = z.core.$ZodIssue;

/** zod's issues in an operator's words: key, value, what is expected, and the likely key for one that is unknown. */
export function explainIssues(issues: readonly Issue[], raw: unknown): FieldViolation[] {
  const byField = new Map<string, FieldViolation>();
  for (const issue of issues) {
    const path = issue.path.map(String);
    if (issue.code === 'unrecognized_keys') {
      for (const key of issue.keys) {
        const problem = unknownKey(path, key);
        byField.set(problem.field, problem);
      }
      continue;
    }
    const field = path.join('.');
    const value = show(valueAt(raw, path));
    // Of several limits that one value breaks, the last is the tightest.
    byField.set(field, { field, description: `${field} is ${value}; expected ${expectation(issue)}` });
  }
  return [...byField.values()];
}

function unknownKey(path: readonly string[], key: string): FieldViolation {
  const field = [...path, key].join('.');
  const guess = closest(key, keysAt(path)) ?? elsewhere(key);
  const hint =
    guess === undefined ? '' : `; did you mean ${[...(guess.includes('.') ? [] : path), guess].join('.')}?`;
  return { field, description: `${field} is not a key that corecast knows${hint}` };
}

function expectation(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_type':
      return article(issue.expected);
    case 'too_small':
      return bound('at least', issue.minimum, issue.origin);
    case 'too_big':
      return bound('at most', issue.maximum, issue.origin);
    case 'invalid_value':
      return `one of ${issue.values.map((value) => show(value)).join(', ')}`;
    default:
      return issue.message;
  }
}

function bound(word: string, limit: number | bigint, origin: string): string {
  if (origin !== 'string') return `${word} ${limit}`;
  return `text of ${word} ${limit} ${limit === 1 ? 'character' : 'characters'}`;
}

function article(type: string): string {
  if (type === 'int') return 'a whole number';
  return type === 'object' ? 'a table' : type === 'array' ? 'an array' : `a ${type}`;
}

type Shape = Readonly<Record<string, unknown>>;

function keysAt(path: readonly string[]): string[] {
  let shape: Shape = configSchema.shape;
  for (const key of path) shape = sectionShape(shape[key]) ?? {};
  return Object.keys(shape);
}

/** A key that exists, but in another section, as "section.key". */
function elsewhere(key: string): string | undefined {
  for (const [section, schema] of Object.entries(configSchema.shape)) {
    if (sectionShape(schema)?.[key] !== undefined) return `${section}.${key}`;
  }
  return undefined;
}

/** Sections are strict objects inside zod's prefault wrapper. */
function sectionShape(schema: unknown): Shape | undefined {
  const wrapped = schema as { unwrap?: () => { shape?: Shape } } | undefined;
  return wrapped?.unwrap?.().shape;
}

/** The nearest name, if it is near enough to be a slip: a third of its letters, at most three. */
export function closest(name: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.min(3, Math.ceil(name.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(name, candidate);
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** Levenshtein's: insertions, deletions and substitutions. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(substitution, previous[j]! + 1, row[j - 1]! + 1));
    }
    previous = row;
  }
  return previous[b.length]!;
}

function valueAt(raw: unknown, path: readonly string[]): unknown {
  let value = raw;
  for (const key of path) value = (value as Record<string, unknown> | undefined)?.[key];
  return value;
}

function show(value: unknown): string {
  const text = typeof value === 'string' ? JSON.stringify(value) : toText(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

function toText(value: unknown): string {
  if (value instanceof Date) return value.toISOString();
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'an array' : 'a table';
  return String(value);
}
