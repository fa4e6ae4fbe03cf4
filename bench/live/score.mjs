/**
 * From channels to figures. A result: {encoder, measured, q50, q90, source, costTableCores, probeCores?, complexityCost?}
 * in cores, or {failed}.
 */

/** Rows by encoder, figures over all and over both halves in the order of the channels, and what simple methods reach. */
export function scores(results) {
  const known = results.filter(({ failed }) => failed === undefined);
  const half = Math.floor(known.length / 2);
  const costs = known.flatMap(({ complexityCost }) => (complexityCost === undefined ? [] : [complexityCost]));
  const alone = (key) =>
    medianError(
      known.filter((result) => key in result),
      key,
    );
  return {
    rows: [...new Set(known.map(({ encoder }) => encoder))].sort().map((encoder) => {
      const own = known.filter((result) => result.encoder === encoder);
      return {
        encoder,
        channels: own.length,
        median_error_percent: medianError(own),
        q90_coverage: coverage(own),
        least_cores: Math.min(...own.map(({ measured }) => measured)),
        most_cores: Math.max(...own.map(({ measured }) => measured)),
      };
    }),
    figures: {
      median_error_percent: medianError(known),
      q90_coverage: coverage(known),
      channels: known.length,
      failed: results.length - known.length,
      first_half_median_error_percent: medianError(known.slice(0, half)),
      first_half_q90_coverage: coverage(known.slice(0, half)),
      second_half_median_error_percent: medianError(known.slice(half)),
      second_half_q90_coverage: coverage(known.slice(half)),
      by_lstm: known.filter(({ source }) => source === 'lstm').length,
      complexity_wall_ms_p50: quantile(
        costs.map(({ wallMs }) => wallMs),
        0.5,
      ),
      complexity_wall_ms_max: quantile(
        costs.map(({ wallMs }) => wallMs),
        1,
      ),
      complexity_cpu_s_p50: quantile(
        costs.map(({ cpuSeconds }) => cpuSeconds),
        0.5,
      ),
    },
    peers: {
      cost_table_median_error_percent: alone('costTableCores'),
      probe_alone_median_error_percent: alone('probeCores'),
    },
  };
}

function medianError(results, key = 'q50') {
  return quantile(
    results.map((result) => (100 * Math.abs(result[key] - result.measured)) / result.measured),
    0.5,
  );
}

function coverage(results) {
  return mean(results.map(({ measured, q90 }) => Number(measured <= q90)));
}

export function mean(values) {
  return values.length === 0 ? null : values.reduce((a, b) => a + b, 0) / values.length;
}

/** Linear between neighbours; null of nothing. */
function quantile(values, q) {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const at = q * (sorted.length - 1);
  const low = sorted[Math.floor(at)];
  return low + (sorted[Math.ceil(at)] - low) * (at - Math.floor(at));
}
