import { type DecideInput, decide } from '../../src/balancer/decide.js';
import type { ReasonCode } from '../../src/balancer/decision.js';
import { configSchema } from '../../src/config/schema.js';
import { regularTopology } from './topology-of.js';

export const TWO = regularTopology({ nodes: 1, l3sPerNode: 1, coresPerL3: 2, threads: 1 });
export const EIGHT = regularTopology({ nodes: 1, l3sPerNode: 1, coresPerL3: 8, threads: 1 });

export const limits = (more: Partial<DecideInput['limits']>) => ({
  ...configSchema.parse({}).limits,
  ...more,
});

/** Codes of the checks that were not passed. */
export const failed = (input: DecideInput) =>
  decide(input).reasons.flatMap(({ passed, code }): ReasonCode[] => (passed ? [] : [code]));

export const textOf = (input: DecideInput, code: ReasonCode) =>
  decide(input).reasons.find((reason) => reason.code === code)?.text;
