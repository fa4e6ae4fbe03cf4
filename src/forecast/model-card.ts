import { z } from 'zod';
import { CorecastError, messageOf } from '../lib/errors.js';
import { COST_TABLE_ID } from './cost-table.js';
import { staticFeatureNames } from './features.js';
import { type ModelCard, networkShape } from './network.js';
import { LONGEST_WORD, MOST_CONTENTS, MOST_OPTION_SETS, NO_WORDS } from './vocabulary.js';

/** Ids are folder names. */
const MODEL_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** Reads and checks model.json. Throws MODEL_INVALID with everything that is wrong with it. */
export function parseModelCard(text: string, origin: string): ModelCard {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw modelInvalid(origin, [`not JSON: ${messageOf(error)}`], error);
  }
  return checkModelCard(json, origin);
}

export function checkModelCard(value: unknown, origin: string): ModelCard {
  const parsed = cardSchema.safeParse(value);
  if (!parsed.success) {
    const problems = parsed.error.issues
      .slice(0, 8)
      .map(({ path, message }) => `${path.join('.') || 'card'}: ${message}`);
    throw modelInvalid(origin, problems);
  }
  const card = parsed.data as ModelCard;
  const problems = mismatches(card);
  if (problems.length > 0) throw modelInvalid(origin, problems);
  return card;
}

export function checkModelId(id: string): void {
  if (MODEL_ID.test(id)) return;
  throw new CorecastError(
    'INVALID_ARGUMENT',
    `model_id is ${JSON.stringify(id.slice(0, 80))}; expected ${MODEL_ID}`,
    {
      violations: [{ field: 'model_id', description: `expected ${MODEL_ID}` }],
    },
  );
}

export function modelInvalid(origin: string, problems: readonly string[], cause?: unknown): CorecastError {
  return new CorecastError('MODEL_INVALID', `model ${origin}: ${problems.join('; ')}`, {
    ...(cause === undefined ? {} : { cause }),
    metadata: { model: origin },
  });
}

/** What this build's features and network cannot work with. */
function mismatches(card: ModelCard): string[] {
  const names = staticFeatureNames(card.vocabulary ?? NO_WORDS);
  const expected = networkShape(names.length);
  const problems: string[] = [];
  for (const key of ['steps', 'sequenceFeatures', 'staticFeatures', 'targets'] as const) {
    if (card.shape[key] !== expected[key]) {
      problems.push(`shape.${key} is ${card.shape[key]}; this version works with ${expected[key]}`);
    }
  }
  const odd = names.findIndex((name, i) => card.staticFeatureNames[i] !== name);
  if (odd >= 0) {
    const got = card.staticFeatureNames[odd];
    problems.push(`staticFeatureNames[${odd}] is ${JSON.stringify(got)}; expected "${names[odd]}"`);
  }
  if (card.costTable !== COST_TABLE_ID) {
    problems.push(`made for cost table ${card.costTable}; this version has ${COST_TABLE_ID}: train it again`);
  }
  const lengths = {
    sequenceMean: expected.sequenceFeatures,
    sequenceScale: expected.sequenceFeatures,
    staticMean: expected.staticFeatures,
    staticScale: expected.staticFeatures,
  } as const;
  for (const [key, length] of Object.entries(lengths)) {
    const got = card[key as keyof typeof lengths].length;
    if (got !== length) problems.push(`${key} has ${got} numbers; expected ${length}`);
  }
  return problems;
}

const count = z.number().int().min(0).max(1e9);
const size = z.number().int().min(1).max(4096);
const finite = z.number().min(-1e12).max(1e12);
const scale = z.number().min(1e-9).max(1e12);
const numbers = (item: typeof finite) => z.array(item).min(1).max(4096);

const words = (most: number) => z.array(z.string().min(1).max(LONGEST_WORD)).max(most);

const cardSchema = z.object({
  format: z.literal(1),
  id: z.string().regex(MODEL_ID),
  origin: z.enum(['baseline', 'history']),
  trainedMs: z.number().min(0),
  seed: z.number().min(0),
  shape: z.object({
    steps: size,
    sequenceFeatures: size,
    staticFeatures: size,
    // Bounds on a run's time: inference happens on the event loop.
    hidden: size.max(512),
    embed: size.max(512),
    head: size.max(512),
    targets: size,
  }),
  staticFeatureNames: z.array(z.string().max(LONGEST_WORD + 20)).max(4096),
  vocabulary: z.object({ optionSets: words(MOST_OPTION_SETS), contents: words(MOST_CONTENTS) }).optional(),
  costTable: z.string().max(64),
  sequenceMean: numbers(finite),
  sequenceScale: numbers(scale),
  staticMean: numbers(finite),
  staticScale: numbers(scale),
  onnxSha256: z.string().regex(/^[0-9a-f]{64}$/, 'expected 64 lower-case hex digits'),
  trainingRuns: count,
  validationRuns: count,
  scores: z
    .array(
      z.object({
        method: z.string().min(1).max(64),
        mapePercent: z.number(),
        pinball90: z.number(),
        coverage90: z.number(),
      }),
    )
    .max(32),
  weightsFile: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'expected the name of a file beside the card')
    .optional(),
  note: z.string().max(4096),
});
