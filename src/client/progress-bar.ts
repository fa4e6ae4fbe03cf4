/** A bar while a person watches; nothing otherwise. It goes to standard error, so that standard output stays clean. */
export interface ProgressBar {
  update(done: number, total: number, text: string): void;
  stop(): void;
}

export async function progressBar(what: string, wanted: boolean): Promise<ProgressBar> {
  if (!wanted || !process.stdout.isTTY || !process.stderr.isTTY) return { update: () => {}, stop: () => {} };
  const { default: cliProgress } = await import('cli-progress');
  const format = `${what} {bar} {value}/{total} {text}`;
  const bar = new cliProgress.SingleBar({ format, barsize: 30, hideCursor: true, stopOnComplete: false });
  let started = false;
  return {
    update(done, total, text) {
      if (!started) bar.start(total, done, { text });
      started = true;
      bar.setTotal(total);
      bar.update(done, { text });
    },
    stop() {
      if (started) bar.stop();
    },
  };
}
