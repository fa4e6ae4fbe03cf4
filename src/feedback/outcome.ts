import { join } from 'node:path';
import { z } from 'zod';
import { JsonLines } from '../lib/json-lines.js';

/** What was said of a channel's demand in one horizon before it started, and what it turned out to be. Cores. */
const saidSchema = z.object({
  /** A model's id; "nearest" or "cost_table" where no model answered. */
  model: z.string().max(64),
  q50: z.number(),
  q90: z.number(),
});

const outcomeSchema = z.object({
  atMs: z.number(),
  /** Its reservation: outcomes of one channel are no independent opinions. */
  channel: z.string().max(200),
  encoder: z.string().max(64),
  /** Index into HORIZONS. */
  horizon: z.number().int().min(0),
  demand: z.number().min(0),
  /** What was handed out. */
  served: saidSchema,
  /** What the models beside it said. */
  shadows: z.array(saidSchema).max(4),
});

export type Said = z.infer<typeof saidSchema>;
export type Outcome = z.infer<typeof outcomeSchema>;

/** About 10,000 to 20,000 outcomes. */
const MOST_BYTES = 2 << 20;

/** Live outcomes in <state>/models/outcomes.jsonl: trials are judged by them, also after a restart. */
export function openOutcomes(modelsDirectory: string): JsonLines<Outcome> {
  return new JsonLines(join(modelsDirectory, 'outcomes.jsonl'), {
    mostBytes: MOST_BYTES,
    sync: false,
    parse: (value) => {
      const parsed = outcomeSchema.safeParse(value);
      return parsed.success ? parsed.data : undefined;
    },
  });
}
