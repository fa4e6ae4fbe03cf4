/** What a shell reports of a tool that SIGPIPE ended: 128 + 13. */
const ENDED_BY_SIGPIPE = 141;

/**
 * Node ignores SIGPIPE and throws instead: `corecast ... | head` would end with a stack trace. So it ends as other tools do,
 * quietly, once nobody reads its standard output. What goes to standard error are notes: without a reader they are lost,
 * and the work, a wrapper's channel above all, goes on. `end` gets the exit code.
 */
export function endOnClosedPipe(end: (code: number) => void = (code) => process.exit(code)): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    end(ENDED_BY_SIGPIPE);
  });
  process.stderr.on('error', () => {});
}
