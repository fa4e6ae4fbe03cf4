/** Short, unique, ascending in time: milliseconds and a counter in base 36, and chance so that two daemons differ. */
export function shortIds(nowMs: () => number, randomBytes: (count: number) => Buffer): () => string {
  let count = 0;
  return () => {
    count = (count + 1) % 1_296;
    const chance = randomBytes(2).toString('hex');
    return `${nowMs().toString(36)}${count.toString(36).padStart(2, '0')}${chance}`;
  };
}
