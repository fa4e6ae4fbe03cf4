/**
 * Whether one channel's output keeps real time, by the time stamps of its packets against the wall clock. Times in
 * seconds.
 *
 * A channel is behind by what it lies further back than at its own best so far: an encoder's look-ahead is no lateness, and
 * one that started behind and catches up has no slack from that. It is late when it is behind by more than `lateS`, which
 * has to be above the bursts in which encoders hand out a group of pictures, or has shown nothing FIRST_OUTPUT_S after its
 * FFmpeg began.
 */
export class Lateness {
  #lateS;
  #startS;
  #mediaS;
  #best = Number.POSITIVE_INFINITY;
  #late = false;

  constructor(startS, lateS) {
    this.#startS = startS;
    this.#lateS = lateS;
  }

  /** One that is started by somebody else begins when that is seen. */
  begins(nowS) {
    this.#startS = nowS;
  }

  get shown() {
    return this.#mediaS !== undefined;
  }

  packet(mediaS, nowS) {
    // It was behind until now, whatever this packet brings.
    this.#late ||= this.#isLate(nowS);
    this.#mediaS = Math.max(mediaS, this.#mediaS ?? Number.NEGATIVE_INFINITY);
    this.#best = Math.min(this.#best, nowS - this.#mediaS);
  }

  behindS(nowS) {
    return this.#mediaS === undefined ? 0 : nowS - this.#mediaS - this.#best;
  }

  /** At any time since it was last asked. */
  wasLate(nowS) {
    const late = this.#late || this.#isLate(nowS);
    this.#late = false;
    return late;
  }

  #isLate(nowS) {
    return this.shown ? this.behindS(nowS) > this.#lateS : nowS - this.#startS > FIRST_OUTPUT_S;
  }
}

/** Longer than any look-ahead of these encoders. */
export const FIRST_OUTPUT_S = 5;

/** FFmpeg's framecrc: "#tb 0: 1/25", then "stream, dts, pts, duration, size, checksum" for each packet. */
export class PacketReader {
  #onPacket;
  #rest = '';
  #timeBase = 1;

  /** Called with the packet's decoding time, media seconds. */
  constructor(onPacket) {
    this.#onPacket = onPacket;
  }

  feed(text) {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop();
    for (const line of lines) this.#line(line);
  }

  #line(line) {
    const base = /^#tb 0: (\d+)\/(\d+)/.exec(line);
    if (base !== null) this.#timeBase = Number(base[1]) / Number(base[2]);
    if (line.startsWith('#')) return;
    const dts = Number(line.split(',')[1]);
    if (Number.isFinite(dts)) this.#onPacket(dts * this.#timeBase);
  }
}
