import { isCorecastError } from '../lib/errors.js';
import { unframeJson } from './frame.js';
import { metaKey } from './keys.js';

/** The value of the meta key: the last number given of each kind, and how many names there are. */
export interface Meta {
  readonly record: number;
  readonly chunk: number;
  readonly series: number;
  readonly names: number;
  /** Of what was written with it; absent in format 1. For a FORMAT file that is damaged. */
  readonly format?: number;
}

/** undefined for a missing or damaged one. */
export function parseMeta(framed: Uint8Array | undefined): Meta | undefined {
  if (framed === undefined) return undefined;
  try {
    return unframeJson<Meta>(metaKey, framed);
  } catch (error) {
    if (isCorecastError(error, 'STORE_DAMAGED')) return undefined;
    throw error;
  }
}
