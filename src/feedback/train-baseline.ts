import { createReadStream } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { createGunzip } from 'node:zlib';
import { Command, InvalidArgumentError } from 'commander';
import type { ModelScore } from '../forecast/network.js';
import type { Run } from '../history/records.js';
import { CorecastError, messageOf } from '../lib/errors.js';
import type { TrainedModel } from './model-maker.js';
import { runTraining } from './training-run.js';

/**
 * Makes the baseline that ships from measured runs:
 *   node dist/feedback/train-baseline.js RUNS.jsonl.gz OUTDIR [--seed N] [--epochs N]
 * writes OUTDIR/{model.onnx,model.json,weights.bin,evidence.json} and prints the scores on the unseen sources.
 */
const program = new Command('train-baseline')
  .description(
    'Trains the shipped baseline model from measured runs (JSON lines, one Run each, gzip or plain).',
  )
  .argument('<runs>', 'file of runs, as corecast calibrate --out writes it')
  .argument('<outdir>', 'folder for model.onnx, model.json, weights.bin and evidence.json')
  .option('--seed <n>', 'seed of split, weights and shuffling', wholeNumber, 1)
  .option('--epochs <n>', 'most epochs; early stopping usually ends sooner', wholeNumber, 400)
  .option('--members <n>', 'networks that answer with their mean', wholeNumber, 3)
  .option('--trained-ms <n>', 'date for the card, unix milliseconds; now when absent', wholeNumber)
  .action(trainBaseline);

try {
  await program.parseAsync();
} catch (error) {
  process.stderr.write(`train-baseline: ${messageOf(error)}\n`);
  process.exitCode = 1;
}

async function trainBaseline(
  runsFile: string,
  outdir: string,
  options: { seed: number; epochs: number; members: number; trainedMs?: number },
): Promise<void> {
  const job = {
    seed: options.seed,
    maxEpochs: options.epochs,
    members: options.members,
    origin: 'baseline' as const,
    trainedMs: options.trainedMs ?? Date.now(),
  };
  const runs = readRunLines(runsFile);
  const training = runTraining({ runs, job, housekeeping: [], signal: new AbortController().signal });
  for await (const message of training) {
    if (message.kind === 'trained') {
      await writeBaseline(outdir, message.model);
      print(message.model);
    } else if (message.kind === 'epoch' && message.epoch % 10 === 0) {
      const { epoch, trainingLoss, validationLoss } = message;
      process.stderr.write(
        `epoch ${epoch}: training loss ${trainingLoss.toFixed(4)}, validation ${validationLoss.toFixed(4)}\n`,
      );
    }
  }
}

/** A run that cannot be read stops everything: a baseline is made from a whole file or not at all. */
async function* readRunLines(path: string): AsyncGenerator<Run> {
  const file = createReadStream(path);
  const text = path.endsWith('.gz') ? file.pipe(createGunzip()) : file;
  // readline reports no errors of its input.
  const failed = new Promise<never>((_, reject) => {
    for (const stream of [file, text]) {
      stream.once('error', (cause: Error) =>
        reject(new CorecastError('INVALID_ARGUMENT', `${path}: ${messageOf(cause)}`, { cause })),
      );
    }
  });
  failed.catch(() => undefined);
  const lines = createInterface({ input: text })[Symbol.asyncIterator]();
  for (let number = 1; ; number++) {
    const { value, done } = await Promise.race([lines.next(), failed]);
    if (done) return;
    if (value === '') continue;
    try {
      yield JSON.parse(value) as Run;
    } catch (cause) {
      throw new CorecastError('INVALID_ARGUMENT', `${path}:${number}: not JSON: ${messageOf(cause)}`, {
        cause,
      });
    }
  }
}

/** The card last: a folder without it is no model. */
async function writeBaseline(outdir: string, { card, onnx, weights, evidence }: TrainedModel): Promise<void> {
  await mkdir(outdir, { recursive: true });
  await writeFile(join(outdir, 'model.onnx'), onnx);
  await writeFile(join(outdir, card.weightsFile ?? 'weights.bin'), weights);
  await writeFile(join(outdir, 'evidence.json'), `${JSON.stringify(evidence)}\n`);
  await writeFile(join(outdir, 'model.json'), `${JSON.stringify(card, null, 1)}\n`);
}

function print({ card, onnx, testRows, testSources }: TrainedModel): void {
  const row = (cells: readonly string[]) =>
    `${cells[0]!.padEnd(18)}${cells
      .slice(1)
      .map((cell) => cell.padStart(14))
      .join('')}\n`;
  const scored = ({ method, mapePercent, pinball90, coverage90 }: ModelScore) => [
    method,
    `${mapePercent.toFixed(1)} %`,
    pinball90.toFixed(4),
    `${(coverage90 * 100).toFixed(1)} %`,
  ];
  process.stdout.write(`model ${card.id}, seed ${card.seed}, cost table ${card.costTable}\n`);
  process.stdout.write(`${card.note}\n`);
  process.stdout.write(
    `runs: ${card.trainingRuns} training, ${card.validationRuns} validation; ` +
      `test: ${testRows} rows of ${testSources.length} unseen sources\n`,
  );
  process.stdout.write(`model.onnx: ${onnx.byteLength} bytes, sha256 ${card.onnxSha256}\n\n`);
  process.stdout.write(row(['method', 'MAPE', 'pinball90', 'coverage90']));
  for (const score of card.scores) process.stdout.write(row(scored(score)));
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new InvalidArgumentError('expected a whole number');
  return value;
}
