/** From seconds to figures. Pure. */

/** Share of a run's channel seconds that may be late. */
export const LIMIT = 0.001;
/** "At once" is a mean over so many seconds: a channel that comes as another goes is not one more. */
const AT_ONCE_S = 10;
/** The first step of the daemon's record of a run: FFmpeg loads, encoders fill their look-ahead. */
const FIRST_STEP_S = 5;
/** Of HORIZONS, the one in which a channel of a minute mostly runs. */
const HORIZON = 1;

/**
 * One run. `marks` of each second; the first `fillS` fill the host and count for lateness only; those after `seconds` are the
 * neighbour's burst. channels: mean that ran; channels_on_time: the same where the whole run kept the limit, otherwise 0.
 * other_cores: what the channels did not take, starting them and whatever else runs here.
 */
export function outcomeOf({ policy, setting, marks, endings, refusedByRule, gaveUpS, seconds, fillS, cpus }) {
  const main = marks.slice(0, seconds);
  const full = main.slice(fillS);
  const channelSeconds = sumOf(main, 'channels');
  const lateSeconds = sumOf(main, 'late');
  const lateShare = channelSeconds === 0 ? 0 : lateSeconds / channelSeconds;
  const kept = gaveUpS === undefined && lateShare <= LIMIT;
  const count = (ending) => endings.filter((one) => one === ending).length;
  return {
    policy,
    setting: setting ?? null,
    channels_on_time: kept ? meanOf(full, 'channels') : 0,
    channels: meanOf(full, 'channels'),
    most_at_once: mostAtOnce(main),
    late_seconds: lateSeconds,
    late_share: lateShare,
    utilisation: meanOf(full, 'busy'),
    cores_used: rateOf(full, 'cpuS'),
    other_cores: meanOf(full, 'busy') * cpus - rateOf(full, 'cpuS'),
    arrivals: endings.length + refusedByRule,
    refused: refusedByRule + count('refused'),
    failed: count('failed'),
    gave_up_s: gaveUpS ?? null,
  };
}

/** Most channels in any AT_ONCE_S before more than the limit's share of the whole run's seconds was late. */
function mostAtOnce(marks) {
  const allowed = LIMIT * sumOf(marks, 'channels');
  let late = 0;
  let most = 0;
  for (let i = 0; i < marks.length; i++) {
    late += marks[i].late;
    if (late > allowed) break;
    if (i + 1 >= AT_ONCE_S) most = Math.max(most, meanOf(marks.slice(i + 1 - AT_ONCE_S, i + 1), 'channels'));
  }
  return most;
}

/** What corecast itself took, in cores, and what was promised beside what was used, shares of the CPUs. */
export function costsOf(marks, { seconds, fillS, cpus }) {
  const full = marks.slice(fillS, seconds);
  return {
    daemon_cores: rateOf(full, 'daemonCpuS'),
    wrapper_cores: rateOf(full, 'wrapperCpuS'),
    promised_share: meanOf(full, 'reserved'),
    used_share: rateOf(full, 'cpuS') / cpus,
  };
}

/** The neighbour's burst and the recovery from it. */
export function burstOf(marks, seconds) {
  const burst = marks.slice(seconds);
  const channelSeconds = sumOf(burst, 'channels');
  const lateSeconds = sumOf(burst, 'late');
  return {
    burst_channels: meanOf(burst, 'channels'),
    burst_late_seconds: lateSeconds,
    burst_late_share: channelSeconds === 0 ? 0 : lateSeconds / channelSeconds,
  };
}

/** Forecasts at admission against the daemon's own record of what was then used, the first step left out. */
export function forecastsOf(results) {
  const known = results.flatMap(({ run }) => {
    const steady = run?.samples.filter(({ atS }) => atS > FIRST_STEP_S) ?? [];
    if (steady.length === 0 || run.forecast === undefined) return [];
    const used = meanOf(steady, 'demandCores');
    return [{ used, source: run.forecast.source, ...run.forecast.horizons[HORIZON].demand }];
  });
  const total = (key) => sumOf(known, key);
  return {
    forecasts: known.length,
    forecast_median_error_percent: median(known.map(({ used, q50 }) => (100 * Math.abs(q50 - used)) / used)),
    forecast_q90_coverage: meanOf(
      known.map(({ used, q90 }) => ({ covered: Number(used <= q90) })),
      'covered',
    ),
    forecast_q50_over_used: total('q50') / total('used'),
    forecast_q90_over_used: total('q90') / total('used'),
    by_lstm: known.filter(({ source }) => source === 'lstm').length,
  };
}

/** Of all runs: figures are corecast's, peers have their best setting, which is chosen on the same sequence. */
export function compare(outcomes) {
  const bests = new Map();
  for (const outcome of outcomes) {
    const before = bests.get(outcome.policy);
    if (before === undefined || better(outcome, before)) bests.set(outcome.policy, outcome);
  }
  const own = bests.get('corecast');
  const others = [...bests.values()].filter(({ policy }) => policy !== 'corecast');
  const ratio = (key) => (own === undefined ? null : ratioTo(others, own[key], key));
  const { policy: _, setting: __, ...figures } = own ?? {};
  return {
    figures: {
      ratio_to_best_peer: ratio('channels_on_time'),
      ratio_to_best_peer_at_once: ratio('most_at_once'),
      ...figures,
    },
    peers: Object.assign(
      {},
      ...others.map(({ policy, ...rest }) =>
        Object.fromEntries(PEER_FIGURES.map((key) => [`${policy}_${key}`, rest[key]])),
      ),
    ),
  };
}

const PEER_FIGURES = [
  'setting',
  'channels_on_time',
  'most_at_once',
  'late_seconds',
  'late_share',
  'utilisation',
  'refused',
];

function better(one, other) {
  if (one.channels_on_time !== other.channels_on_time) return one.channels_on_time > other.channels_on_time;
  return one.most_at_once > other.most_at_once;
}

function ratioTo(others, own, key) {
  const best = Math.max(0, ...others.map((other) => other[key]));
  return best === 0 ? null : own / best;
}

function sumOf(items, key) {
  return items.reduce((sum, item) => sum + item[key], 0);
}

function meanOf(items, key) {
  return items.length === 0 ? 0 : sumOf(items, key) / items.length;
}

/** Of a total that grows, per second. */
function rateOf(marks, key) {
  return marks.length < 2 ? 0 : (marks.at(-1)[key] - marks[0][key]) / (marks.length - 1);
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  if (sorted.length === 0) return null;
  return (sorted[Math.floor((sorted.length - 1) / 2)] + sorted[Math.ceil((sorted.length - 1) / 2)]) / 2;
}
