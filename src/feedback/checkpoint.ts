import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { weightsFromBytes, weightsToBytes } from './lstm-addon.js';
import type { TrainingState } from './model-maker.js';

/**
 * Where an interrupted training was. It is gone on from only with the same data, seed and bound on epochs (by which the rate
 * falls), and then ends in the same bits as if it had never stopped. The file: 64 hex digits of SHA-256 over the rest, a line of JSON, then three
 * arrays of float32 (weights, optimiser, best weights). Written by the training process beside itself and renamed; a file
 * that a crash cut short does not match its checksum and counts as none.
 */
export interface Checkpoint {
  /** Of the dataset. */
  readonly hash: string;
  readonly seed: number;
  readonly maxEpochs: number;
  /** Runs that ended later are not part of the dataset. */
  readonly untilMs: number;
  readonly state: TrainingState;
}

export async function writeCheckpoint(file: string, { state, ...named }: Checkpoint): Promise<void> {
  const { weights, optimiser, best, ...numbers } = state.fit;
  const { weights: bestWeights, ...bestNumbers } = best;
  const header = {
    format: 2,
    ...named,
    start: state.start,
    resumedAfter: state.resumedAfter,
    curve: state.curve,
    fit: { ...numbers, best: bestNumbers },
    lengths: [weights.length, optimiser.length, bestWeights.length],
  };
  const body = Buffer.concat([
    Buffer.from(`${JSON.stringify(header)}\n`),
    ...[weights, optimiser, bestWeights].map(weightsToBytes),
  ]);
  await mkdir(dirname(file), { recursive: true });
  const temporary = `${file}.new`;
  await writeFile(temporary, Buffer.concat([Buffer.from(digestOf(body)), body]));
  await rename(temporary, file);
}

/** Undefined when there is none that can be gone on from. */
export async function readCheckpoint(file: string): Promise<Checkpoint | undefined> {
  try {
    const bytes = await readFile(file);
    const body = bytes.subarray(64);
    if (bytes.toString('latin1', 0, 64) !== digestOf(body)) return undefined;
    const end = body.indexOf(0x0a);
    const header = headerSchema.parse(JSON.parse(body.toString('utf8', 0, end)));
    let at = end + 1;
    const [weights, optimiser, bestWeights] = header.lengths.map((length) => {
      const array = weightsFromBytes(body.subarray(at, at + 4 * length));
      at += 4 * length;
      return array;
    });
    const { hash, seed, maxEpochs, untilMs, start, resumedAfter, curve, fit } = header;
    return {
      hash,
      seed,
      maxEpochs,
      untilMs,
      state: {
        start,
        resumedAfter,
        curve,
        fit: {
          ...fit,
          weights: weights!,
          optimiser: optimiser!,
          best: { ...fit.best, weights: bestWeights! },
        },
      },
    };
  } catch {
    return undefined;
  }
}

/** Whether it is of such a training, if the data is the same. */
export function isFor(job: Pick<Checkpoint, 'seed' | 'maxEpochs'>, { seed, maxEpochs }: Checkpoint): boolean {
  return seed === job.seed && maxEpochs === job.maxEpochs;
}

export function removeCheckpoint(file: string): Promise<void> {
  return rm(file, { force: true });
}

function digestOf(body: Uint8Array): string {
  return createHash('sha256').update(body).digest('hex');
}

const length = z.number().int().min(1).max(64e6);
const headerSchema = z.object({
  format: z.literal(2),
  hash: z.string(),
  seed: z.number(),
  maxEpochs: z.number(),
  untilMs: z.number(),
  start: z.string(),
  resumedAfter: z.array(z.number()),
  curve: z.array(
    z.object({
      epoch: z.number(),
      trainingLoss: z.number().nullable(),
      validationLoss: z.number().nullable(),
    }),
  ),
  fit: z.object({
    epoch: z.number().int().min(1),
    sinceBetter: z.number().int().min(0),
    best: z.object({ bestEpoch: z.number().int().min(0), validationLoss: z.number() }),
  }),
  lengths: z.tuple([length, length, length]),
});
