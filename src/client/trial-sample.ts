import type { Sample } from './trial-command.js';

/**
 * Of a second, an encoder's beginning is too large a part: over 44 settings the median difference between a trial and the
 * channel was 14 % for one second and 12 % for two.
 */
const SAMPLE_S = 2;
/** What is forecast first. A file's very beginning is often a title: a part of it is taken from the middle. */
const SPAN_S = 30;
/** A longer sample has to be this much longer to be worth its time. */
const WORTH = 1.5;

/** What is read first of an input of that length; 0 seconds: not known, and then it is read from its beginning. */
export function sampleOf(inputSeconds: number): Sample {
  return middleOf(inputSeconds, SAMPLE_S);
}

/**
 * What can be read next, now that the first sample took that long: pictures change, and a cheap channel can be tried on
 * all of its first half minute in the time that a dear one takes for two seconds. Undefined when it is not worth it.
 */
export function longerSampleOf(
  inputSeconds: number,
  first: { readonly mediaSeconds: number; readonly wallMs: number },
  leftMs: number,
): Sample | undefined {
  const affordable = (first.mediaSeconds * leftMs) / Math.max(1, first.wallMs);
  const sample = middleOf(inputSeconds, affordable);
  return sample.mediaSeconds >= WORTH * first.mediaSeconds ? sample : undefined;
}

/** `mediaSeconds` in the middle of the input's first half minute, or all of it; a short file can't be entered anywhere. */
function middleOf(inputSeconds: number, mediaSeconds: number): Sample {
  const span = inputSeconds > 0 ? Math.min(SPAN_S, inputSeconds) : SPAN_S;
  const taken = Math.min(mediaSeconds, span);
  const known = inputSeconds >= 2 * SAMPLE_S;
  return { fromSeconds: known ? (span - taken) / 2 : 0, mediaSeconds: taken };
}
