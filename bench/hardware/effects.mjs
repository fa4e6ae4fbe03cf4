import { fileURLToPath } from 'node:url';
import { learnFleet } from './fleet.mjs';
import { signatureOf } from './methods.mjs';
import { mean } from './statistics.mjs';

const dist = process.env.CORECAST_DIST ?? fileURLToPath(new URL('../../dist', import.meta.url));
const { encodeStatic, STATIC_FEATURE_NAMES } = await import(`${dist}/forecast/features.js`);
const { HOST_EFFECTS } = await import(`${dist}/forecast/host-effects.js`);
const { estimateResponse } = await import(`${dist}/forecast/host-response.js`);

/**
 * By how much machines differ in each effect of the daemon's host-effects.ts: ridge regression of each machine's
 * deviations (mean over videos) on the options' features, and the standard deviation of the weights over machines.
 */
export function effectDeviations(machines, x264Options) {
  const { directions, configs, videos } = learnFleet(machines);
  const known = configs.flatMap((config, c) => (x264Options.has(config) ? [{ config, c }] : []));
  const effects = HOST_EFFECTS.filter(({ option }) => option);
  const features = known.map(({ config }) => {
    const all = encodeStatic(signatureOf(x264Options.get(config)), 1, 1);
    return effects.map(({ feature }) => all[STATIC_FEATURE_NAMES.indexOf(feature)]);
  });
  const middle = effects.map((_, k) => mean(features.map((row) => row[k])));
  const unscaled = Math.sqrt(machines.length - 1);
  const weights = directions.map((row) => {
    const runs = known.map(({ c }, i) => ({
      logRatio: unscaled * mean(videos.map((_, v) => row[v * configs.length + c])),
      loadings: features[i].map((value, k) => value - middle[k]),
      noise: 1,
    }));
    return estimateResponse(effects.length, runs).weights;
  });
  return effects.map(({ feature, sd }, k) => ({
    what: `effect of ${feature}`,
    sd_over_machines: Math.sqrt(mean(weights.map((row) => row[k] ** 2))),
    sd_in_daemon: sd,
  }));
}
