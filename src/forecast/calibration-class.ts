import { costTableDemand } from './cost-table.js';
import type { EncoderFamily } from './encoders.js';
import type { Signature } from './signature.js';
import { dominantFamily } from './signature-family.js';

/**
 * What is calibrated together: the encoder family that costs most, and how much the channel costs by the cost table.
 *
 * Chosen by measurement: residuals of models on models/baseline/runs.jsonl.gz (2026-11), five folds of sources held out, 0.9
 * quantile after calibration: pinball loss / mean 0.171 without classes, 0.174 by family and picture size, 0.162 by family and cost (the
 * same order for the cost table's residuals). Between machines (18 of one x264 study) nearly all that differs is one
 * factor for the whole host: three levels of effort explain 0 to 20 % of the rest. Hence the hierarchy host > family >
 * class, in which a class with few outcomes takes its parent's word. Live and VOD ask the same of an encoder, and the
 * same demand is forecast for both: they share their classes.
 */
export interface SignatureClass {
  readonly family: EncoderFamily;
  /** "x264/heavy": one of 24. */
  readonly name: string;
}

/** Cores by the cost table below which a channel is light (several share a core), or medium. */
const LIGHT_BELOW = 0.15;
const MEDIUM_BELOW = 0.6;

export function signatureClass(signature: Signature): SignatureClass {
  const family = dominantFamily(signature);
  return { family, name: `${family}/${costClass(costTableDemand(signature))}` };
}

function costClass(cores: number): 'light' | 'medium' | 'heavy' {
  if (cores < LIGHT_BELOW) return 'light';
  return cores < MEDIUM_BELOW ? 'medium' : 'heavy';
}
