import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { isCorecastError } from '../lib/errors.js';
import { endOnClosedPipe } from './closed-pipe.js';
import { addCalibrateCommand } from './commands/calibrate.js';
import { addCheckCommand } from './commands/check.js';
import { addExplainCommand } from './commands/explain.js';
import { addHistoryCommand } from './commands/history.js';
import { addModelsCommand } from './commands/models.js';
import { addPredictCommand } from './commands/predict.js';
import { addReservationsCommand } from './commands/reservations.js';
import { addRunCommand } from './commands/run.js';
import { addSimulateCommand } from './commands/simulate.js';
import { addStatusCommand } from './commands/status.js';
import { addTopCommand } from './commands/top.js';
import { addTrainCommand } from './commands/train.js';
import { EXIT, EXIT_CODE_HELP } from './exit-codes.js';
import { ExitError } from './exit-error.js';
import { type Ending, exitCodeOf } from './ffmpeg-process.js';

/** `corecast`: arguments, exit codes, error messages; each subcommand loads what it needs when it runs. */
async function main(): Promise<void> {
  const program = new Command('corecast')
    .description('Forecasts, reserves and pins CPU cores for live video transcodes.')
    .version(version(), '-V, --version')
    .enablePositionalOptions()
    .showSuggestionAfterError()
    .showHelpAfterError('(corecast --help lists commands and options)')
    .configureHelp({ showGlobalOptions: false })
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'corecast: ')) })
    .exitOverride()
    .addHelpText(
      'after',
      `\nExample:\n  corecast run -- ffmpeg -re -i in.mp4 -c:v libx264 -f null -\n${EXIT_CODE_HELP}`,
    );
  addRunCommand(program, endAs);
  addPredictCommand(program);
  addStatusCommand(program);
  addTopCommand(program);
  addReservationsCommand(program);
  addExplainCommand(program);
  addHistoryCommand(program, Date.now());
  addCalibrateCommand(program);
  addTrainCommand(program);
  addModelsCommand(program);
  addSimulateCommand(program);
  addCheckCommand(program);
  for (const command of program.commands) inheritExit(command);
  await program.parseAsync();
}

/** Subcommands of subcommands too: commander copies these settings only at creation. */
function inheritExit(command: Command): void {
  command.exitOverride().showSuggestionAfterError();
  for (const child of command.commands) inheritExit(child);
}

/** Ends as FFmpeg did: the same code, or the same signal, so that a supervisor sees no difference. */
function endAs(ending: Ending): void {
  process.exitCode = exitCodeOf(ending);
  if (ending.code === undefined && ending.signal !== undefined && RERAISED.has(ending.signal)) {
    process.kill(process.pid, ending.signal);
  }
}

/** Others would only add a core dump of Node to FFmpeg's. */
const RERAISED = new Set<NodeJS.Signals>(['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGKILL']);

function report(error: unknown): number {
  if (error instanceof CommanderError) {
    // Commander has printed it already; help and version are no errors.
    return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  }
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`corecast: ${message}\n`);
  if (error instanceof ExitError) {
    for (const hint of error.hints) process.stderr.write(`corecast: ${hint}\n`);
    return error.exitCode;
  }
  if (!isCorecastError(error)) return EXIT.failure;
  // A message of one violation is that violation; of several, it only counts them.
  const violations = error.details.violations ?? [];
  if (violations.length > 1)
    for (const { description } of violations) process.stderr.write(`corecast:   ${description}\n`);
  return EXIT_OF_CODE[error.code] ?? EXIT.failure;
}

const EXIT_OF_CODE: Readonly<Record<string, number>> = {
  INVALID_ARGUMENT: EXIT.usage,
  DAEMON_UNREACHABLE: EXIT.unavailable,
  NO_CAPACITY: EXIT.tryLater,
  QUEUE_FULL: EXIT.tryLater,
  LIMIT_EXCEEDED: EXIT.tryLater,
  MODEL_BUSY: EXIT.tryLater,
  PERMISSION_DENIED: EXIT.noPermission,
  CONFIG_INVALID: EXIT.config,
};

function version(): string {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  return version;
}

endOnClosedPipe();
main().catch((error: unknown) => {
  process.exitCode = report(error);
});
