import { sum } from '../../lib/sum.js';
import type { Answer__Output } from '../../rpc/generated/corecast/v1/Answer.js';
import type { AnswerGroup__Output } from '../../rpc/generated/corecast/v1/AnswerGroup.js';
import type { GetModelReportResponse__Output } from '../../rpc/generated/corecast/v1/GetModelReportResponse.js';

/** Where answers come from: the model's test part, or this host's live channels. */
export const ORIGINS = ['unseen test sources', 'live channels'] as const;
export type Origin = (typeof ORIGINS)[number];

export interface Dot {
  readonly origin: Origin;
  readonly encoder: string;
  readonly span: string;
  /** Cores. */
  readonly actual: number;
  readonly q50: number;
  readonly q90: number;
}

export interface Share {
  readonly origin: Origin;
  readonly span: string;
  /** 0-1 */
  readonly covered: number;
  readonly low: number;
  readonly high: number;
  readonly outcomes: number;
  readonly runs: number;
}

export interface EncoderError {
  readonly origin: Origin;
  readonly encoder: string;
  /** Mean absolute error of the median, percent. */
  readonly mapePercent: number;
  readonly outcomes: number;
}

/** What the plots show, from what the daemon tells. */
export interface ReportSummary {
  readonly dots: readonly Dot[];
  readonly coverage: readonly Share[];
  readonly errors: readonly EncoderError[];
  /** Spans in order of time. */
  readonly spans: readonly string[];
}

export function summarise({ evidence, live }: GetModelReportResponse__Output): ReportSummary {
  const groups = [
    ...(evidence?.groups ?? []).map((group) => ({ origin: ORIGINS[0], group })),
    ...groupsOf(live).map((group) => ({ origin: ORIGINS[1], group })),
  ];
  const dots = [
    ...(evidence?.answers ?? []).map((answer) => dotOf(ORIGINS[0], answer)),
    ...live.map((answer) => dotOf(ORIGINS[1], answer)),
  ];
  const spans = [...new Map(groups.map(({ group }) => [spanOf(group), group.fromSeconds]))]
    .sort((a, b) => a[1] - b[1])
    .map(([span]) => span);
  return {
    // A log axis has no zero.
    dots: dots.filter(({ actual, q50 }) => actual > 0 && q50 > 0),
    coverage: ORIGINS.flatMap((origin) =>
      spans.flatMap((span) => shareOf(origin, span, groupsIn(groups, origin, 'span', span))),
    ),
    errors: ORIGINS.flatMap((origin) =>
      encodersOf(groups).flatMap((encoder) =>
        errorOf(origin, encoder, groupsIn(groups, origin, 'encoder', encoder)),
      ),
    ),
    spans,
  };
}

/**
 * Wilson's interval of a share, 95 %. `opinions`: rows of one run stand or fall together, so that a run counts once, however
 * many rows it has.
 */
export function wilson(share: number, opinions: number): { low: number; high: number } {
  const z = 1.96;
  const centre = (share + z ** 2 / (2 * opinions)) / (1 + z ** 2 / opinions);
  const half =
    (z / (1 + z ** 2 / opinions)) *
    Math.sqrt((share * (1 - share)) / opinions + z ** 2 / (4 * opinions ** 2));
  return { low: Math.max(0, centre - half), high: Math.min(1, centre + half) };
}

type Group = Omit<AnswerGroup__Output, 'pinball' | 'demand'>;
type OwnedGroup = { readonly origin: Origin; readonly group: Group };

/** Live, each channel has one outcome in each span. */
function groupsOf(answers: readonly Answer__Output[]): Group[] {
  const groups = new Map<string, Group>();
  for (const { encoder, fromSeconds, toSeconds, actual, q50, q90 } of answers) {
    const key = `${encoder} ${fromSeconds}`;
    const before = groups.get(key) ?? {
      encoder,
      fromSeconds,
      toSeconds,
      runs: 0,
      rows: 0,
      covered: 0,
      error: 0,
    };
    groups.set(key, {
      ...before,
      runs: before.runs + 1,
      rows: before.rows + 1,
      covered: before.covered + (actual <= q90 ? 1 : 0),
      error: before.error + Math.abs(actual - q50) / Math.max(1e-3, actual),
    });
  }
  return [...groups.values()];
}

function groupsIn(
  groups: readonly OwnedGroup[],
  origin: Origin,
  by: 'span' | 'encoder',
  value: string,
): Group[] {
  return groups
    .filter((each) => each.origin === origin)
    .map(({ group }) => group)
    .filter((group) => (by === 'span' ? spanOf(group) : group.encoder) === value);
}

function shareOf(origin: Origin, span: string, groups: readonly Group[]): Share[] {
  const outcomes = sum(groups.map(({ rows }) => rows));
  const runs = sum(groups.map((group) => group.runs));
  if (outcomes === 0 || runs === 0) return [];
  const covered = sum(groups.map((group) => group.covered)) / outcomes;
  return [{ origin, span, covered, ...wilson(covered, runs), outcomes, runs }];
}

function errorOf(origin: Origin, encoder: string, groups: readonly Group[]): EncoderError[] {
  const outcomes = sum(groups.map(({ rows }) => rows));
  if (outcomes === 0) return [];
  const mapePercent = (100 * sum(groups.map(({ error }) => error))) / outcomes;
  return [{ origin, encoder, mapePercent, outcomes }];
}

function encodersOf(groups: readonly OwnedGroup[]): string[] {
  return [...new Set(groups.map(({ group }) => group.encoder))].sort();
}

function dotOf(origin: Origin, { encoder, fromSeconds, toSeconds, actual, q50, q90 }: Answer__Output): Dot {
  return { origin, encoder, span: spanOf({ fromSeconds, toSeconds }), actual, q50, q90 };
}

function spanOf({ fromSeconds, toSeconds }: { fromSeconds: number; toSeconds: number }): string {
  return `${fromSeconds}–${toSeconds} s`;
}
