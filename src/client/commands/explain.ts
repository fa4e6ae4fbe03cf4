import type { Command } from 'commander';
import { isCorecastError } from '../../lib/errors.js';
import { printJson, printLine, time } from '../print.js';
import { printDecision, printUsage } from '../print-decision.js';
import { type DaemonOptions, withDaemon, withDaemonOptions } from './daemon-command.js';

export function addExplainCommand(program: Command): void {
  withDaemonOptions(
    program
      .command('explain')
      .summary('why a channel was admitted or refused, and what became of it')
      .description(
        'A decision with its reasons and forecast; for a channel that has ended, also what it used.',
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
    });
}
