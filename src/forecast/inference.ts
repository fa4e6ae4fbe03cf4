import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import { messageOf } from '../lib/errors.js';
import { WINDOW_STEPS } from './forecast.js';
import { joinRuns } from './joined-runs.js';
import { modelInvalid } from './model-card.js';
import {
  type ModelCard,
  ONNX_INPUT_SEQUENCE,
  ONNX_INPUT_STATIC,
  ONNX_OUTPUT,
  OUTPUTS,
  SEQUENCE_FEATURES,
} from './network.js';

/**
 * One ONNX session, ready to run. onnxruntime-node runs a session on the event loop's thread, so the model must be
 * small (the card's bounds see to that) and gets one thread, no pool and no spinning: cores belong to the channels.
 */
export interface Model {
  readonly card: ModelCard;
  /**
   * Raw features in, raw network output out: `batch` rows of OUTPUTS numbers. Throws MODEL_INVALID when the output has
   * the wrong length or a number in it is not finite.
   */
  run(sequence: Float32Array, statics: readonly Float32Array[]): Promise<Float32Array>;
  /** No new runs; the session is released when the last one under way has ended. */
  retire(): void;
}

/** The part of an onnxruntime session that is used here. */
export interface Session {
  run(inputs: SessionInputs): Promise<Float32Array>;
  release(): Promise<void>;
}

export interface SessionInputs {
  readonly batch: number;
  /** [batch, steps, sequence features] */
  readonly sequence: Float32Array;
  /** [batch, static features] */
  readonly statics: Float32Array;
}

export type SessionFactory = (onnx: Uint8Array, card: ModelCard) => Promise<Session>;

/** Checks the file against its card, opens it and makes one test run. Throws MODEL_INVALID with what is wrong. */
export async function openModel(
  card: ModelCard,
  onnx: Uint8Array,
  createSession: SessionFactory = onnxSession,
): Promise<Model> {
  const digest = createHash('sha256').update(onnx).digest('hex');
  if (digest !== card.onnxSha256) {
    throw modelInvalid(card.id, [`model.onnx has SHA-256 ${digest}; its card says ${card.onnxSha256}`]);
  }
  let session: Session;
  try {
    session = await createSession(onnx, card);
  } catch (error) {
    throw modelInvalid(card.id, [`onnxruntime cannot open it: ${messageOf(error)}`], error);
  }
  const model = modelOf(card, session);
  try {
    const width = card.shape.staticFeatures;
    const means = Float32Array.from({ length: width }, (_, i) => card.staticMean[i]!);
    await model.run(new Float32Array(WINDOW_STEPS * SEQUENCE_FEATURES.length), [
      means,
      new Float32Array(width),
    ]);
  } catch (error) {
    model.retire();
    throw modelInvalid(card.id, [`its test run failed: ${messageOf(error)}`], error);
  }
  return model;
}

function modelOf(card: ModelCard, session: Session): Model {
  let underWay = 0;
  let retired = false;
  const releaseWhenIdle = () => {
    // A release that fails leaks one session; there is nobody left to tell.
    if (retired && underWay === 0) session.release().catch(() => undefined);
  };
  const joined = joinRuns(async (sequence, statics) => {
    const output = await session.run(normalised(card, sequence, statics));
    checkOutput(card, output, statics.length);
    return output;
  });
  return {
    card,
    async run(sequence, statics) {
      if (retired) throw modelInvalid(card.id, ['no longer in use']);
      underWay++;
      try {
        return await joined(sequence, statics);
      } finally {
        underWay--;
        releaseWhenIdle();
      }
    },
    retire() {
      if (retired) return;
      retired = true;
      releaseWhenIdle();
    },
  };
}

function normalised(
  card: ModelCard,
  sequence: Float32Array,
  statics: readonly Float32Array[],
): SessionInputs {
  const width = SEQUENCE_FEATURES.length;
  const steps = sequence.map((x, i) =>
    bounded((x - card.sequenceMean[i % width]!) / card.sequenceScale[i % width]!),
  );
  const rows = statics.map((row) =>
    row.map((x, i) => bounded((x - card.staticMean[i]!) / card.staticScale[i]!)),
  );
  const batch = statics.length;
  const allSteps = new Float32Array(batch * sequence.length);
  const allRows = new Float32Array(batch * card.shape.staticFeatures);
  rows.forEach((row, i) => {
    allSteps.set(steps, i * sequence.length);
    allRows.set(row, i * card.shape.staticFeatures);
  });
  return { batch, sequence: allSteps, statics: allRows };
}

/** Far outside what it was trained on a network extrapolates wildly: 10 deviations are as good as any more. */
function bounded(x: number): number {
  return Math.min(10, Math.max(-10, x));
}

function checkOutput(card: ModelCard, output: Float32Array, batch: number): void {
  if (output.length !== batch * OUTPUTS) {
    throw modelInvalid(card.id, [
      `gave ${output.length} numbers for ${batch} rows; expected ${batch * OUTPUTS}`,
    ]);
  }
  const odd = output.findIndex((value) => !Number.isFinite(value));
  if (odd >= 0)
    throw modelInvalid(card.id, [
      `output ${odd % OUTPUTS} of row ${Math.floor(odd / OUTPUTS)} is ${output[odd]}`,
    ]);
}

/**
 * onnxruntime's own session. The library is loaded by the first call: 20 MB that a host without a model does not need.
 * Since 1.30 it reports its use to its maker over the network and keeps a database for that in $HOME; a host's daemon
 * tells nobody anything. It reads the variable once, when it starts.
 */
export const onnxSession = async (
  onnx: Uint8Array,
  { shape }: Pick<ModelCard, 'shape'>,
): Promise<Session> => {
  process.env['ORT_DISABLE_TELEMETRY'] = '1';
  const { InferenceSession, Tensor } = require('onnxruntime-node') as typeof import('onnxruntime-node');
  const session = await InferenceSession.create(onnx, {
    executionProviders: ['cpu'],
    executionMode: 'sequential',
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    graphOptimizationLevel: 'all',
    logSeverityLevel: 3,
    extra: { session: { intra_op: { allow_spinning: '0' }, inter_op: { allow_spinning: '0' } } },
  });
  const missing = [
    ...[ONNX_INPUT_SEQUENCE, ONNX_INPUT_STATIC].filter((name) => !session.inputNames.includes(name)),
    ...[ONNX_OUTPUT].filter((name) => !session.outputNames.includes(name)),
  ];
  if (missing.length > 0 || session.inputNames.length !== 2) {
    await session.release();
    throw new Error(
      `has inputs ${session.inputNames.join(', ')} and outputs ${session.outputNames.join(', ')}; ` +
        `expected ${ONNX_INPUT_SEQUENCE}, ${ONNX_INPUT_STATIC} and ${ONNX_OUTPUT}`,
    );
  }
  return {
    async run({ batch, sequence, statics }) {
      const outputs = await session.run({
        [ONNX_INPUT_SEQUENCE]: new Tensor('float32', sequence, [batch, shape.steps, shape.sequenceFeatures]),
        [ONNX_INPUT_STATIC]: new Tensor('float32', statics, [batch, shape.staticFeatures]),
      });
      const output = outputs[ONNX_OUTPUT];
      if (!(output?.data instanceof Float32Array)) throw new Error(`${ONNX_OUTPUT} is not float32`);
      return output.data;
    },
    release: () => session.release(),
  };
};

const require = createRequire(import.meta.url);
