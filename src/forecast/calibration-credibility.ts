/**
 * Where the outcomes of a class lie, as log(outcome / the model's median): host, family and class each deviate from their
 * parent by a normal effect of known variance, so that a class with few outcomes takes its parent's word and one with many
 * goes by its own. This is hierarchical credibility (Bühlmann and Straub 1970, Jewell 1975): the exact posterior for these
 * variances, from two sums a class.
 */
export interface Location {
  readonly mean: number;
  readonly variance: number;
}

/** Weighted log ratios of one class; what is old fades. */
export interface Evidence {
  weight: number;
  sum: number;
  /** Reading of the track's clock when it was last aged. */
  at: number;
}

/** Standard deviations in log demand: of machines among each other, then of what is left within a machine. */
export const HOST_PRIOR: Location = { mean: 0, variance: 0.35 ** 2 };
const FAMILY_VARIANCE = 0.1 ** 2;
const CLASS_VARIANCE = 0.07 ** 2;
/** Outcomes after which evidence has faded to 1/e: outcomes of the class itself, and of the whole host. */
const FADING = [
  { own: 8, all: 10 },
  { own: 60, all: 400 },
] as const;
const NOTHING: Precise = { precision: 0, moment: 0 };
const LEAST_WEIGHT = 1e-3;

export interface Located {
  /** Without the family's and the class's own deviation: what the next horizon begins from. */
  readonly host: Location;
  readonly class: Location;
}

/** How long outcomes are remembered; a track weighs a fast and a slow forgetting against each other. */
export type Rate = 0 | 1;
export const FAST: Rate = 0;
export const SLOW: Rate = 1;

export interface LocateQuery {
  readonly family: string;
  readonly name: string;
  readonly prior: Location;
  /** Variance of a single outcome around its class. */
  readonly noise: number;
  readonly clock: number;
  readonly rate: Rate;
}

export function locate(
  classes: ReadonlyMap<string, { readonly family: string; readonly evidence: readonly [Evidence, Evidence] }>,
  query: LocateQuery,
): Located {
  const families = new Map<string, Precise>();
  let own = NOTHING;
  for (const [name, { family, evidence }] of classes) {
    const precise = preciseOf(evidence[query.rate], query);
    if (name === query.name) own = precise;
    const above = blurred(precise, CLASS_VARIANCE);
    families.set(family, added(families.get(family) ?? NOTHING, above));
  }
  let all = preciseLocation(query.prior);
  for (const precise of families.values()) all = added(all, blurred(precise, FAMILY_VARIANCE));
  const host = { mean: all.moment / all.precision, variance: 1 / all.precision };
  const family = refined(host, FAMILY_VARIANCE, families.get(query.family) ?? NOTHING);
  return { host, class: refined(family, CLASS_VARIANCE, own) };
}

export function addEvidence(
  evidence: Evidence,
  logRatio: number,
  weight: number,
  clock: number,
  rate: Rate,
): void {
  const fading = FADING[rate];
  const kept = Math.exp(-weight / fading.own - (clock - evidence.at) / fading.all);
  evidence.weight = evidence.weight * kept + weight;
  evidence.sum = evidence.sum * kept + weight * logRatio;
  evidence.at = clock;
}

/** A mean known with a precision (1 / variance); `moment` is their product. */
interface Precise {
  readonly precision: number;
  readonly moment: number;
}

function preciseOf({ weight, sum, at }: Evidence, { clock, rate, noise }: LocateQuery): Precise {
  const faded = weight * Math.exp(-(clock - at) / FADING[rate].all);
  if (faded < LEAST_WEIGHT) return NOTHING;
  const precision = faded / noise;
  return { precision, moment: (precision * sum) / weight };
}

function preciseLocation({ mean, variance }: Location): Precise {
  return { precision: 1 / variance, moment: mean / variance };
}

function added(a: Precise, b: Precise): Precise {
  return { precision: a.precision + b.precision, moment: a.moment + b.moment };
}

/** What evidence about a child says of its parent, from which the child deviates by `variance`. */
function blurred({ precision, moment }: Precise, variance: number): Precise {
  const share = 1 / (1 + precision * variance);
  return { precision: precision * share, moment: moment * share };
}

/** A child's location from its parent's (which already knows of the child's evidence) and its own evidence. */
function refined(parent: Location, variance: number, own: Precise): Location {
  const prior = 1 / variance;
  const precision = prior + own.precision;
  return {
    mean: (parent.mean * prior + own.moment) / precision,
    variance: 1 / precision + (prior / precision) ** 2 * parent.variance,
  };
}
