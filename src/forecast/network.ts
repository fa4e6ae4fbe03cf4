import { HORIZONS, WINDOW_STEPS } from './forecast.js';
import type { Vocabulary } from './vocabulary.js';

/**
 * The one network, as the trainer (native/lstm.*), the ONNX writer and the inference agree on it.
 *
 *   sequence [B, WINDOW_STEPS, SEQUENCE_FEATURES] --LSTM(hidden)--> h_T [B, hidden]
 *   static   [B, staticFeatures] --Dense(embed, ReLU)--> --Dense(embed, ReLU)--> e [B, embed]
 *   concat(h_T, e) --Dense(head, ReLU)--> r = Dense(OUTPUTS)
 *
 * r holds triples (base, d90, d99). y = (base, base + softplus(d90), base + softplus(d90) + softplus(d99)), so that the
 * quantiles 0.5, 0.9, 0.99 never cross. Triples in order, for each of HORIZONS:
 *   1. demand: natural log of (demand / cost table's estimate)
 *   2. usage of the CPUs, busiest first, at RANK_KNOTS relative ranks (linear, 0-1): rank i of c CPUs stands at
 *      i / max(1, c - 1) and is interpolated between the knots
 *   3. host load (linear, 0-1) if the channel runs
 * Loss: mean pinball over the triples whose target is known (NaN = unknown).
 */
export const SEQUENCE_FEATURES = [
  'busy',
  'coreSpread',
  'busiestCore',
  'memoryUsed',
  'diskBusy',
  'ingressLog',
  'queueLog',
  'cpuPressure',
  'channelsLog',
  'reserved',
  // The channel's own; zero while channelPresent is 0.
  'channelCores',
  'channelIngressLog',
  'channelSpeed',
  'channelPresent',
] as const;

export const QUANTILES = [0.5, 0.9, 0.99] as const;
export const RANK_KNOTS = [0, 1 / 3, 2 / 3, 1] as const;

/** Targets (and triples) per horizon: demand, one per knot, host load. */
export const TARGETS_PER_HORIZON = 1 + RANK_KNOTS.length + 1;
export const TARGETS = HORIZONS.length * TARGETS_PER_HORIZON;
export const OUTPUTS = TARGETS * QUANTILES.length;

export interface NetworkShape {
  readonly steps: number;
  readonly sequenceFeatures: number;
  readonly staticFeatures: number;
  readonly hidden: number;
  readonly embed: number;
  readonly head: number;
  readonly targets: number;
}

export function networkShape(staticFeatures: number): NetworkShape {
  return {
    steps: WINDOW_STEPS,
    sequenceFeatures: SEQUENCE_FEATURES.length,
    staticFeatures,
    hidden: 32,
    embed: 64,
    head: 64,
    targets: TARGETS,
  };
}

/** ONNX names. sequence: float32 [batch, steps, features]; static: float32 [batch, features]; quantiles: [batch, OUTPUTS]. */
export const ONNX_INPUT_SEQUENCE = 'sequence';
export const ONNX_INPUT_STATIC = 'static';
export const ONNX_OUTPUT = 'quantiles';

/**
 * models/ID/model.json beside models/ID/model.onnx: the card that a machine reads. The inputs are normalised outside the
 * network: (x - mean) / scale.
 */
export interface ModelCard {
  readonly format: 1;
  readonly id: string;
  readonly origin: 'baseline' | 'history';
  readonly trainedMs: number;
  readonly seed: number;
  readonly shape: NetworkShape;
  /** STATIC_FEATURE_NAMES, then one for each word of `vocabulary`. */
  readonly staticFeatureNames: readonly string[];
  /** Absent: the model has no words of its own. */
  readonly vocabulary?: Vocabulary;
  /** COST_TABLE_ID of the table that the demand targets are relative to: another table makes the model void. */
  readonly costTable: string;
  readonly sequenceMean: readonly number[];
  readonly sequenceScale: readonly number[];
  readonly staticMean: readonly number[];
  readonly staticScale: readonly number[];
  /** Lower-case hex of model.onnx. */
  readonly onnxSha256: string;
  readonly trainingRuns: number;
  readonly validationRuns: number;
  readonly scores: readonly ModelScore[];
  /** Raw trainer weights for a warm start, file beside the card; absent for models that were imported. */
  readonly weightsFile?: string;
  readonly note: string;
}

export interface ModelScore {
  /** "lstm", "signature_lookup", "cost_table", "last_value", ... */
  readonly method: string;
  readonly mapePercent: number;
  /** Pinball loss at 0.9 over mean demand. */
  readonly pinball90: number;
  /** 0-1 */
  readonly coverage90: number;
}
