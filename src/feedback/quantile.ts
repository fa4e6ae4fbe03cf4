/** Quantile of ascending numbers, linear between neighbours. NaN of none. */
export function quantileOf(ascending: readonly number[], level: number): number {
  if (ascending.length === 0) return Number.NaN;
  const at = level * (ascending.length - 1);
  const below = Math.floor(at);
  const above = Math.min(ascending.length - 1, below + 1);
  return ascending[below]! + (ascending[above]! - ascending[below]!) * (at - below);
}

export function ascending(values: readonly number[]): number[] {
  return [...values].sort((a, b) => a - b);
}
