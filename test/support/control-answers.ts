import type { Decision } from '../../src/balancer/decision.js';
import type { ModelStep } from '../../src/feedback/model-step.js';
import type { ModelEvidence } from '../../src/forecast/evidence.js';
import type { Forecast } from '../../src/forecast/forecast.js';
import type { ModelCard } from '../../src/forecast/network.js';
import type { Signature } from '../../src/forecast/signature.js';

/** What MemoryControl answers with. */
export const HALF = { q50: 0.5, q90: 0.7, q99: 0.9 };

export const SIGNATURE: Signature = {
  input: { codec: 'h264', width: 1280, height: 720, fps: 25, bitrateBps: 3_000_000, bitDepth: 8 },
  outputs: [
    {
      encoder: 'libx264',
      preset: 'veryfast',
      width: 1280,
      height: 720,
      fps: 25,
      rate: { bitrateBps: 2_500_000 },
      bitDepth: 8,
      options: {},
    },
  ],
  complexity: { spatial: 42.5 },
};

/** The same signature as a message. */
export const SIGNATURE_MESSAGE = {
  input: SIGNATURE.input,
  outputs: [
    {
      encoder: 'libx264',
      preset: 'veryfast',
      width: 1280,
      height: 720,
      fps: 25,
      bitrateBps: 2_500_000,
      bitDepth: 8,
      options: {},
    },
  ],
  complexity: SIGNATURE.complexity,
};

/** What asks for that channel. */
export const RESERVE = {
  signature: SIGNATURE_MESSAGE,
  name: 'news',
  channelClass: 'CHANNEL_CLASS_LIVE',
  idempotencyKey: 'k1',
} as const;

export const FORECAST: Forecast = {
  source: 'cost_table',
  modelId: '',
  cpuCount: 1,
  horizons: [{ fromS: 0, toS: 10, demand: HALF, coreUsage: [HALF], hostLoad: HALF }],
  notes: ['no model yet'],
};

export const CARD = {
  format: 1,
  id: 'baseline-1',
  origin: 'baseline',
  trainedMs: 1_700_000_000_000,
  seed: 1,
  scores: [{ method: 'lstm', mapePercent: 9.5, pinball90: 0.05, coverage90: 0.9 }],
  trainingRuns: 100,
  validationRuns: 20,
  note: 'ships with corecast',
} as unknown as ModelCard;

export const STEPS: readonly ModelStep[] = [
  {
    atMs: 1_700_000_000_000,
    kind: 'trained',
    model: 'baseline-1',
    by: 'uid 0',
    reason: 'better: pinball loss 0.0500',
    seed: 7,
    data: { hash: 'ab12', fromMs: 1_699_000_000_000, toMs: 1_700_000_000_000, runs: 120, sources: 9 },
    scores: [{ method: 'lstm', mapePercent: 9.5, pinball90: 0.05, coverage90: 0.9 }],
  },
  {
    atMs: 1_700_000_100_000,
    kind: 'promoted',
    model: 'baseline-1',
    inUse: 'baseline-1',
    by: 'shadow',
    reason: 'promoted: on 200 outcomes of 80 live channels',
  },
];

const PART = { runs: 40, rows: 400, sources: 3, fromMs: 1_699_000_000_000, toMs: 1_700_000_000_000 };
export const EVIDENCE: ModelEvidence = {
  format: 1,
  data: {
    hash: 'ab12',
    timeOrdered: true,
    leftOut: 4,
    unusable: 1,
    training: PART,
    validation: PART,
    test: PART,
  },
  start: 'random weights',
  keptEpoch: 2,
  resumedAfter: [],
  curve: [
    { epoch: 1, trainingLoss: 0.3, validationLoss: 0.4 },
    { epoch: 2, trainingLoss: 0.2, validationLoss: 0.3 },
    { epoch: 3, trainingLoss: 0.1, validationLoss: null },
  ],
  groups: [
    { encoder: 'x264', horizon: 0, runs: 30, rows: 300, covered: 270, pinball: 6, demand: 200, error: 30 },
    { encoder: 'x265', horizon: 2, runs: 10, rows: 100, covered: 80, pinball: 9, demand: 150, error: 20 },
  ],
  points: [
    { encoder: 'x264', horizon: 0, actual: 0.6, q50: 0.5, q90: 0.7 },
    { encoder: 'x265', horizon: 2, actual: 2.5, q50: 1.9, q90: 2.2 },
  ],
};

export function decisionFor(signature: Signature, reservationId: string): Decision {
  return {
    id: `d-${reservationId}`,
    atMs: 1_700_000_000_000,
    outcome: 'ACCEPTED',
    reasons: [
      { code: 'FITS', text: 'fits', needed: 700, available: 1000, unit: 'thousandths', passed: true },
    ],
    signature,
    forecast: FORECAST,
    candidates: [FORECAST],
    cpus: [{ cpu: 0, shareMilli: 1000 }],
    retryAfterMs: 0,
    reservationId,
  };
}
