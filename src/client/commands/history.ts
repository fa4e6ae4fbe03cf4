import { type Command, Option } from 'commander';
import type { Run__Output } from '../../rpc/generated/corecast/v1/Run.js';
import { moment, oneOf } from '../arguments.js';
import { cores, printJson, printLine, table, time } from '../print.js';
import { describeSignature } from '../print-decision.js';
import { type DaemonOptions, withDaemon, withDaemonOptions } from './daemon-command.js';
import { addExportCommand, addImportCommand } from './history-files.js';
import { addQueryCommand } from './history-query.js';
import { addUpkeepCommands } from './history-upkeep.js';

interface RunsOptions extends DaemonOptions {
  readonly origin?: string;
  readonly since?: number;
}

/** `now` is passed in: "1h ago" is counted from it. */
export function addHistoryCommand(program: Command, nowMs: number): void {
  const history = program.command('history').description('What the daemon has measured and kept.');
  addListCommand(history);
  addQueryCommand(history, nowMs);
  addRunsCommand(history, nowMs);
  addExportCommand(history, nowMs);
  addImportCommand(history);
  addUpkeepCommands(history);
}

function addListCommand(history: Command): void {
  withDaemonOptions(history.command('list').description('The names of all series.'))
    .addHelpText('after', '\nExample:\n  corecast history list')
    .action(async (options: DaemonOptions) => {
      const series: { series: string; unit: string }[] = [];
      await withDaemon(options, async (client) => {
        for await (const { series: name, unit } of client.queryHistory({ series: '' }))
          series.push({ series: name, unit });
      });
      if (options.json === true) return printJson({ series });
      for (const { series: name, unit } of series) printLine(unit === '' ? name : `${name}  (${unit})`);
    });
}

function addRunsCommand(history: Command, nowMs: number): void {
  withDaemonOptions(history.command('runs').description('Finished channels and calibration measurements.'))
    .addOption(
      new Option('--origin <origin>', 'live, vod or calibration').argParser(
        oneOf('live', 'vod', 'calibration'),
      ),
    )
    .option('--since <time>', 'ISO time, or how long ago', moment(nowMs))
    .addHelpText('after', '\nExample:\n  corecast history runs --origin live --since 1d')
    .action(async (options: RunsOptions) => {
      const runs: Run__Output[] = [];
      await withDaemon(options, async (client) => {
        for await (const { run } of client.listRuns({
          origin: options.origin ?? '',
          sinceMs: options.since ?? 0,
        })) {
          if (run !== null) runs.push(run);
        }
      });
      if (options.json === true) return printJson({ runs });
      printLine(runs.length === 0 ? 'no runs' : table(RUN_COLUMNS, runs));
    });
}

const RUN_COLUMNS = [
  { title: 'STARTED', value: (r: Run__Output) => time(r.startedMs) },
  { title: 'ORIGIN', value: (r: Run__Output) => r.origin },
  { title: 'CPUS', value: (r: Run__Output) => String(r.cpuCount), right: true },
  {
    title: 'CORES',
    value: (r: Run__Output) => cores(r.cpuSeconds / (r.mediaSeconds || r.wallSeconds || 1)),
    right: true,
  },
  {
    title: 'CHANNEL',
    value: (r: Run__Output) => (r.signature === null ? r.source : describeSignature(r.signature)),
  },
];
