import { writeFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import { clientSocket } from '../../config/paths.js';
import type { VideoInput } from '../../forecast/signature.js';
import type { ChannelClass } from '../../reservation/reservation.js';
import { collect, declaredInput, duration, integer, oneOf } from '../arguments.js';
import { EXIT_CODE_HELP } from '../exit-codes.js';
import type { Ending } from '../ffmpeg-process.js';
import type { ComplexityLevel } from '../measure-complexity.js';
import { toJson } from '../print.js';
import type { RunReport } from '../run.js';

interface Options {
  readonly socket?: string;
  readonly wait?: number;
  readonly name?: string;
  readonly class?: ChannelClass;
  readonly priority?: number;
  readonly exclusive?: true;
  readonly cpus?: number;
  readonly degrade?: readonly string[];
  readonly require?: true;
  readonly runAnyway?: true;
  readonly exec?: true;
  readonly probe: boolean;
  readonly probeTimeout?: number;
  readonly complexity: ComplexityLevel;
  readonly content?: string;
  readonly inputSignature?: Partial<VideoInput>;
  readonly report?: string;
  readonly json?: true;
  readonly quiet?: true;
}

/** `corecast run`: everything that it prints goes to standard error; standard output is FFmpeg's. */
export function addRunCommand(program: Command, end: (ending: Ending) => void): void {
  program
    .command('run')
    .summary('run an FFmpeg command on reserved CPUs')
    .description('Reserves CPUs for an FFmpeg command, runs it on them, and ends as it does.')
    .argument('<command...>', 'the FFmpeg command line, after --')
    .passThroughOptions()
    .option('--socket <path>', "the daemon's socket (default: $CORECAST_SOCKET, or the built-in path)")
    .option('--wait <time>', 'wait this long for room instead of being refused, such as 30s or 5m', duration)
    .option('--name <text>', 'name of the channel in listings (default: the last output)')
    .addOption(
      new Option(
        '--class <class>',
        'live or vod (default: live when paced by -re or on a live protocol)',
      ).argParser(oneOf('live', 'vod')),
    )
    .option('--priority <n>', 'importance among its class, 0 to 100 (default: 50)', integer(0, 100))
    .option('--exclusive', 'whole cores with their SMT siblings, shared with nobody')
    .option('--cpus <n>', 'exactly this many CPUs (default: as many as the forecast says)', integer(1, 8192))
    .option(
      '--degrade <options>',
      'output options, or filters to switch, of the next cheaper rung, for when the host falls short; repeatable; or auto',
      collect,
    )
    .option('--require', 'do not run without a reservation: fail if the daemon cannot give one')
    .option('--run-anyway', 'run unpinned even when the daemon refuses')
    .addOption(
      new Option(
        '--exec',
        'light mode: become FFmpeg instead of staying beside it; no ladder, no report',
      ).conflicts(['report', 'json']),
    )
    .option('--no-probe', 'do not run ffprobe; use what is declared')
    .option('--probe-timeout <time>', 'how long ffprobe may take (default: 3s, 15s for files)', duration)
    .addOption(
      new Option(
        '--complexity <how>',
        'packets, siti (decode some seconds) or probe (try the command on some seconds)',
      )
        .argParser(oneOf('packets', 'siti', 'probe'))
        .default('packets'),
    )
    .option(
      '--content <word>',
      'what kind of picture it is, such as sports or news, for models that know the word',
    )
    .option(
      '--input-signature <facts>',
      'declare a pipe or listener: codec=h264,size=1920x1080,fps=25,bitrate=6M,depth=8',
      declaredInput,
    )
    .option('--report <file>', 'write a JSON report of the run to a file')
    .option('--json', 'print the JSON report as the last line of standard error')
    .option('-q, --quiet', 'no notes on standard error')
    .addHelpText('after', HELP + EXIT_CODE_HELP)
    .action(async (command: string[], options: Options) => {
      const { run } = await import('../run.js');
      const note = (text: string) => {
        if (options.quiet !== true) process.stderr.write(`corecast: ${text}\n`);
      };
      const { ending, report } = await run(command, {
        socket: clientSocket(options.socket, process.env),
        waitMs: options.wait ?? 0,
        ...(options.name === undefined ? {} : { name: options.name }),
        ...(options.class === undefined ? {} : { channelClass: options.class }),
        ...(options.priority === undefined ? {} : { priority: options.priority }),
        exclusive: options.exclusive === true,
        cpuCount: options.cpus ?? 0,
        degrade: options.degrade ?? [],
        require: options.require === true,
        runAnyway: options.runAnyway === true,
        exec: options.exec === true,
        probe: options.probe,
        ...(options.probeTimeout === undefined ? {} : { probeTimeoutMs: options.probeTimeout }),
        complexity: options.complexity,
        declared: options.inputSignature ?? {},
        ...(options.content === undefined ? {} : { content: options.content }),
        note,
      });
      writeReport(report, options, note);
      end(ending);
    });
}

function writeReport(report: RunReport, options: Options, note: (text: string) => void): void {
  const json = toJson(report);
  if (options.json === true) process.stderr.write(`${json}\n`);
  if (options.report === undefined) return;
  try {
    writeFileSync(options.report, `${json}\n`);
  } catch (error) {
    note(`could not write the report: ${(error as Error).message}`);
  }
}

const HELP = `
Example:
  corecast run --wait 30s --degrade '-preset ultrafast' -- \\
    ffmpeg -re -i rtmp://ingest/live/one -c:v libx264 -preset veryfast -f flv rtmp://cdn/live/one

Without a daemon FFmpeg runs unpinned, with a warning; --require refuses instead. When the daemon refuses,
FFmpeg is not started; --run-anyway starts it unpinned.

A rung replaces options of every video output; it is counted from full quality, not from the rung before. To
change rung FFmpeg is restarted: a file input is entered again where the output had got to, a live input or a pipe
goes on where it is. HLS goes on in the same playlist with a discontinuity, DASH with a new Period, RTMP, SRT and UDP
receivers see a reconnect; another file can't be continued, so each restart writes a part of its own (out.mp4,
out.part2.mp4, ...). The gap is measured and stands in the report, in the history and among the events.

A rung 'filters nlmeans=off' switches filters of the command, which the FFmpeg that runs takes without a restart; it may
have options behind it: 'filters nlmeans=off -preset ultrafast'.

--degrade auto derives the rungs: faster presets, each a fifth cheaper by the cost table, then a lower rate, then,
of several renditions, without the largest.

With --exec nothing stays resident but FFmpeg: the process that reserved becomes it, the daemon sees its end, and
FFmpeg reports its progress to the daemon by itself, over restarts of the daemon too. That mode has no report and no ladder.

An FFmpeg of a terminal or of a systemd unit gets ^C or SIGTERM from there too; the wrapper then passes its own on
only after 5 s, because a second signal makes FFmpeg drop what it has not written.
`;
