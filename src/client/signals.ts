import { readFileSync } from 'node:fs';

/**
 * Passes the wrapper's signals to FFmpeg. FFmpeg takes the first SIGINT or SIGTERM as "finish properly" and the second as
 * "stop writing", so each must reach it once: a signal that the kernel or systemd has sent to FFmpeg as well is passed on
 * only if FFmpeg is still there after a while.
 */
export class SignalRelay {
  readonly #deliver: (signal: NodeJS.Signals) => void;
  readonly #handlers = new Map<NodeJS.Signals, () => void>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #received: NodeJS.Signals | undefined;

  constructor(deliver: (signal: NodeJS.Signals) => void, environment: SignalEnvironment = ownEnvironment()) {
    this.#deliver = deliver;
    for (const signal of RELAYED) {
      const handler = () => {
        this.#received = signal;
        if (!alsoSentToChild(signal, environment)) return this.#deliver(signal);
        const timer = setTimeout(() => this.#deliver(signal), PATIENCE_MS);
        this.#timers.add(timer);
      };
      this.#handlers.set(signal, handler);
      process.on(signal, handler);
    }
  }

  /** The last signal that came in. */
  get received(): NodeJS.Signals | undefined {
    return this.#received;
  }

  /** Back to the default: the next signal ends the wrapper. */
  close(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    for (const [signal, handler] of this.#handlers) process.removeListener(signal, handler);
    this.#handlers.clear();
  }
}

export interface SignalEnvironment {
  /** This process group is the terminal's foreground group: a ^C reached all of it. */
  readonly foreground: boolean;
  /** The main process of a systemd service: KillMode=control-group, the default, signals every process of the unit. */
  readonly systemdService: boolean;
}

export function alsoSentToChild(signal: NodeJS.Signals, environment: SignalEnvironment): boolean {
  if (environment.foreground && signal !== 'SIGTERM') return true;
  return environment.systemdService && (signal === 'SIGTERM' || signal === 'SIGHUP');
}

function ownEnvironment(): SignalEnvironment {
  const systemdService = process.env['INVOCATION_ID'] !== undefined && process.ppid === 1;
  try {
    const stat = readFileSync('/proc/self/stat', 'utf8');
    // Fields 5 (process group) and 8 (foreground group of the terminal, -1 without one) of proc(5).
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { foreground: fields[5 - 3] === fields[8 - 3], systemdService };
  } catch {
    return { foreground: false, systemdService };
  }
}

const RELAYED = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;
/** Longer than FFmpeg takes to flush what it holds. */
const PATIENCE_MS = 5_000;
