/**
 * The usage (0-1) of each CPU a channel held, busiest first, from its total and from what its threads used by the CPU they
 * were last seen on. The latter is a guess: threads move within a tick, and threads that ended are in the total only. So no
 * CPU is busier than 1, and what is left of the total is spread over the others.
 */
export function coreUsage(
  totalCores: number,
  coresByCpu: ReadonlyMap<number, number>,
  held: readonly number[],
): number[] {
  if (held.length === 0) return [];
  const usage = held.map((cpu) => Math.min(1, Math.max(0, coresByCpu.get(cpu) ?? 0)));
  const total = Math.min(held.length, Math.max(0, totalCores));
  const seen = usage.reduce((sum, share) => sum + share, 0);
  if (seen > total) return descending(usage.map((share) => (share * total) / seen));
  let left = total - seen;
  // Fills the least busy ones up to each other: each round fills at least one CPU.
  for (let round = 0; round < held.length && left > 1e-9; round++) {
    const open = usage.map((_, i) => i).filter((i) => usage[i]! < 1);
    if (open.length === 0) break;
    const each = Math.min(left / open.length, ...open.map((i) => 1 - usage[i]!));
    for (const i of open) usage[i]! += each;
    left -= each * open.length;
  }
  return descending(usage);
}

function descending(usage: number[]): number[] {
  return usage.sort((a, b) => b - a);
}
