import type { Command } from 'commander';
import type { Run } from '../../history/records.js';
import { systemClock } from '../../lib/clock.js';
import { collect, duration, integer } from '../arguments.js';
import type { CalibrateResult, RunStore } from '../calibrate.js';
import { cores, printJson, printLine } from '../print.js';
import { progressBar } from '../progress-bar.js';
import { type DaemonOptions, withDaemon, withDaemonOptions } from './daemon-command.js';

interface Options extends DaemonOptions {
  readonly runs: number;
  readonly seed: number;
  readonly input?: readonly string[];
  readonly out?: string;
  readonly ffmpeg: string;
  readonly cacheDir?: string;
  readonly timeLimit?: number;
  readonly maxRunSeconds: number;
}

export function addCalibrateCommand(program: Command): void {
  withDaemonOptions(
    program
      .command('calibrate')
      .summary('measure what transcodes cost on this host')
      .description(
        'Runs real FFmpeg transcodes (encoders, presets, sizes, rates, CPU counts, pictures of different difficulty) and ' +
          'records what they cost, for the model to learn from. Can be stopped and run again: what is measured stays.',
      ),
  )
    .option('--runs <n>', 'how many measurements, 2 to 10 s each', integer(1, 100_000), 200)
    .option('--seed <n>', 'the same seed measures the same settings', integer(1, 4_294_967_295), 1)
    .option('--input <file>', 'a clip of your own, besides the ones made here; repeatable', collect)
    .option('--out <file>', 'write JSON lines (gzip) to a file instead of the daemon')
    .option('--time-limit <time>', 'stop after this long, such as 30m', duration)
    .option('--max-run-seconds <n>', 'CPU seconds that one run may take at most', integer(2, 600), 10)
    .option('--ffmpeg <path>', 'the FFmpeg to measure', 'ffmpeg')
    .option('--cache-dir <dir>', 'where made clips are kept (default: ~/.cache/corecast)')
    .addHelpText('after', '\nExample:\n  corecast calibrate --runs 500 --input news.mp4 --input football.ts')
    .action(async (options: Options) => {
      const abort = new AbortController();
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => abort.abort());
      const limit =
        options.timeLimit === undefined ? undefined : setTimeout(() => abort.abort(), options.timeLimit);
      const result = await (options.out === undefined
        ? intoDaemon(options, abort.signal)
        : intoFile(options, options.out, abort.signal));
      clearTimeout(limit);
      if (options.json === true) return printJson(result);
      const { measured, present, planned, skipped, backgroundBusy } = result;
      printLine(`measured ${measured}, present before ${present}, skipped ${skipped} of ${planned}`);
      const others = `other work kept the CPUs ${Math.round(100 * backgroundBusy)} % busy meanwhile`;
      if (backgroundBusy > BUSY_SHARE) printLine(`warning: ${others}; measure again when the host is quiet`);
      else if (measured > 0) printLine(others);
      if (abort.signal.aborted) printLine('stopped early; the same command goes on from here');
    });
}

/** Above this, what shares caches and SMT siblings with a run makes it dearer than it is. */
const BUSY_SHARE = 0.2;

async function intoFile(options: Options, path: string, signal: AbortSignal): Promise<CalibrateResult> {
  const { RunsFile } = await import('../runs-file.js');
  const file = new RunsFile(path);
  const result = await measure(options, file, signal);
  file.compact();
  return result;
}

async function intoDaemon(options: Options, signal: AbortSignal): Promise<CalibrateResult> {
  const { runMessage } = await import('../messages.js');
  return withDaemon(options, async (client) => {
    const ids = new Set<string>();
    for await (const { run } of client.listRuns({ origin: 'calibration', sinceMs: 0 }))
      if (run !== null) ids.add(run.id);
    const store = {
      ids,
      async add(run: Run) {
        await client.recordRun({ run: runMessage(run) });
        ids.add(run.id);
      },
    };
    return measure(options, store, signal);
  });
}

async function measure(options: Options, store: RunStore, signal: AbortSignal): Promise<CalibrateResult> {
  const { calibrate } = await import('../calibrate.js');
  const { defaultCacheDir } = await import('../ffmpeg-build.js');
  const bar = await progressBar('calibrating', options.json !== true);
  try {
    return await calibrate({
      ffmpeg: options.ffmpeg,
      runs: options.runs,
      seed: options.seed,
      inputs: options.input ?? [],
      cacheDir: options.cacheDir ?? defaultCacheDir(),
      maxRunSeconds: options.maxRunSeconds,
      clock: systemClock,
      store,
      signal,
      onProgress: ({ done, total, clip, run, skipped, remainingSeconds }) => {
        if (clip !== undefined) return bar.update(done, total, `making the clip ${clip}`);
        const left = remainingSeconds === undefined ? '' : `${Math.ceil(remainingSeconds / 60)} min left, `;
        bar.update(done, total, left + (run === undefined ? `skipped: ${skipped?.slice(0, 60)}` : line(run)));
      },
    });
  } finally {
    bar.stop();
  }
}

function line(run: Run): string {
  const output = run.signature.outputs[0]!;
  return `${output.encoder} ${output.preset} ${output.width}x${output.height}: ${cores(run.cpuSeconds / run.mediaSeconds)} cores`;
}
