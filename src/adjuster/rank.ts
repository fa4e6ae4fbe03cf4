import type { Reservation } from '../reservation/reservation.js';

/**
 * Live channels that are late together are not equally dear: who ranks lowest goes down its ladder first, and comes back last.
 * Pure. Only channels on common CPUs can help each other.
 */

/** Those that rank below it, the lowest first. */
export function below(channel: Reservation, others: readonly Reservation[]): readonly Reservation[] {
  return neighbours(channel, others)
    .filter(({ priority }) => priority < channel.priority)
    .sort((a, b) => a.priority - b.priority);
}

export function above(channel: Reservation, others: readonly Reservation[]): readonly Reservation[] {
  return neighbours(channel, others).filter(({ priority }) => priority > channel.priority);
}

function neighbours({ id, cpus }: Reservation, others: readonly Reservation[]): Reservation[] {
  const mine = new Set(cpus.map(({ cpu }) => cpu));
  return others.filter(
    (other) =>
      other.id !== id && other.channelClass === 'live' && other.cpus.some(({ cpu }) => mine.has(cpu)),
  );
}
