/** Option set and size: the median and the 0.9 quantile, per pixel, of what training saw of them; else of the option set. */
export function lookup(training, unseen) {
  const started = performance.now();
  const seen = new Map();
  for (const row of training) {
    for (const key of keysOf(row)) {
      const known = seen.get(key);
      const value = row.y / (row.width * row.height);
      if (known === undefined) seen.set(key, [value]);
      else known.push(value);
    }
  }
  const quantiles = new Map([...seen].map(([key, values]) => [key, quantilesOf(values)]));
  const seconds = (performance.now() - started) / 1000;
  const of = (row) => {
    const [q50, q90] = quantiles.get(keysOf(row).find((key) => quantiles.has(key)));
    const pixels = row.width * row.height;
    return [q50 * pixels, q90 * pixels];
  };
  const answers = unseen.map(of);
  return { q50: answers.map(([q50]) => q50), q90: answers.map(([, q90]) => q90), seconds };
}

/** Exact size, else half an octave of pixels, else any size. */
function keysOf({ config, width, height }) {
  const octave = Math.round(2 * Math.log2(width * height));
  return [`${config}/${width}x${height}`, `${config}/~${octave}`, config];
}

function quantilesOf(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return [0.5, 0.9].map((q) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]);
}
