const DRAWN_AT_ONCE = 128;

/** Short, unique, ascending in time: milliseconds and a counter in base 36, and chance so that two daemons differ. */
export function shortIds(nowMs: () => number, randomBytes: (count: number) => Buffer): () => string {
  let count = 0;
  let drawn = '';
  return () => {
    count = (count + 1) % 1_296;
    // Asking the kernel for two bytes takes as long as for many.
    if (drawn === '') drawn = randomBytes(2 * DRAWN_AT_ONCE).toString('hex');
    const chance = drawn.slice(0, 4);
    drawn = drawn.slice(4);
    return `${nowMs().toString(36)}${count.toString(36).padStart(2, '0')}${chance}`;
  };
}
