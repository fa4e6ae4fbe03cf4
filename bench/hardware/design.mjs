/**
 * Which runs to calibrate a machine with: greedily the run that takes most variance off the forecasts of all cells (the
 * I-optimal design of a Bayesian linear model) for its expected seconds to the power of TIME_EXPONENT, while
 * the budget of seconds lasts. `secondsOf` tells what a chosen run took on the machine: from the second run on, those
 * still to come are expected to be slower or faster as those before were. Nothing else that the machine measured enters.
 */
export function calibrationDesign(cells, budgetSeconds, secondsOf = (cell) => cell.seconds) {
  const size = cells[0].loadings.length;
  const moments = secondMoments(cells, size);
  // Covariance of the weights; before any run, the identity.
  const covariance = Float64Array.from({ length: size * size }, (_, i) => Number(i % (size + 1) === 0));
  const chosen = new Set();
  let spent = 0;
  let expected = 0;
  for (;;) {
    const slowness = chosen.size === 0 ? 1 : spent / expected;
    let best;
    for (const cell of cells) {
      if (!(spent + slowness * cell.seconds <= budgetSeconds) || chosen.has(cell)) continue;
      const direction = product(covariance, cell.loadings);
      const variance = dot(cell.loadings, direction) + cell.noise ** 2;
      const gain = dot(direction, product(moments, direction)) / variance / cell.seconds ** TIME_EXPONENT;
      if (best === undefined || gain > best.gain) best = { cell, gain, direction, variance };
    }
    if (best === undefined) return [...chosen];
    chosen.add(best.cell);
    spent += secondsOf(best.cell);
    expected += best.cell.seconds;
    for (let i = 0; i < covariance.length; i++) {
      covariance[i] -= (best.direction[Math.floor(i / size)] * best.direction[i % size]) / best.variance;
    }
  }
}

/**
 * 1 would fill the budget with the shortest runs, whose departures have much in common that the fleet cannot know; 0
 * with few long ones. 0, 0.25, 0.5, 0.75, 1 gave 4.0, 3.5, 3.6, 3.7, 3.8 % median error on the 18 machines of
 * x264_hardware with --folds 18.
 */
const TIME_EXPONENT = 0.25;

/** Mean over the cells of loadings x loadings'. */
function secondMoments(cells, size) {
  const moments = new Float64Array(size * size);
  for (const { loadings } of cells) {
    for (let k = 0; k < size; k++) {
      if (loadings[k] === 0) continue;
      for (let l = 0; l < size; l++) moments[k * size + l] += (loadings[k] * loadings[l]) / cells.length;
    }
  }
  return moments;
}

function product(matrix, vector) {
  const size = vector.length;
  const result = new Float64Array(size);
  for (let k = 0; k < size; k++) {
    let sum = 0;
    for (let l = 0; l < size; l++) sum += matrix[k * size + l] * vector[l];
    result[k] = sum;
  }
  return result;
}

function dot(a, b) {
  let sum = 0;
  for (let k = 0; k < a.length; k++) sum += a[k] * b[k];
  return sum;
}
