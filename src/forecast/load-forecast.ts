import type { Quantiles } from './forecast.js';
import { onnxSession, type Session } from './inference.js';
import { LOAD_HORIZONS, type LoadWindow, loadNetworkShape, loadOf } from './load-window.js';
import { QUANTILES } from './network.js';

/** Several networks of one shape, trained from different seeds: their mean is nearer to the truth than any of them. */
export interface LoadModel {
  /** ONNX files. */
  readonly members: readonly Uint8Array[];
  readonly statics: StaticScaling;
  /** What the loads that it learned from are multiples of; 0 when of nothing. */
  readonly resolution: number;
}

/** (x - mean) / scale. */
export interface StaticScaling {
  readonly mean: Float32Array;
  readonly scale: Float32Array;
}

/** CPU percents. */
export interface LoadForecaster {
  /** For each window, one entry per LOAD_HORIZONS entry. */
  forecast(windows: readonly LoadWindow[]): Promise<readonly (readonly Quantiles[])[]>;
  close(): Promise<void>;
}

const ROWS_PER_RUN = 512;
const TRIPLE = QUANTILES.length;
const OUTPUTS = LOAD_HORIZONS.length * TRIPLE;
const MOST_SCALES = 5;

/** Throws what onnxruntime throws on a file that it cannot open. */
export async function openLoadForecaster(model: LoadModel): Promise<LoadForecaster> {
  const shape = loadNetworkShape();
  const sessions: Session[] = [];
  for (const member of model.members) sessions.push(await onnxSession(member, { shape }));
  return {
    async forecast(windows) {
      const forecasts: (readonly Quantiles[])[] = [];
      for (let from = 0; from < windows.length; from += ROWS_PER_RUN) {
        const part = windows.slice(from, from + ROWS_PER_RUN);
        const answers = await meanAnswers(sessions, model.statics, part);
        for (const [i, window] of part.entries()) {
          forecasts.push(decode(window, answers.subarray(i * OUTPUTS, (i + 1) * OUTPUTS), model.resolution));
        }
      }
      return forecasts;
    },
    async close() {
      await Promise.all(sessions.map((session) => session.release()));
    },
  };
}

/** `into` gets the normalised statics of one window at `at`: the trainer and the inference must not differ in this. */
export function normaliseStatics(
  raw: Float32Array,
  { mean, scale }: StaticScaling,
  into: Float32Array,
  at: number,
): void {
  for (let i = 0; i < raw.length; i++) {
    const x = (raw[i]! - mean[i]!) / scale[i]!;
    into[at + i] = Math.min(MOST_SCALES, Math.max(-MOST_SCALES, x));
  }
}

async function meanAnswers(
  sessions: readonly Session[],
  scaling: StaticScaling,
  windows: readonly LoadWindow[],
): Promise<Float32Array> {
  const shape = loadNetworkShape();
  const width = shape.steps * shape.sequenceFeatures;
  const sequence = new Float32Array(windows.length * width);
  const statics = new Float32Array(windows.length * shape.staticFeatures);
  windows.forEach((window, i) => {
    sequence.set(window.sequence, i * width);
    normaliseStatics(window.statics, scaling, statics, i * shape.staticFeatures);
  });
  const sum = new Float32Array(windows.length * OUTPUTS);
  for (const session of sessions) {
    const answers = await session.run({ batch: windows.length, sequence, statics });
    answers.forEach((answer, i) => {
      sum[i]! += answer / sessions.length;
    });
  }
  return sum;
}

/** The median of a quantity that only takes multiples of something is such a multiple; so are the other quantiles. */
function decode(window: LoadWindow, answers: Float32Array, resolution: number): Quantiles[] {
  const at = (i: number) => toResolution(loadOf(window, answers[i]!), resolution);
  return LOAD_HORIZONS.map((_, h) => ({
    q50: at(h * TRIPLE),
    q90: at(h * TRIPLE + 1),
    q99: at(h * TRIPLE + 2),
  }));
}

export function toResolution(load: number, resolution: number): number {
  return resolution === 0 ? load : Math.round(load / resolution) * resolution;
}
