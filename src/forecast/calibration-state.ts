import { z } from 'zod';
import { type CoverageCount, RECENT } from './calibration-coverage.js';
import { type FamilyAlarm, MOST_HOLD_MS, newAlarm } from './calibration-drift.js';
import { type HorizonTrack, LEAST_THETA, MOST_THETA, newTrack } from './calibration-track.js';
import { type ForecastSource, HORIZONS } from './forecast.js';

/** Forecasts that err alike: of one source and model, for new channels or for running ones. */
export interface Stream {
  readonly source: ForecastSource;
  /** Empty unless source is lstm. */
  readonly modelId: string;
  readonly running: boolean;
  /** By horizon. */
  readonly tracks: HorizonTrack[];
  /** By encoder family. */
  readonly alarms: Map<string, FamilyAlarm>;
  /** By class, then horizon. */
  readonly counts: Map<string, CoverageCount[]>;
}

export function newStream(source: ForecastSource, modelId: string, running: boolean): Stream {
  return {
    ...{ source, modelId, running },
    tracks: HORIZONS.map(newTrack),
    alarms: new Map(),
    counts: new Map(),
  };
}

export function alarmOf({ alarms }: Stream, family: string): FamilyAlarm {
  let alarm = alarms.get(family);
  if (alarm === undefined) {
    alarm = newAlarm(HORIZONS.length);
    alarms.set(family, alarm);
  }
  return alarm;
}

/** Streams by name, least recently used first. */
export type Streams = Map<string, Stream>;

/** As many models, their fallbacks included, are remembered; classes and families are few by nature. */
export const MOST_STREAMS = 12;
/** Bumped whenever what is kept means something else: an older state is not understood, and begins anew. */
const FORMAT = 2;

export type CalibrationState = z.input<typeof stateSchema>;

export function stateOf(streams: Streams): CalibrationState {
  const plain = [...streams].map(([name, { tracks, alarms, counts, ...rest }]) => [
    name,
    {
      ...rest,
      tracks: tracks.map((track) => ({ ...track, classes: Object.fromEntries(track.classes) })),
      alarms: Object.fromEntries(alarms),
      counts: Object.fromEntries(counts),
    },
  ]);
  return rounded({ format: FORMAT, streams: Object.fromEntries(plain) }) as CalibrationState;
}

/** Whatever is not a whole state of this format begins anew. */
export function restoredStreams(saved: unknown): Streams {
  const parsed = stateSchema.safeParse(saved);
  return new Map(parsed.success ? Object.entries(parsed.data.streams).slice(-MOST_STREAMS) : []);
}

/** Six digits say all that was learnt, in half the bytes. */
function rounded(value: unknown): unknown {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? value : Number(value.toPrecision(6));
  if (Array.isArray(value)) return value.map(rounded);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, of]) => [key, rounded(of)]));
}

const weight = z.number().min(0).max(1e9);
const name = z.string().max(200);
const mapOf = <T extends z.ZodType>(of: T) =>
  z.record(name, of).transform((entries) => new Map<string, z.output<T>>(Object.entries(entries)));
const horizons = <T extends z.ZodType>(of: T) => z.array(of).length(HORIZONS.length);
const theta = z.number().min(LEAST_THETA).max(MOST_THETA);
const thetas = z.tuple([theta, theta, theta]);
const squares = z.object({ weight, sum: weight });
const evidence = z.object({ weight, sum: z.number().min(-1e9).max(1e9), at: weight });
const share = z.number().min(0).max(1);

const trackSchema = z.object({
  clock: weight,
  believed: z.tuple([share, share]),
  spread: squares,
  noise: squares,
  theta: thetas,
  classes: mapOf(
    z.object({
      family: name,
      evidence: z.tuple([evidence, evidence]),
      spread: squares,
      theta: thetas,
      channels: z.array(z.number().int().min(0)).max(16),
    }),
  ),
});
const excursion = z.object({
  evidence: z.array(z.number().min(0)).length(3),
  outcomes: z.number().int().min(0),
  above: z.number().int().min(0),
});
const alarmSchema = z.object({
  level: z.union([z.literal(0), z.literal(1), z.literal(2)]),
  sinceMs: z.number().min(0),
  untilMs: z.number().min(0),
  holdMs: z.number().min(1).max(MOST_HOLD_MS),
  reason: z.string().max(1_000),
  settled: weight,
  quiet: weight,
  horizons: horizons(z.object({ outcomes: weight, reference: excursion, widened: excursion })),
});
const whole = z.number().int().min(0);
const countSchema = z.object({
  observed: whole,
  covered: z.tuple([whole, whole, whole]),
  recent: z
    .string()
    .regex(/^[0-3]*$/)
    .max(RECENT),
  factors: z.tuple([z.number(), z.number(), z.number()]),
});
const stateSchema = z.object({
  format: z.literal(FORMAT),
  streams: z.record(
    name,
    z.object({
      source: z.enum(['lstm', 'nearest', 'cost_table']),
      modelId: name,
      running: z.boolean(),
      tracks: horizons(trackSchema),
      alarms: mapOf(alarmSchema),
      counts: mapOf(horizons(countSchema)),
    }),
  ),
});
