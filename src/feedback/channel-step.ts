import type { HostState } from '../forecast/forecast.js';
import type { ProcessSample } from '../monitor/sample.js';

/** The ticks of one step of one channel, summed up; rates are weighted by the ticks' lengths. */
export class ChannelStep {
  seconds = 0;
  cpuSeconds = 0;
  readonly #byCpu = new Map<number, number>();
  readonly #host = new Map<keyof HostState, number>();
  #ingressBits = 0;
  #ingressSeconds = 0;

  add(process: ProcessSample, cpuSeconds: number, elapsedS: number, state: HostState): void {
    this.seconds += elapsedS;
    this.cpuSeconds += cpuSeconds;
    for (const [cpu, cores] of process.coresByCpu)
      this.#byCpu.set(cpu, (this.#byCpu.get(cpu) ?? 0) + cores * elapsedS);
    for (const [key, value] of Object.entries(state) as [keyof HostState, number][])
      this.#host.set(key, (this.#host.get(key) ?? 0) + value * elapsedS);
    if (!Number.isFinite(process.ingressBps)) return;
    this.#ingressBits += process.ingressBps * elapsedS;
    this.#ingressSeconds += elapsedS;
  }

  /** CPU seconds per wall second. */
  get cores(): number {
    return this.seconds > 0 ? this.cpuSeconds / this.seconds : 0;
  }

  get coresByCpu(): ReadonlyMap<number, number> {
    return new Map([...this.#byCpu].map(([cpu, seconds]) => [cpu, seconds / this.seconds]));
  }

  /** undefined when no tick measured it. */
  get ingressBps(): number | undefined {
    return this.#ingressSeconds > 0 ? this.#ingressBits / this.#ingressSeconds : undefined;
  }

  get host(): HostState {
    const entries = [...this.#host].map(([key, sum]) => [key, round(sum / this.seconds)]);
    return Object.fromEntries(entries) as unknown as HostState;
  }
}

/** Four places: runs are stored by the ten thousand, and finer digits are noise. */
export function round(value: number): number {
  return Math.round(value * 10_000) / 10_000;
}
