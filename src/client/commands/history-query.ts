import { writeFile } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import type { Aggregate } from '../../rpc/generated/corecast/v1/Aggregate.js';
import { duration, moment, oneOf } from '../arguments.js';
import type { CorecastClient } from '../connect.js';
import { type LineQuery, niceStep, readLines } from '../history/lines.js';
import { printJson, printLine, time, toJson } from '../print.js';
import { writeTo } from '../write-to.js';
import { type DaemonOptions, withDaemon, withDaemonOptions } from './daemon-command.js';

interface QueryOptions extends DaemonOptions {
  readonly from?: number;
  readonly to?: number;
  readonly step?: number;
  readonly aggregate?: keyof typeof AGGREGATE;
  /** true: in the terminal; else the file. */
  readonly plot?: string | true;
}

const AGGREGATE = {
  mean: 'AGGREGATE_MEAN',
  min: 'AGGREGATE_MIN',
  max: 'AGGREGATE_MAX',
  p95: 'AGGREGATE_P95',
  count: 'AGGREGATE_COUNT',
} as const satisfies Record<string, keyof typeof Aggregate>;

const DEFAULT_RANGE_MS = 3_600_000;
const TERMINAL_COLUMNS = 100;
const SVG_STEPS = 800;

export function addQueryCommand(history: Command, nowMs: number): void {
  withDaemonOptions(
    history
      .command('query')
      .description('Values of one series, or of all below a prefix ("channel.ID.*"), oldest first.')
      .argument('<series>', 'for instance host.busy, cpu.3.busy or channel.ID.cores'),
  )
    .option('--from <time>', 'ISO time, or how long ago (default: 1h)', moment(nowMs))
    .option('--to <time>', 'ISO time, or how long ago (default: now)', moment(nowMs))
    .option('--step <time>', 'one value for each step of this length (default: samples as stored)', duration)
    .addOption(
      new Option(
        '--aggregate <what>',
        'of each step: mean, min, max, p95 or count (default: mean)',
      ).argParser(oneOf('mean', 'min', 'max', 'p95', 'count')),
    )
    .option('--plot [file]', 'draw it in the terminal, or as SVG into a file')
    .addHelpText(
      'after',
      `
Examples:
  corecast history query host.busy --from 30m --step 1m
  corecast history query "cpu.*" --from 1d --plot load.svg`,
    )
    .action(async (series: string, options: QueryOptions) => {
      const range = { fromMs: options.from ?? nowMs - DEFAULT_RANGE_MS, toMs: options.to ?? nowMs };
      await withDaemon(options, async (client) => {
        if (options.plot !== undefined) return plot(client, { series, ...range }, options);
        const request = {
          series,
          ...range,
          stepMs: options.step ?? 0,
          aggregate: AGGREGATE[options.aggregate ?? 'mean'],
        };
        return options.json === true ? printChunks(client, request) : printPoints(client, request);
      });
    });
}

type Request = LineQuery & { readonly aggregate: keyof typeof Aggregate };

async function printPoints(client: CorecastClient, request: Request): Promise<void> {
  for await (const { series, unit, points } of client.queryHistory(request)) {
    const lines = points.map(
      ({ atMs, value }) => `${time(atMs)}  ${series}  ${Number(value.toPrecision(6))} ${unit}\n`,
    );
    await writeTo(process.stdout, lines.join(''));
  }
}

/** One line of JSON, written as it comes: weeks of samples need no room here. */
async function printChunks(client: CorecastClient, request: Request): Promise<void> {
  let before = '{"chunks":[';
  for await (const { series, unit, points } of client.queryHistory(request)) {
    await writeTo(process.stdout, `${before}${toJson({ series, unit, points })}`);
    before = ',';
  }
  await writeTo(process.stdout, `${before === ',' ? '' : before}]}\n`);
}

async function plot(
  client: CorecastClient,
  range: Omit<LineQuery, 'stepMs'>,
  { plot: file, step, json }: QueryOptions,
): Promise<void> {
  const { plotInTerminal, plotWidth } = await import('../history/plot-terminal.js');
  const columns = process.stdout.columns ?? TERMINAL_COLUMNS;
  const steps = file === true ? plotWidth(columns) : SVG_STEPS;
  const lines = await readLines(client, {
    ...range,
    stepMs: step || niceStep(range.toMs - range.fromMs, steps),
  });
  if (file === true) printLine(lines.length === 0 ? 'no samples' : plotInTerminal(lines, columns));
  else if (file !== undefined) {
    const { plotAsSvg } = await import('../history/plot-svg.js');
    await writeFile(file, plotAsSvg(lines));
    if (json !== true) printLine(`${lines.length} series drawn into ${file}`);
  }
  if (json === true)
    printJson({ file: file === true ? '' : file, series: lines.map(({ series }) => series) });
}
