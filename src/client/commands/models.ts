import type { Command } from 'commander';
import type { Model__Output } from '../../rpc/generated/corecast/v1/Model.js';
import type { ModelScore__Output } from '../../rpc/generated/corecast/v1/ModelScore.js';
import type { ModelStep__Output } from '../../rpc/generated/corecast/v1/ModelStep.js';
import { integer } from '../arguments.js';
import { ago, printJson, printLine, table, time } from '../print.js';
import { type DaemonOptions, withDaemon, withDaemonOptions } from './daemon-command.js';

export function addModelsCommand(program: Command): void {
  const models = program.command('models').description('The forecast models on this host.');
  addList(models);
  addHistory(models);
  addReport(models);
  addPromote(models);
  addRollback(models);
}

function addList(models: Command): void {
  withDaemonOptions(
    models.command('list').description('Models, what state they are in and why, and how wrong they are.'),
  )
    .option('--scores', 'also how each compares with other methods on its unseen data')
    .addHelpText('after', '\nExample:\n  corecast models list')
    .action(async (options: DaemonOptions & { scores?: boolean }) => {
      const answer = await withDaemon(options, (client) => client.listModels({}));
      if (options.json === true) return printJson(answer);
      if (answer.models.length === 0) return printLine('no models');
      printLine(modelTable(answer.models, Date.now()));
      printLine();
      for (const model of answer.models) if (model.why !== '') printLine(`${model.id}: ${model.why}`);
      if (options.scores !== true) return;
      for (const model of answer.models) printScores(model);
    });
}

function addHistory(models: Command): void {
  withDaemonOptions(
    models
      .command('history')
      .description('What happened to the models, and why: trainings, trials, promotions, rollbacks.')
      .argument('[id]', 'of one model only'),
  )
    .option('--limit <n>', 'the newest so many', integer(1, 2_000), 30)
    .addHelpText('after', '\nExample:\n  corecast models history')
    .action(async (modelId: string | undefined, options: DaemonOptions & { limit: number }) => {
      const answer = await withDaemon(options, (client) =>
        client.listModelSteps({ modelId: modelId ?? '', limit: options.limit }),
      );
      if (options.json === true) return printJson(answer);
      if (answer.steps.length === 0) return printLine('nothing happened yet');
      printLine(stepTable(answer.steps));
    });
}

function addReport(models: Command): void {
  withDaemonOptions(
    models
      .command('report')
      .description('One self-contained page about a model, with plots.')
      .argument('<id>', 'from `models list`')
      .requiredOption('--html <file>', 'where to write it'),
  )
    .addHelpText('after', '\nExample:\n  corecast models report lstm-4d1f6beea006 --html report.html')
    .action(async (modelId: string, options: DaemonOptions & { html: string }) => {
      const answer = await withDaemon(options, (client) => client.getModelReport({ modelId }));
      const { reportPage } = await import('../report/page.js');
      const { writeFile } = await import('node:fs/promises');
      await writeFile(options.html, reportPage(answer, Date.now()));
      if (options.json === true) return printJson({ modelId, file: options.html });
      printLine(`written: ${options.html}`);
    });
}

function addPromote(models: Command): void {
  withDaemonOptions(
    models.command('promote').description('Puts a model in use.').argument('<id>', 'from `models list`'),
  )
    .addHelpText('after', '\nExample:\n  corecast models promote baseline-1')
    .action(async (modelId: string, options: DaemonOptions) => {
      const { model } = await withDaemon(options, (client) => client.promoteModel({ modelId }));
      if (options.json === true) return printJson({ model });
      printLine(`in use: ${model?.id ?? modelId}`);
    });
}

function addRollback(models: Command): void {
  withDaemonOptions(models.command('rollback').description('Back to the model that was in use before.'))
    .addHelpText('after', '\nExample:\n  corecast models rollback')
    .action(async (options: DaemonOptions) => {
      const { model } = await withDaemon(options, (client) => client.rollbackModel({}));
      if (options.json === true) return printJson({ model });
      printLine(`in use: ${model?.id ?? 'none'}`);
    });
}

/** Errors on unseen data; those on live channels, where there are any, after a slash. */
export function modelTable(models: readonly Model__Output[], nowMs: number): string {
  const both = (of: (score: ModelScore__Output) => string) => (model: Model__Output) => {
    const own = model.scores.find(({ method }) => method === 'lstm');
    const test = own === undefined ? '-' : of(own);
    return model.live === null ? test : `${test} / ${of(model.live)}`;
  };
  return table(
    [
      { title: 'MODEL', value: ({ id }) => id },
      { title: 'STATE', value: ({ state }) => state.replace('_', ' ') },
      { title: 'ORIGIN', value: ({ origin }) => origin },
      { title: 'AGE', value: ({ trainedMs }) => ago(nowMs - trainedMs), right: true },
      {
        title: 'RUNS',
        value: ({ trainingRuns, validationRuns }) => String(trainingRuns + validationRuns),
        right: true,
      },
      {
        title: 'MAPE %',
        value: both(({ mapePercent }) => mapePercent.toFixed(1)),
        right: true,
      },
      { title: 'PINBALL 0.9', value: both(({ pinball90 }) => pinball90.toFixed(4)), right: true },
      { title: 'COVERED %', value: both(({ coverage90 }) => (100 * coverage90).toFixed(0)), right: true },
    ],
    models,
  );
}

function stepTable(steps: readonly ModelStep__Output[]): string {
  return table(
    [
      { title: 'WHEN', value: ({ atMs }) => time(atMs) },
      { title: 'STEP', value: ({ kind }) => kind.replace('_', ' ') },
      { title: 'MODEL', value: ({ modelId }) => modelId || '-' },
      { title: 'BY', value: ({ by }) => by },
      { title: 'WHY', value: ({ reason, data, seed }) => `${reason}${madeFrom(data, seed)}`, wrap: true },
    ],
    steps,
  );
}

function madeFrom(data: ModelStep__Output['data'], seed: number): string {
  if (data === null) return '';
  const { runs, sources, fromMs, toMs, hash } = data;
  const day = (ms: number) => time(ms).slice(0, 10);
  return ` [${runs} runs of ${sources} sources, ${day(fromMs)} to ${day(toMs)}, seed ${seed}, data ${hash.slice(0, 12)}]`;
}

function printScores(model: Model__Output): void {
  printLine();
  printLine(`${model.id}: ${model.note}`);
  if (model.scores.length === 0) return;
  printLine(scoreTable(model.scores));
}

export function scoreTable(scores: readonly ModelScore__Output[]): string {
  return table(
    [
      { title: 'METHOD', value: ({ method }) => method },
      { title: 'MAPE', value: ({ mapePercent }) => `${mapePercent.toFixed(1)} %`, right: true },
      { title: 'PINBALL 0.9', value: ({ pinball90 }) => pinball90.toFixed(4), right: true },
      { title: 'BELOW 0.9', value: ({ coverage90 }) => `${(coverage90 * 100).toFixed(1)} %`, right: true },
    ],
    scores,
  );
}
