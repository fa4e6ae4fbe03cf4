import { resolve } from 'node:path';
import type { Command } from 'commander';
import { EXIT } from '../exit-codes.js';
import { bytes, printJson, printLine, table, time } from '../print.js';
import { type DaemonOptions, withDaemon, withDaemonOptions } from './daemon-command.js';

/** The daemon reads or writes the whole history meanwhile. */
const LONG_TIMEOUT_MS = 3_600_000;

export function addUpkeepCommands(history: Command): void {
  addStatsCommand(history);
  addVerifyCommand(history);
  addCompactCommand(history);
  addBackupCommand(history);
}

function addStatsCommand(history: Command): void {
  withDaemonOptions(history.command('stats').description('How much is kept, of what, and how well.'))
    .addHelpText('after', '\nExample:\n  corecast history stats')
    .action(async (options: DaemonOptions) => {
      const stats = await withDaemon(options, (client) => client.getHistoryStats({}));
      if (options.json === true) return printJson(stats);
      printLine(`${bytes(stats.diskBytes)} on disk, format ${stats.format}, ${stats.series} series`);
      // Young samples stand in the journal until they fill a chunk.
      const range = `from ${time(stats.oldestMs)} to the hour of ${time(stats.newestMs)}`;
      printLine(`samples ${stats.newestMs === 0 ? 'of the last minutes only' : range}`);
      printLine(`rolled up to ${time(stats.rolledUpToMs)}`);
      printLine(
        `since the start: ${stats.samplesStored} samples stored, ${stats.samplesDropped} dropped, ` +
          `${stats.writeFailures} failed writes, ${stats.damagedRecords} damaged records`,
      );
      printLine();
      printLine(table(SECTION_COLUMNS, stats.sections));
    });
}

interface Section {
  readonly name: string;
  readonly entries: number;
  readonly bytes: number;
}

const SECTION_COLUMNS = [
  { title: 'KIND', value: (s: Section) => s.name },
  { title: 'ENTRIES', value: (s: Section) => String(s.entries), right: true },
  { title: 'ABOUT', value: (s: Section) => bytes(s.bytes), right: true },
];

function addVerifyCommand(history: Command): void {
  withDaemonOptions(
    history
      .command('verify')
      .description('Reads everything and names what is damaged; ends with 1 when something is.'),
  )
    .addHelpText('after', '\nExample:\n  corecast history verify')
    .action(async (options: DaemonOptions) => {
      const found = await withDaemon(options, (client) =>
        client.verifyHistory({}, { timeoutMs: LONG_TIMEOUT_MS }),
      );
      if (found.damaged > 0) process.exitCode = EXIT.failure;
      if (options.json === true) return printJson(found);
      printLine(
        `${found.records} records and ${found.samples} samples checked, ${found.damaged} damaged parts`,
      );
      for (const sentence of found.damage) printLine(`  ${sentence}`);
      if (found.damaged > found.damage.length) printLine(`  and ${found.damaged - found.damage.length} more`);
      if (found.damaged > 0)
        printLine(
          '`corecast history compact`, or the next start of corecastd, sets damaged tables aside and keeps the rest',
        );
    });
}

function addCompactCommand(history: Command): void {
  withDaemonOptions(
    history
      .command('compact')
      .description('Gives the disk what deleted records still take; sets damaged tables aside.'),
  )
    .addHelpText('after', '\nExample:\n  corecast history compact')
    .action(async (options: DaemonOptions) => {
      const { bytesBefore, bytesAfter } = await withDaemon(options, (client) =>
        client.compactHistory({}, { timeoutMs: LONG_TIMEOUT_MS }),
      );
      if (options.json === true) return printJson({ bytesBefore, bytesAfter });
      printLine(`${bytes(bytesBefore)} before, ${bytes(bytesAfter)} after`);
    });
}

function addBackupCommand(history: Command): void {
  withDaemonOptions(
    history
      .command('backup')
      .description("Copies the history as it is now into a new directory on the daemon's host.")
      .argument('<dir>', 'does not exist yet'),
  )
    .addHelpText(
      'after',
      `
To restore: stop corecastd, move STATE/history away, copy the backup there (same owner), start corecastd.

Example:
  corecast history backup /var/backups/corecast-2026-11-24`,
    )
    .action(async (dir: string, options: DaemonOptions) => {
      const made = await withDaemon(options, (client) =>
        client.backupHistory({ dir: resolve(dir) }, { timeoutMs: LONG_TIMEOUT_MS }),
      );
      if (options.json === true) return printJson(made);
      printLine(`${made.records} records, ${bytes(made.bytes)}, in ${made.dir}`);
    });
}
