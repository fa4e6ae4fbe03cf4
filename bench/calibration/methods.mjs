/** What calibrates a stream: {correct(one) -> quantiles, observe(one, quantiles), alarms?}. One horizon is enough. */
import { dist } from './dist.mjs';

const { createCalibration } = await import(`${dist}/forecast/calibration.js`);
const { signatureClass } = await import(`${dist}/forecast/calibration-class.js`);

export const METHODS = {
  uncorrected: () => ({ correct: rawOf, observe: () => undefined }),
  plain_step: plainStep,
  dtaci: aggregated,
  corecast: chosen,
};

const LEVELS = ['q50', 'q90', 'q99'];
const ALPHAS = [0.5, 0.1, 0.01];

function rawOf({ forecast }) {
  return forecast.horizons[0].demand;
}

function chosen() {
  let nowMs = 0;
  const calibration = createCalibration({ nowMs: () => nowMs });
  let issued;
  return {
    correct({ forecast, signature }) {
      [issued] = calibration.correct([forecast], signature);
      return issued.horizons[0].demand;
    },
    observe({ signature, demand, channel }) {
      nowMs += 60_000;
      calibration.observe({ forecast: issued, signature, horizon: 0, demand, channel });
    },
    raised: () => ({ ...calibration.raised }),
  };
}

/** What corecast did before: quantile tracking in log space with one step a quantile, by encoder family. */
function plainStep() {
  const steps = [0.04, 0.1, 0.3];
  const byFamily = new Map();
  const thetas = ({ signature }) => {
    const { family } = signatureClass(signature);
    if (!byFamily.has(family)) byFamily.set(family, [0, 0, 0]);
    return byFamily.get(family);
  };
  return {
    correct(one) {
      const theta = thetas(one);
      return ordered(LEVELS.map((level, i) => rawOf(one)[level] * Math.exp(theta[i])));
    },
    observe(one, quantiles) {
      const theta = thetas(one);
      LEVELS.forEach((level, i) => {
        const missed = Number(one.demand > quantiles[level]);
        theta[i] = clamp(theta[i] + steps[i] * (missed - ALPHAS[i]), Math.log(0.5), Math.log(5));
      });
    },
  };
}

/** DtACI (Gibbs and Candès 2022): experts of several step sizes on the level, over the last 100 log ratios of a class. */
function aggregated() {
  const byClass = new Map();
  const stateOf = ({ signature }) => {
    const { name } = signatureClass(signature);
    if (!byClass.has(name)) {
      const experts = ALPHAS.map((level) => GAMMAS.map(() => ({ level, weight: 1 / GAMMAS.length })));
      byClass.set(name, { scores: [[], [], []], experts });
    }
    return byClass.get(name);
  };
  return {
    correct(one) {
      const { scores, experts } = stateOf(one);
      return ordered(
        LEVELS.map((level, i) => {
          const mixed = experts[i].reduce((sum, expert) => sum + expert.weight * expert.level, 0);
          return rawOf(one)[level] * Math.exp(empirical(scores[i], mixed));
        }),
      );
    },
    observe(one) {
      const { scores, experts } = stateOf(one);
      LEVELS.forEach((level, i) => {
        const score = Math.log(one.demand / rawOf(one)[level]);
        moveExperts(experts[i], 1 - shareBelow(scores[i], score), ALPHAS[i]);
        scores[i].push(score);
        if (scores[i].length > 100) scores[i].shift();
      });
    },
  };
}

const GAMMAS = [0.005, 0.02, 0.08, 0.16];

function moveExperts(experts, beta, alpha) {
  for (const [k, expert] of experts.entries()) {
    const loss = alpha * (beta - expert.level) - Math.min(0, beta - expert.level);
    expert.weight *= Math.exp((-2 * loss) / alpha);
    expert.level = clamp(expert.level + GAMMAS[k] * (alpha - Number(beta < expert.level)), -0.05, 1);
  }
  const total = experts.reduce((sum, { weight }) => sum + weight, 0);
  for (const expert of experts) expert.weight = 0.98 * (expert.weight / total) + 0.02 / experts.length;
}

/** The conformal quantile; beyond the scores, a little more than the largest. */
function empirical(scores, level) {
  if (scores.length === 0) return 0;
  const sorted = [...scores].sort((a, b) => a - b);
  const rank = Math.ceil((1 - level) * (sorted.length + 1));
  return rank > sorted.length ? sorted.at(-1) + 0.1 : sorted[Math.max(0, rank - 1)];
}

function shareBelow(scores, score) {
  return scores.length === 0 ? 0.5 : scores.filter((other) => other < score).length / (scores.length + 1);
}

function ordered([q50, q90, q99]) {
  return { q50, q90: Math.max(q50, q90), q99: Math.max(q50, q90, q99) };
}

function clamp(value, low, high) {
  return Math.min(high, Math.max(low, value));
}
