import type { Command } from 'commander';
import { clientSocket } from '../../config/paths.js';
import type { CorecastClient } from '../connect.js';

/** Options of every subcommand that asks the daemon. */
export interface DaemonOptions {
  readonly socket?: string;
  readonly json?: boolean;
}

export function withDaemonOptions(command: Command): Command {
  return command
    .option('--socket <path>', "the daemon's socket (default: $CORECAST_SOCKET, or the built-in path)")
    .option('--json', 'print one JSON object as the last line');
}

const TIMEOUT_MS = 10_000;

/** Runs with a connection, and closes it. */
export async function withDaemon<T>(
  options: DaemonOptions,
  use: (client: CorecastClient) => Promise<T>,
): Promise<T> {
  const { connect } = await import('../connect.js');
  const client = await connect({ socket: clientSocket(options.socket, process.env), timeoutMs: TIMEOUT_MS });
  try {
    return await use(client);
  } finally {
    client.close();
  }
}
