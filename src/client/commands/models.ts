import type { Command } from 'commander';
import type { Model__Output } from '../../rpc/generated/corecast/v1/Model.js';
import { integer } from '../arguments.js';
import { printJson, printLine, table, time } from '../print.js';
import { progressBar } from '../progress-bar.js';
import { type DaemonOptions, withDaemon, withDaemonOptions } from './daemon-command.js';

export function addModelsCommand(program: Command): void {
  const models = program.command('models').description('The forecast models on this host.');
  withDaemonOptions(models.command('list').description('Models with their errors on unseen data.'))
    .addHelpText('after', '\nExample:\n  corecast models list')
    .action(async (options: DaemonOptions) => {
      const answer = await withDaemon(options, (client) => client.listModels({}));
      if (options.json === true) return printJson(answer);
      for (const model of answer.models) printModel(model);
      if (answer.models.length === 0) printLine('no models');
    });
  withDaemonOptions(
    models.command('promote').description('Puts a model in use.').argument('<id>', 'from `models list`'),
  )
    .addHelpText('after', '\nExample:\n  corecast models promote baseline-1')
    .action(async (modelId: string, options: DaemonOptions) => {
      const { model } = await withDaemon(options, (client) => client.promoteModel({ modelId }));
      if (options.json === true) return printJson({ model });
      printLine(`in use: ${model?.id ?? modelId}`);
    });
  withDaemonOptions(models.command('rollback').description('Back to the model that was in use before.'))
    .addHelpText('after', '\nExample:\n  corecast models rollback')
    .action(async (options: DaemonOptions) => {
      const { model } = await withDaemon(options, (client) => client.rollbackModel({}));
      if (options.json === true) return printJson({ model });
      printLine(`in use: ${model?.id ?? 'none'}`);
    });
}

interface TrainOptions extends DaemonOptions {
  readonly seed?: number;
  readonly epochs?: number;
}

export function addTrainCommand(program: Command): void {
  withDaemonOptions(
    program
      .command('train')
      .summary('retrain the forecast on this host’s history')
      .description(
        'Trains a candidate at idle priority; it is used only if it beats the model in use on unseen data.',
      ),
  )
    .option(
      '--seed <n>',
      'the same seed and history give the same model',
      integer(0, Number.MAX_SAFE_INTEGER),
    )
    .option('--epochs <n>', 'most passes over the data (default: the daemon’s)', integer(1, 10_000))
    .addHelpText('after', '\nExample:\n  corecast train')
    .action(async (options: TrainOptions) => {
      const bar = await progressBar('training', options.json !== true);
      let last: { model: Model__Output | null; promoted: boolean; reason: string } | undefined;
      try {
        await withDaemon(options, async (client) => {
          for await (const step of client.trainModel({
            seed: options.seed ?? 0,
            maxEpochs: options.epochs ?? 0,
          })) {
            const { epoch, maxEpochs, validationLoss, remainingSeconds, model, promoted, reason } = step;
            bar.update(
              epoch,
              maxEpochs,
              `loss ${validationLoss.toFixed(4)}, ${Math.round(remainingSeconds)} s left at most`,
            );
            if (model !== null) last = { model, promoted, reason };
          }
        });
      } finally {
        bar.stop();
      }
      if (options.json === true) return printJson(last ?? {});
      if (last?.model) {
        printModel(last.model);
        printLine(`${last.promoted ? 'now in use' : 'not used'}: ${last.reason}`);
      }
    });
}

function printModel(model: Model__Output): void {
  printLine(
    `${model.inUse ? '*' : ' '} ${model.id}  ${model.origin}, ${time(model.trainedMs)}, ${model.trainingRuns} runs`,
  );
  if (model.note !== '') printLine(`    ${model.note}`);
  if (model.scores.length === 0) return;
  const scores = table(
    [
      { title: '    METHOD', value: (s) => `    ${s.method}` },
      { title: 'MAPE', value: (s) => `${s.mapePercent.toFixed(1)} %`, right: true },
      { title: 'PINBALL 0.9', value: (s) => s.pinball90.toFixed(4), right: true },
      { title: 'BELOW 0.9', value: (s) => `${(s.coverage90 * 100).toFixed(1)} %`, right: true },
    ],
    model.scores,
  );
  printLine(scores);
}
