/** Of ascending numbers, linear between neighbours; NaN of none. */
export function quantile(ascending: ArrayLike<number>, level: number): number {
  if (ascending.length === 0) return Number.NaN;
  const at = level * (ascending.length - 1);
  const below = Math.floor(at);
  const above = Math.min(ascending.length - 1, below + 1);
  return ascending[below]! + (ascending[above]! - ascending[below]!) * (at - below);
}

/** NaN of none. */
export function mean(values: Iterable<number> & { readonly length: number }): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum / values.length;
}
