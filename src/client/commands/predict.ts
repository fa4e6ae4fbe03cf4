import { type Command, Option } from 'commander';
import type { VideoInput } from '../../forecast/signature.js';
import { CorecastError } from '../../lib/errors.js';
import type { ChannelClass } from '../../reservation/reservation.js';
import { declaredInput, integer, oneOf } from '../arguments.js';
import type { ComplexityLevel } from '../measure-complexity.js';
import { printJson, printLine } from '../print.js';
import { printDecision } from '../print-decision.js';
import { type DaemonOptions, withDaemon, withDaemonOptions } from './daemon-command.js';

interface Options extends DaemonOptions {
  readonly input?: string;
  readonly encoder?: string;
  readonly preset?: string;
  readonly size?: string;
  readonly fps?: string;
  readonly bitrate?: string;
  readonly crf?: string;
  readonly class?: ChannelClass;
  readonly exclusive?: true;
  readonly cpus?: number;
  readonly priority?: number;
  readonly inputSignature?: Partial<VideoInput>;
  readonly complexity: ComplexityLevel;
  readonly content?: string;
}

export function addPredictCommand(program: Command): void {
  withDaemonOptions(
    program
      .command('predict')
      .summary('what a channel would cost, and whether it would be admitted now')
      .description('Forecasts a channel and says what the daemon would decide. Reserves nothing.')
      .argument('[command...]', 'an FFmpeg command line, after --; or describe the channel by options')
      .passThroughOptions(),
  )
    .option('--input <file>', 'input to probe')
    .option(
      '--input-signature <facts>',
      'or declare it: codec=h264,size=1920x1080,fps=25,bitrate=6M',
      declaredInput,
    )
    .option('--encoder <name>', 'FFmpeg encoder')
    .option('--preset <name>', "the encoder's preset")
    .option('--size <WxH>', 'output size (default: as the input)')
    .option('--fps <n>', 'output frame rate (default: as the input)')
    .option('--bitrate <n>', 'output bitrate, such as 3M')
    .option('--crf <n>', 'output constant rate factor')
    .addOption(
      new Option('--complexity <how>', 'as for run')
        .argParser(oneOf('packets', 'siti', 'probe'))
        .default('packets'),
    )
    .option('--content <word>', 'as for run')
    .addOption(new Option('--class <class>', 'live or vod').argParser(oneOf('live', 'vod')))
    .option('--exclusive', 'as for run')
    .option('--cpus <n>', 'exactly this many CPUs (default: as many as the forecast says)', integer(1, 8192))
    .option('--priority <n>', 'importance among its class, 0 to 100', integer(0, 100))
    .addHelpText(
      'after',
      '\nExamples:\n  corecast predict -- ffmpeg -re -i in.mp4 -c:v libx264 -preset fast -f flv rtmp://cdn/live/one' +
        '\n  corecast predict --input-signature size=1920x1080,fps=50 --encoder libsvtav1 --preset 10 --bitrate 4M',
    )
    .action(async (words: string[], options: Options) => {
      const { parseFfmpegCommand } = await import('../ffmpeg-args.js');
      const { commandSignature } = await import('../signature.js');
      const { channelClassMessage, signatureMessage } = await import('../messages.js');
      const { channelClassOf } = await import('../channel-class.js');
      const command = parseFfmpegCommand(words.length > 0 ? words : wordsOf(options));
      const { withComplexity } = await import('../measure-complexity.js');
      const { describeCost } = await import('../complexity.js');
      const plain = await commandSignature(command, {
        probe: words.length > 0 || options.input !== undefined,
        declared: options.inputSignature ?? {},
        ...(options.content === undefined ? {} : { content: options.content }),
      });
      const { read, cost } = await withComplexity(command, plain, options.complexity);
      const { signature, notes } = read;
      if (signature === undefined)
        throw new CorecastError('INVALID_ARGUMENT', 'the command encodes no video');
      const channelClass = options.class ?? (words.length > 0 ? channelClassOf(command) : 'live');
      const { decision } = await withDaemon(options, (client) =>
        client.predict({
          signature: signatureMessage(signature),
          channelClass: channelClassMessage(channelClass),
          exclusive: options.exclusive === true,
          cpuCount: options.cpus ?? 0,
          ...(options.priority === undefined ? {} : { priority: options.priority }),
        }),
      );
      if (options.json === true) return printJson({ decision, notes, complexityCost: cost ?? null });
      for (const note of words.length > 0 ? notes : []) printLine(`note: ${note}`);
      if (cost !== undefined) printLine(`note: ${describeCost(cost)}`);
      if (decision !== null) printDecision(decision);
    });
}

/** The FFmpeg command that these options describe. */
function wordsOf(options: Options): string[] {
  if (
    options.encoder === undefined ||
    (options.input === undefined && options.inputSignature === undefined)
  ) {
    throw new CorecastError(
      'INVALID_ARGUMENT',
      'nothing to predict: give an FFmpeg command after --, or --encoder with --input or --input-signature',
    );
  }
  const option = (name: string, value: string | undefined) => (value === undefined ? [] : [name, value]);
  const preset = /^lib(vpx|aom)/.test(options.encoder) ? '-cpu-used' : '-preset';
  return [
    'ffmpeg',
    ...['-i', options.input ?? 'pipe:0', '-c:v', options.encoder],
    ...option(preset, options.preset),
    ...option('-s', options.size),
    ...option('-r', options.fps),
    ...option('-b:v', options.bitrate),
    ...option('-crf', options.crf),
    ...['-f', 'mp4', 'out.mp4'],
  ];
}
