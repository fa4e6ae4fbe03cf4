/* crypto.hash(), in one call, came with Node 20.12. */
import crypto from 'node:crypto';
import type { Decision } from '../balancer/decision.js';
import type { ChannelDemand } from '../balancer/shared-demand.js';
import type { ChannelRequest } from '../rpc/control.js';
import type { Reservation } from './reservation.js';

/*
 * How the ledger lies in LevelDB, format 1.
 *
 * Keys are UTF-8 text:
 *
 *   m/census            one: what the database holds, written with every batch
 *   r/<id>              one for each reservation, ended ones included until they are removed
 *   a/<sha256 of method, uid, idempotency key>
 *                       the first answer to a mutating call
 *   x/<time>/<old key>  a record that could not be read, set aside as it was; nothing reads it but people
 *
 * Values, except under x/, are JSON text of exactly this form:
 *
 *   {"v":1,"sum":"<16 hex digits>","body":<JSON>}
 *
 * `sum` is the first 8 bytes of SHA-256 over the key, a line feed and the body's text. LevelDB checks its blocks only
 * when asked, and classic-level does not let us ask: without the sum a flipped bit could come back as another CPU number.
 *
 * The census counts the r/ and a/ records and carries the exclusive or of their sums. LevelDB drops damaged pieces of
 * its log in silence (it opens without paranoid checks); the census is how we notice. It also carries the token
 * counter: the highest fencing token ever issued.
 *
 * Order of writing: whatever one mutation changes, and the census, go into one batch with sync. So after a crash the
 * database is as it was after some acknowledged mutation or a later one, never between two.
 */
export const FORMAT = 1;

export const CENSUS_KEY = 'm/census';
export const RECORD_PREFIX = 'r/';
export const ANSWER_PREFIX = 'a/';
export const ASIDE_PREFIX = 'x/';

/** What the ledger keeps of a reservation. */
export interface LedgerRecord {
  readonly reservation: Reservation;
  /** How long it waits for Attach, each time that it is PENDING. */
  readonly startTimeoutMs: number;
  /** What was asked for; absent when the reservation was rebuilt from the kernel. */
  readonly request?: ChannelRequest;
  /** The shares were guessed from the kernel's masks, because the ledger had lost the record. */
  readonly sharesGuessed: boolean;
  /** The holder said that it is about to replace its process. */
  readonly restarting: boolean;
  /**
   * Its process was stopped once. Written with the pause and kept: after a kill between the record that says ACTIVE again
   * and the signal that follows, the restart lets the process go on.
   */
  readonly wasPaused?: true;
  /**
   * The boot (/proc/sys/kernel/random/boot_id) in which its process was attached: in another one the same pid and start
   * time are another process. Absent before the first attach, and in records of versions that did not write it.
   */
  readonly bootId?: string;
  /** Of a channel that shares its CPUs with others: what was forecast of it. Absent where it was reserved for by itself. */
  readonly shared?: Shared;
}

/** What a channel that shares CPUs was reserved for. */
export interface Shared {
  readonly demand: ChannelDemand;
  /** CPUs that it can use at once. */
  readonly cpus: number;
}

/** The first answer to a mutating call. */
export interface Answer {
  readonly fingerprint: string;
  /** Unix milliseconds. */
  readonly atMs: number;
  readonly reservation: Reservation;
  /** For Reserve, without the candidates that were not chosen. */
  readonly decision?: Decision;
}

export interface Census {
  readonly token: number;
  readonly records: number;
  readonly answers: number;
  /** Exclusive or of all sums, 16 hex digits. */
  readonly digest: string;
}

export interface Encoded {
  readonly value: string;
  readonly sum: string;
}

export type Decoded<T> =
  | { readonly ok: true; readonly body: T; readonly sum: string }
  | { readonly ok: false; readonly version: number | undefined; readonly problem: string };

const ENVELOPE = /^\{"v":(\d{1,9}),"sum":"([0-9a-f]{16})","body":/;

export function encode(key: string, body: LedgerRecord | Answer | Census): Encoded {
  const text = JSON.stringify(body);
  const sum = sumOf(key, text);
  return { value: `{"v":${FORMAT},"sum":"${sum}","body":${text}}`, sum };
}

export function decode<T>(key: string, value: string): Decoded<T> {
  const envelope = ENVELOPE.exec(value);
  if (envelope === null || !value.endsWith('}')) {
    return { ok: false, version: undefined, problem: 'is not a ledger value' };
  }
  const version = Number(envelope[1]);
  if (version !== FORMAT) return { ok: false, version, problem: `has format ${version}` };
  const text = value.slice(envelope[0].length, -1);
  if (sumOf(key, text) !== envelope[2]) return { ok: false, version, problem: 'does not match its checksum' };
  return { ok: true, body: JSON.parse(text) as T, sum: envelope[2]! };
}

export const ZERO_DIGEST = '0'.repeat(16);

/** Adds a sum to a digest, or takes it out: the same operation. */
export function toggle(digest: string, sum: string): string {
  return (BigInt(`0x${digest}`) ^ BigInt(`0x${sum}`)).toString(16).padStart(16, '0');
}

export function recordKey(id: string): string {
  return RECORD_PREFIX + id;
}

export function answerKey(method: string, uid: number, idempotencyKey: string): string {
  return ANSWER_PREFIX + sha256(JSON.stringify([method, uid, idempotencyKey])).slice(0, 32);
}

/** Names a request: two calls with the same fields, in whatever order, have the same fingerprint. */
export function fingerprintOf(request: unknown): string {
  return sha256(sortedJson(request)).slice(0, 32);
}

/** As JSON.stringify writes it, the keys of each object in order. */
function sortedJson(value: unknown): string {
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'null';
  if (Array.isArray(value)) return `[${value.map(sortedJson).join(',')}]`;
  const fields = value as Record<string, unknown>;
  let text = '';
  for (const key of Object.keys(fields).sort()) {
    const field = fields[key];
    if (field === undefined) continue;
    text += `${text === '' ? '' : ','}${JSON.stringify(key)}:${sortedJson(field)}`;
  }
  return `{${text}}`;
}

function sumOf(key: string, text: string): string {
  return sha256(`${key}\n${text}`).slice(0, 16);
}

function sha256(text: string): string {
  return crypto.hash === undefined
    ? crypto.createHash('sha256').update(text).digest('hex')
    : crypto.hash('sha256', text, 'hex');
}
