import { join } from 'node:path';
import { z } from 'zod';
import { JsonLines } from '../lib/json-lines.js';

/**
 * What happened to the models of this host, and why: one entry a step, never changed, in <state>/models/steps.jsonl. It
 * outlives the history's retention, because the question is asked long afterwards.
 */
export const STEP_KINDS = [
  'trained', // a candidate came out; what becomes of it is in `reason`
  'cancelled', // a training was stopped; the next one goes on from its checkpoint
  'failed', // a training could not be done
  'skipped', // a training was due, and the host had no room for it
  'shadow', // a candidate runs beside the model in use
  'abandoned', // it no longer does, and was not promoted
  'promoted', // in use from now on
  'kept', // a promotion stood its test beside its predecessor
  'rolled_back', // no longer in use; its predecessor is
] as const;

export type StepKind = (typeof STEP_KINDS)[number];

const dataSchema = z.object({
  /** Of all rows, SHA-256. */
  hash: z.string().max(64),
  /** Unix milliseconds: start of the oldest run, end of the newest. */
  fromMs: z.number(),
  toMs: z.number(),
  runs: z.number(),
  sources: z.number(),
});

const scoreSchema = z.object({
  method: z.string().max(64),
  mapePercent: z.number(),
  pinball90: z.number(),
  coverage90: z.number(),
});

const stepSchema = z.object({
  atMs: z.number().min(0),
  kind: z.enum(STEP_KINDS),
  /** Empty where no model came of it. */
  model: z.string().max(64),
  /** The model in use after the step, where the step changed it. */
  inUse: z.string().max(64).optional(),
  /** "uid N", "schedule", "shadow" or "alarm". */
  by: z.string().max(64),
  /** One sentence, with the numbers. */
  reason: z.string().max(1000),
  /** Of a training. */
  seed: z.number().optional(),
  data: dataSchema.optional(),
  /** What the step was decided by: offline on unseen rows, or live. */
  scores: z.array(scoreSchema).max(32).optional(),
});

export type ModelStep = z.infer<typeof stepSchema>;
export type StepData = z.infer<typeof dataSchema>;

/** About 2,000 to 4,000 steps: years of nightly trainings. */
const MOST_BYTES = 1 << 20;

export function openModelSteps(modelsDirectory: string): JsonLines<ModelStep> {
  return new JsonLines(join(modelsDirectory, 'steps.jsonl'), {
    mostBytes: MOST_BYTES,
    sync: true,
    parse: (value) => {
      const parsed = stepSchema.safeParse(value);
      return parsed.success ? (parsed.data as ModelStep) : undefined;
    },
  });
}
