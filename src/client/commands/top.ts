import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import { clientSocket } from '../../config/paths.js';
import { CorecastError } from '../../lib/errors.js';
import { duration } from '../arguments.js';
import { printJson } from '../print.js';
import { type DaemonOptions, withDaemon, withDaemonOptions } from './daemon-command.js';

interface Options extends DaemonOptions {
  readonly once?: true;
  readonly interval: number;
}

const LEAST_INTERVAL_MS = 1_000;
const TIMEOUT_MS = 5_000;
const PIPE_COLUMNS = 120;

export function addTopCommand(program: Command): void {
  withDaemonOptions(
    program
      .command('top')
      .summary('watch cores, channels and events as they change')
      .description(
        'Draws the CPUs (busy and reserved), the channels (use against forecast, speed, lag, rung; those in trouble first) and the events as they come.',
      ),
  )
    .option('--once', 'print it once, without taking the screen; also where standard output is no terminal')
    .option('--interval <time>', 'how often it is drawn, at least 1s', interval, LEAST_INTERVAL_MS)
    .addHelpText('after', HELP)
    .action(top);
}

const HELP = `
Keys: arrows, j, k, space, page up and down scroll the channels; q or ^C ends, ^L paints anew.
RES is what a channel has reserved, FCST the 0.9 quantile of its forecast, both in cores, as USE. NO_COLOR is heeded.

Example:
  corecast top
  corecast top --once | head -20`;

async function top(options: Options): Promise<void> {
  const { stdout, stdin } = process;
  if (options.json === true) {
    const [host, { reservations }] = await withDaemon(options, (client) =>
      Promise.all([client.getHost({}), client.listReservations({})]),
    );
    return printJson({ host, reservations });
  }
  const { connect } = await import('../connect.js');
  const { Feed } = await import('../top/feed.js');
  const { paintFor } = await import('../top/paint.js');
  const socket = clientSocket(options.socket, process.env);
  const feed = new Feed(() => connect({ socket, timeoutMs: TIMEOUT_MS }), Date.now);
  try {
    const first = await feed.read();
    if (first.host === undefined)
      throw new CorecastError('DAEMON_UNREACHABLE', first.trouble, { metadata: { socket } });
    const paint = paintFor(stdout, process.env);
    if (options.once === true || !stdout.isTTY) {
      const { wholeFrame } = await import('../top/frame.js');
      stdout.write(`${wholeFrame(first, stdout.columns ?? PIPE_COLUMNS, paint).join('\n')}\n`);
      return;
    }
    const { Top } = await import('../top/top.js');
    const streams = { input: stdin, output: stdout };
    const signal = await new Top(feed, streams, paint, options.interval).run();
    if (signal !== undefined) process.kill(process.pid, signal);
  } finally {
    feed.close();
  }
}

function interval(text: string): number {
  const ms = duration(text);
  if (ms < LEAST_INTERVAL_MS) throw new InvalidArgumentError('expected at least 1s.');
  return ms;
}
