import type { Command } from 'commander';
import { isCorecastError } from '../../lib/errors.js';
import type { ThreadUse__Output } from '../../rpc/generated/corecast/v1/ThreadUse.js';
import { type Column, cores, printJson, printLine, table, time } from '../print.js';
import { printDecision, printUsage } from '../print-decision.js';
import { type DaemonOptions, withDaemon, withDaemonOptions } from './daemon-command.js';

export function addExplainCommand(program: Command): void {
  withDaemonOptions(
    program
      .command('explain')
      .summary('why a channel was admitted or refused, and what became of it')
      .description(
        'A decision with its reasons and forecast; for a running channel also its threads, for one that has ended what it used.',
      )
      .argument('<id>', 'a decision, or a reservation for its latest decision'),
  )
    .addHelpText('after', '\nExample:\n  corecast explain 01JQ8Z6M2V')
    .action(async (id: string, options: DaemonOptions) => {
      const answer = await withDaemon(options, async (client) => {
        try {
          return await client.explain({ reservationId: id });
        } catch (error) {
          if (!isCorecastError(error, 'NOT_FOUND')) throw error;
          return client.explain({ decisionId: id });
        }
      });
      if (options.json === true) return printJson(answer);
      if (answer.decision !== null) printDecision(answer.decision);
      if (answer.modelStep !== null) {
        const { inUseId, atMs, by, reason } = answer.modelStep;
        printLine();
        printLine(`model      ${inUseId}, in use since ${time(atMs)} by ${by}: ${reason}`);
      }
      if (answer.usage !== null) {
        printLine();
        printUsage(answer.usage);
      }
      if (answer.threads.length > 0) {
        printLine();
        printLine(table(THREAD_COLUMNS, answer.threads.slice(0, MOST_THREADS)));
        const more = answer.threads.length - MOST_THREADS;
        if (more > 0) printLine(`and ${more} threads that use less`);
      }
    });
}

/** More are in --json. */
const MOST_THREADS = 40;

const THREAD_COLUMNS: readonly Column<ThreadUse__Output>[] = [
  { title: 'THREAD', value: ({ tid }) => String(tid), right: true },
  { title: 'CPU', value: ({ cpu }) => String(cpu), right: true },
  { title: 'USE', value: (t) => cores(t.cores), right: true },
  { title: 'CPU TIME', value: ({ cpuSeconds }) => seconds(cpuSeconds), right: true },
  { title: 'WAITED', value: ({ waitSeconds }) => seconds(waitSeconds), right: true },
  { title: 'SWITCHES', value: ({ switches }) => String(switches), right: true },
  {
    title: 'MAY USE',
    value: ({ maskCpus }) => (maskCpus === undefined ? '-' : `${maskCpus} CPUs`),
    right: true,
  },
];

function seconds(value: number | undefined): string {
  return value === undefined ? '-' : `${value.toFixed(1)} s`;
}
