import { CorecastError } from '../lib/errors.js';
import type { Peer } from '../rpc/control.js';
import type { Ledger } from './ledger.js';
import { type Answer, answerKey, fingerprintOf } from './ledger-format.js';

/** A mutating call that may be a retry. */
export interface Once<T> {
  readonly method: string;
  readonly peer: Peer;
  readonly idempotencyKey: string;
  /** Everything that makes the call what it is; a retry must have the same. */
  readonly request: unknown;
  readonly signal?: AbortSignal;
  /** Does the work; the answer it writes must have this key and fingerprint. */
  run(key: { key: string; fingerprint: string }, signal: AbortSignal): Promise<T>;
  /** Makes the same result of what was written then. */
  replay(answer: Answer): Promise<T> | T;
}

interface UnderWay {
  readonly fingerprint: string;
  readonly result: Promise<unknown>;
  readonly abort: AbortController;
  callers: number;
}

/**
 * A retry gets the first answer, word for word, also after a restart: for as long as leases.keep_ended_ms says. A retry
 * that comes while the first call still works joins it; the work is given up when all its callers are gone. A call that
 * was refused changed nothing and left no answer: its retry asks anew.
 */
export class FirstAnswers {
  readonly #ledger: Ledger;
  readonly #underWay = new Map<string, UnderWay>();

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  async once<T>(call: Once<T>): Promise<T> {
    const key = answerKey(call.method, call.peer.uid, call.idempotencyKey);
    const fingerprint = fingerprintOf(call.request);
    const work = this.#underWay.get(key);
    const known = work?.fingerprint ?? this.#ledger.fingerprint(key);
    if (known !== undefined && known !== fingerprint) throw conflict(call);
    if (work !== undefined) return this.#join(work, call.signal) as Promise<T>;
    if (known !== undefined) {
      const answer = await this.#ledger.answer(key);
      if (answer !== undefined) return call.replay(answer);
    }
    // Reading took a while: another retry may have come first.
    const raced = this.#underWay.get(key);
    if (raced !== undefined) return this.#join(raced, call.signal) as Promise<T>;
    return this.#start(key, fingerprint, call);
  }

  #start<T>(key: string, fingerprint: string, call: Once<T>): Promise<T> {
    const abort = new AbortController();
    const result = call.run({ key, fingerprint }, abort.signal);
    const work: UnderWay = { fingerprint, result, abort, callers: 0 };
    this.#underWay.set(key, work);
    const done = () => this.#underWay.delete(key);
    result.then(done, done);
    return this.#join(work, call.signal) as Promise<T>;
  }

  #join(work: UnderWay, signal: AbortSignal | undefined): Promise<unknown> {
    work.callers++;
    if (signal === undefined) return work.result;
    return new Promise((resolve, reject) => {
      const leave = () => {
        work.callers--;
        if (work.callers === 0) work.abort.abort();
        reject(new CorecastError('CANCELLED', 'the caller went away'));
      };
      const stay = () => signal.removeEventListener('abort', leave);
      if (signal.aborted) leave();
      else signal.addEventListener('abort', leave, { once: true });
      work.result.then(resolve, reject).finally(stay);
    });
  }
}

function conflict({
  method,
  idempotencyKey,
}: Pick<Once<unknown>, 'method' | 'idempotencyKey'>): CorecastError {
  return new CorecastError(
    'IDEMPOTENCY_CONFLICT',
    `idempotency key ${JSON.stringify(idempotencyKey)} was used before for a different ${method} request; use a new key for each intent`,
  );
}
