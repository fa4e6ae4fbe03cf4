import { z } from 'zod';

/**
 * models/ID/evidence.json: what a model was made from, how its training went, and how it did on the sources it had not seen.
 * For people (`corecast models report`): no decision is made by it, and a model without it serves as well.
 */
const count = z.number().int().min(0);
const finite = z.number().min(-1e12).max(1e12);

const partSchema = z.object({
  runs: count,
  rows: count,
  sources: count,
  /** Unix milliseconds: start of its first run, end of its last. */
  fromMs: count,
  toMs: count,
});

const groupSchema = z.object({
  encoder: z.string().max(64),
  /** Index into HORIZONS. */
  horizon: z.number().int().min(0).max(15),
  /** Runs that the rows come from: rows of one run are no independent opinions. */
  runs: count,
  rows: count,
  /** Rows at or below the 0.9 quantile. */
  covered: count,
  /** Sums over the rows: pinball loss of the 0.9 quantile and demand, cores; absolute error over demand. */
  pinball: finite,
  demand: finite,
  error: finite,
});

const pointSchema = z.object({
  encoder: z.string().max(64),
  horizon: z.number().int().min(0).max(15),
  /** Cores. */
  actual: finite,
  q50: finite,
  q90: finite,
});

const evidenceSchema = z.object({
  format: z.literal(1),
  data: z.object({
    hash: z.string().max(64),
    timeOrdered: z.boolean(),
    leftOut: count,
    unusable: count,
    training: partSchema,
    validation: partSchema,
    test: partSchema,
  }),
  /** "random weights" or "the weights of ID". */
  start: z.string().max(200),
  keptEpoch: count,
  /** Epochs after which an interrupted training was taken up again. */
  resumedAfter: z.array(count).max(1000),
  curve: z
    .array(z.object({ epoch: count, trainingLoss: finite.nullable(), validationLoss: finite.nullable() }))
    .max(10_000),
  /** All test rows by encoder and horizon. */
  groups: z.array(groupSchema).max(1000),
  /** An even sample of them. */
  points: z.array(pointSchema).max(10_000),
});

export type ModelEvidence = z.infer<typeof evidenceSchema>;
export type EvidencePart = z.infer<typeof partSchema>;
export type EvidenceGroup = z.infer<typeof groupSchema>;
export type EvidencePoint = z.infer<typeof pointSchema>;

/** Undefined for anything else. */
export function parseEvidence(value: unknown): ModelEvidence | undefined {
  const parsed = evidenceSchema.safeParse(value);
  return parsed.success ? parsed.data : undefined;
}
