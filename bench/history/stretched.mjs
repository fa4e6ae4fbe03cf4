/**
 * The recording made longer and wider: whole rounds of it one after another for `seconds`, for `copies` hosts whose rounds
 * begin at different ticks. Values and the jitter of times stay those that were measured.
 */
export class Stretched {
  #series;

  constructor(ticks, { seconds, copies = 1, startMs }) {
    this.seconds = seconds;
    this.copies = copies;
    this.startMs = startMs;
    const beganMs = ticks[0][0][1];
    this.#series = new Map();
    for (const [i, tick] of ticks.entries())
      for (const [name, atMs, value] of tick) {
        const known = this.#series.get(name) ?? [];
        known.push({ tick: i, offsetMs: atMs - beganMs - i * 1000, value });
        this.#series.set(name, known);
      }
    this.rounds = ticks.length;
    this.names = Array.from({ length: copies }, (_, copy) =>
      [...this.#series.keys()].map((name) => (copies === 1 ? name : `h${copy}.${name}`)),
    ).flat();
  }

  get samples() {
    let count = 0;
    for (const name of this.names) for (const _ of this.of(name)) count++;
    return count;
  }

  /** Samples of one series as [atMs, value], times ascending. */
  *of(name, seconds = this.seconds) {
    const [, copy = '0', plain] = this.copies === 1 ? ['', '0', name] : /^h(\d+)\.(.*)$/.exec(name);
    const known = this.#series.get(plain);
    const shift = Math.floor((Number(copy) * this.rounds) / this.copies);
    for (let round = 0; round * this.rounds < seconds + shift; round++)
      for (const { tick, offsetMs, value } of known) {
        const second = round * this.rounds + tick - shift;
        if (second >= 0 && second < seconds) yield [this.startMs + second * 1000 + offsetMs, value];
      }
  }

  /** Tick by tick, as the daemon appends: arrays of {series, atMs, value}. */
  *ticks() {
    const open = this.names.map((series) => ({ series, samples: this.of(series), next: undefined }));
    for (const each of open) each.next = each.samples.next();
    for (let second = 0; second < this.seconds; second++) {
      const endMs = this.startMs + (second + 1) * 1000 - 500;
      const points = [];
      for (const each of open)
        while (!each.next.done && each.next.value[0] < endMs) {
          const [atMs, value] = each.next.value;
          points.push({ series: each.series, atMs, value });
          each.next = each.samples.next();
        }
      yield points;
    }
  }
}
