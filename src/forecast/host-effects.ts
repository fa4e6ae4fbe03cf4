import { assert } from '../lib/assert.js';
import { encodeStatic, STATIC_FEATURE_NAMES } from './features.js';
import type { Signature } from './signature.js';

/**
 * What makes a host slower or faster at some work than at other work, beside its one speed factor: how wide its vector
 * units are weighs on motion search and subpixel refinement, the size of its caches on large pictures and many
 * references, its FFmpeg build on decoding. Each effect says how much one unit of a feature (features.ts) changes
 * the log of the demand on a host, as a standard deviation over hosts.
 *
 * Those of the x264 options are what 18 Xeon and EPYC machines show: ridge regression of each machine's departures on
 * the features, as printed by
 *   npm run -s bench -- hardware --data x264_hardware.csv.gz --options x264_ugc.csv.gz
 * That data has encodes of one size and no decoding apart: the deviations of size and decoding were chosen on the runs
 * behind the baseline. There the effects take the cost table's median error on unseen pictures from 44.6 to 43.9 % after
 * 5 calibration runs, from 38.9 to 36.7 % after 40 (p90 145 to 129 %):
 *   npm run -s bench -- host-effects
 */
export interface HostEffect {
  readonly feature: string;
  /** Where the effect is nothing: about the middle of what calibration runs. */
  readonly reference: number;
  readonly sd: number;
  /** An x264 or x265 option: nothing for other encoders. */
  readonly option: boolean;
}

export const HOST_EFFECTS: readonly HostEffect[] = [
  { feature: 'references', reference: 0.2, sd: 0.05, option: true },
  { feature: 'motionSearch', reference: 0.3, sd: 0.015, option: true },
  { feature: 'subpel', reference: 0.5, sd: 0.05, option: true },
  { feature: 'bframesLog', reference: 1.4, sd: 0.03, option: true },
  { feature: 'lookaheadLog', reference: 2.4, sd: 0.005, option: true },
  { feature: 'trellis', reference: 0.4, sd: 0.04, option: true },
  { feature: 'largestPixelsLog', reference: -0.5, sd: 0.1, option: false },
  { feature: 'decodeShare', reference: 0.1, sd: 0.4, option: false },
];

/** Names these effects and their scales: values saved under another name mean something else. */
export const HOST_EFFECTS_ID: string = HOST_EFFECTS.map(({ feature, reference, sd }) =>
  [feature, reference, sd].join(':'),
).join(' ');

/** How strongly each effect acts on a channel, in standard deviations over hosts. */
export function hostEffects(signature: Signature): number[] {
  // The CPUs on offer do not enter: any number will do.
  const features = encodeStatic(signature, 1, 1);
  const optioned = OPTION_ENCODERS.reduce((share, place) => share + features[place]!, 0);
  return HOST_EFFECTS.map(({ reference, sd, option }, i) => {
    // Features are means over the outputs, so an encoder without the option has put 0 into the mean.
    const middle = option ? optioned * reference : reference;
    return (features[PLACES[i]!]! - middle) * sd;
  });
}

const placeOf = (name: string) => {
  const place = STATIC_FEATURE_NAMES.indexOf(name);
  assert(place >= 0, `the effects on a host name the feature ${name}, which is none of a signature's`);
  return place;
};
const PLACES = HOST_EFFECTS.map(({ feature }) => placeOf(feature));
const OPTION_ENCODERS = ['family_x264', 'family_x265'].map(placeOf);
