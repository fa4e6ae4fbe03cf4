import { type Command, Option } from 'commander';
import type { TrainModelResponse__Output } from '../../rpc/generated/corecast/v1/TrainModelResponse.js';
import { integer } from '../arguments.js';
import { duration, printJson, printLine } from '../print.js';
import { type ProgressBar, progressBar } from '../progress-bar.js';
import { type DaemonOptions, withDaemon, withDaemonOptions } from './daemon-command.js';
import { scoreTable } from './models.js';

interface TrainOptions extends DaemonOptions {
  readonly seed?: number;
  readonly epochs?: number;
  readonly promote: 'shadow' | 'now';
  readonly fromScratch?: boolean;
}

export function addTrainCommand(program: Command): void {
  withDaemonOptions(
    program
      .command('train')
      .summary('retrain the forecast on this host’s history')
      .description(
        'Trains a candidate at idle priority. One that beats the model in use on unseen data answers beside it on live ' +
          'channels (shadow) and is put in use once it is better there, too. A training that was interrupted is gone on from.',
      ),
  )
    .option(
      '--seed <n>',
      'the same seed and history give the same model',
      integer(0, Number.MAX_SAFE_INTEGER),
    )
    .option('--epochs <n>', 'most passes over the data (default: the daemon’s)', integer(1, 10_000))
    .addOption(
      new Option('--promote <when>', 'when a candidate that is better on unseen data is put in use')
        .choices(['shadow', 'now'])
        .default('shadow'),
    )
    .option('--from-scratch', 'do not go on from an interrupted training')
    .addHelpText('after', '\nExamples:\n  corecast train\n  corecast train --promote now')
    .action(async (options: TrainOptions) => {
      const bar = await progressBar('training', options.json !== true);
      let last: TrainModelResponse__Output | undefined;
      try {
        await withDaemon(options, async (client) => {
          const call = {
            seed: options.seed ?? 0,
            maxEpochs: options.epochs ?? 0,
            promotion: options.promote === 'now' ? 'PROMOTION_POLICY_NOW' : 'PROMOTION_POLICY_SHADOW',
            fromScratch: options.fromScratch === true,
          } as const;
          for await (const step of client.trainModel(call)) {
            show(bar, step);
            last = step;
          }
        });
      } finally {
        bar.stop();
      }
      if (options.json === true) return printJson(resultOf(last));
      if (last?.model) printResult(last);
    });
}

function show(bar: ProgressBar, step: TrainModelResponse__Output): void {
  const { epoch, maxEpochs, trainingLoss, validationLoss, remainingSeconds, resumedEpochs } = step;
  if (epoch <= resumedEpochs) {
    const begun = resumedEpochs > 0 ? `going on after epoch ${resumedEpochs}` : 'begins';
    bar.update(resumedEpochs, maxEpochs, begun);
    return;
  }
  const losses = `loss ${trainingLoss.toFixed(4)}, on unseen data ${validationLoss.toFixed(4)}`;
  bar.update(epoch, maxEpochs, `${losses}, at most ${duration(remainingSeconds)} left`);
}

function resultOf(last: TrainModelResponse__Output | undefined) {
  if (last === undefined) return {};
  const { model, promoted, next, reason, resumedEpochs } = last;
  return { model, promoted, next, reason, resumedEpochs };
}

function printResult({ model, next, reason, resumedEpochs }: TrainModelResponse__Output): void {
  if (model === null) return;
  const resumed =
    resumedEpochs > 0 ? ` Went on after epoch ${resumedEpochs} of an interrupted training.` : '';
  printLine(`${model.id}: ${model.note}${resumed}`);
  printLine();
  printLine(scoreTable(model.scores));
  printLine();
  printLine(reason);
  printLine(NEXT[next]?.(model.id) ?? '');
}

/** What comes next, and what an operator can do about it. */
const NEXT: Readonly<Record<string, (id: string) => string>> = {
  promoted: () => 'next: in use now; `corecast models rollback` goes back',
  shadow: (id) =>
    `next: shadow; \`corecast models list\` shows how it does, \`corecast models promote ${id}\` puts it in use now`,
  none: (id) => `next: none; it is kept, \`corecast models report ${id} --html FILE\` shows how it does`,
};
