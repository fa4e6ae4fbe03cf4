/** Ends corecast with a code of its own choosing; the message and hints are all that the operator sees. */
export class ExitError extends Error {
  readonly exitCode: number;
  readonly hints: readonly string[];

  constructor(exitCode: number, message: string, hints: readonly string[] = []) {
    super(message);
    this.name = 'ExitError';
    this.exitCode = exitCode;
    this.hints = hints;
  }
}
