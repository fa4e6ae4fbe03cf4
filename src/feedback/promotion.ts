import type { ModelScore } from '../forecast/network.js';

/** Everything was scored on the same rows of sources that the candidate has never seen. */
export interface Contest {
  /** Of the candidate's card: lstm, signature_lookup, cost_table, and for running channels lstm_running and its peers. */
  readonly scores: readonly ModelScore[];
  /** Of the model in use: incumbent, and incumbent_running where there are running channels; empty without a model. */
  readonly incumbent: readonly ModelScore[];
  readonly testRows: number;
  /** Runs that these rows come from: rows of one run are covered or missed together. */
  readonly testRuns: number;
}

export interface Verdict {
  readonly better: boolean;
  /** The numbers, in words that go on from "promoted: " and "not promoted: ". */
  readonly reason: string;
}

/** A smaller gain than this is luck, and a change is never free. */
export const MARGIN = 0.02;
/** Share of rows by which the candidate may cover less than the model in use: online calibration makes up for that. */
export const COVERAGE_SLACK = 0.03;
/** And by which it may do so by luck: as many standard errors of a share of 0.9. */
const LUCK = 2;
export const LEAST_TEST_ROWS = 10;
/** What the network's demand must beat, and what its running rows must. */
const PEERS = ['signature_lookup', 'cost_table'];
const RUNNING_PEERS = ['last_value', 'mean_12', 'ewma'];
const WANTED_COVERAGE = 0.9;

/**
 * The offline contest. A candidate is better only if it is on the newest unseen part: by a margin over the model in use,
 * without covering less, and over every simple method. For running channels it must beat repeating their past, or at
 * least the model in use: the simple methods are not what forecasts them today. Better means a smaller pinball loss of
 * the 0.9 quantile, because that is what cores are reserved by.
 */
export function judgePromotion({ scores, incumbent: inUse, testRows, testRuns }: Contest): Verdict {
  const by = new Map([...scores, ...inUse].map((score) => [score.method, score]));
  const candidate = by.get('lstm');
  const incumbent = by.get('incumbent');
  if (candidate === undefined || !usable(candidate)) return kept('the candidate has no usable score');
  if (testRows < LEAST_TEST_ROWS) {
    return kept(`only ${testRows} unseen rows to judge by, ${LEAST_TEST_ROWS} are needed`);
  }
  const lost = [...losses(candidate, PEERS, by), ...runningLosses(by)];
  if (lost.length > 0) return kept(`${told(candidate)} on ${testRows} unseen rows; ${lost.join('; ')}`);
  const beaten = `${PEERS.map((name) => `${name} ${number(by.get(name)!.pinball90)}`).join(', ')}`;
  if (incumbent === undefined) {
    return {
      better: true,
      reason: `${told(candidate)} on ${testRows} unseen rows, better than ${beaten}; no model was in use`,
    };
  }
  const against = `against ${told(incumbent)} of the model in use`;
  if (!(candidate.pinball90 < incumbent.pinball90 * (1 - MARGIN))) {
    const needed = number(incumbent.pinball90 * (1 - MARGIN));
    return kept(`${told(candidate)} ${against} on ${testRows} unseen rows; below ${needed} is needed`);
  }
  if (uncovered(candidate) > uncovered(incumbent) + COVERAGE_SLACK + luckOf(testRuns)) {
    return kept(`${told(candidate)} ${against} on ${testRows} unseen rows; it covers less`);
  }
  return {
    better: true,
    reason: `${told(candidate)} ${against} on ${testRows} unseen rows, better than ${beaten}`,
  };
}

/** Too little coverage lets channels starve; too much only costs pinball loss. */
export function uncovered({ coverage90 }: Pick<ModelScore, 'coverage90'>): number {
  return Math.max(0, WANTED_COVERAGE - coverage90);
}

function luckOf(runs: number): number {
  return LUCK * Math.sqrt((WANTED_COVERAGE * (1 - WANTED_COVERAGE)) / Math.max(1, runs));
}

function runningLosses(by: ReadonlyMap<string, ModelScore>): string[] {
  const candidate = by.get('lstm_running');
  if (candidate === undefined) return [];
  const incumbent = by.get('incumbent_running');
  if (incumbent !== undefined && candidate.pinball90 < incumbent.pinball90 * (1 - MARGIN)) return [];
  return losses(candidate, RUNNING_PEERS, by);
}

function losses(
  candidate: ModelScore,
  peers: readonly string[],
  by: ReadonlyMap<string, ModelScore>,
): string[] {
  return peers.flatMap((name) => {
    const peer = by.get(name);
    if (peer === undefined) return [`${name} was not scored`];
    if (candidate.pinball90 < peer.pinball90) return [];
    return [
      `${candidate.method} (${number(candidate.pinball90)}) does not beat ${name} (${number(peer.pinball90)})`,
    ];
  });
}

function usable({ pinball90, coverage90 }: ModelScore): boolean {
  return Number.isFinite(pinball90) && Number.isFinite(coverage90);
}

function kept(why: string): Verdict {
  return { better: false, reason: why };
}

function told({ pinball90, coverage90 }: ModelScore): string {
  return `pinball loss ${number(pinball90)} and coverage ${(coverage90 * 100).toFixed(0)} %`;
}

function number(x: number): string {
  return x.toPrecision(3);
}
