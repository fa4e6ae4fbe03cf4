import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { CorecastError } from '../lib/errors.js';
import { type FfmpegCommand, parseFfmpegCommand } from './ffmpeg-args.js';
import { parseFilterGraph } from './filtergraph.js';
import type { Rung } from './rungs.js';

/**
 * Rungs that FFmpeg takes while it runs: filters of the command that are switched off or on, by the `enable` command of
 * filters with timeline support. FFmpeg reads commands from its standard input ("C<target> <time>|-1 <command> [<argument>]",
 * fftools/ffmpeg.c), which no build option and no filter of ours is needed for; `zmq` would need both.
 *
 * Nothing else of a graph that matters is changed this way (FFmpeg 5.1): `fps` knows no command, and after `scale ... w` the
 * encoder gets pictures of another size than it was opened for, and ends the channel. Half the frames are a switch too:
 * `shuffleframes@half=0 -1:enable=0`, turned on, drops every other one.
 */
export interface FilterSwitch {
  /** As in the command's graph: "nlmeans", or "nlmeans@clean" for one of several. */
  readonly filter: string;
  readonly on: boolean;
}

const WORD = 'filters';
const SWITCH = /^([A-Za-z0-9_]+(?:@[A-Za-z0-9_.-]+)?)=(on|off)$/;

/** "filters nlmeans=off -preset ultrafast": the switches, and the words that are output options. */
export function parseSwitches(
  words: readonly string[],
  text: string,
): { readonly switches: readonly FilterSwitch[]; readonly options: readonly string[] } {
  if (words[0] !== WORD) return { switches: [], options: words };
  const end = words.findIndex((word) => word.startsWith('-'));
  const mine = words.slice(1, end < 0 ? words.length : end);
  const switches = mine.map((word) => {
    const match = SWITCH.exec(word);
    if (match === null) throw refused(text, `has ${JSON.stringify(word)}; expected FILTER=off or FILTER=on`);
    return { filter: match[1]!, on: match[2] === 'on' };
  });
  if (switches.length === 0) throw refused(text, 'names no filter; expected "filters FILTER=off"');
  return { switches, options: words.slice(1 + mine.length) };
}

/** What each filter that the ladder switches is at a rung; one that the rung does not name is as the command has it. */
export function switchesAt(rungs: readonly Rung[], rung: number): ReadonlyMap<string, boolean> {
  const state = new Map<string, boolean>();
  for (const { switches = [] } of rungs) for (const { filter, on } of switches) state.set(filter, !on);
  for (const { filter, on } of rungs[rung - 1]?.switches ?? []) state.set(filter, on);
  return state;
}

/** For FFmpeg's standard input: from one state to another. */
export function switchCommands(
  before: ReadonlyMap<string, boolean>,
  after: ReadonlyMap<string, boolean>,
): string[] {
  return [...after]
    .filter(([filter, on]) => before.get(filter) !== on)
    .map(([filter, on]) => `C${filter} -1 enable ${on ? 1 : 0}\n`);
}

/** They differ in switches only: FFmpeg goes on. */
export function sameButSwitches(a: Rung, b: Rung): boolean {
  const words = ({ options, dropped }: Rung) =>
    JSON.stringify([options instanceof Map ? [...options] : options, dropped]);
  return words(a) === words(b);
}

/** FFmpeg listens to its standard input, whatever the command said of it. */
export function listening(program: string, args: readonly string[]): string[] {
  const { globals } = parseFfmpegCommand([program, ...args]);
  const silenced = new Set(globals.filter(({ name }) => name === 'nostdin').map(({ at }) => at));
  return args.filter((_, at) => !silenced.has(at));
}

/** Throws INVALID_ARGUMENT where a switch would do nothing, or something else than the ladder says. */
export async function checkSwitches(command: FfmpegCommand, rungs: readonly Rung[]): Promise<void> {
  const switched = rungs.flatMap(({ switches = [], text }) => switches.map((one) => ({ ...one, text })));
  if (switched.length === 0) return;
  const input = command.inputs.find(({ url }) => url === '-' || /^(?:pipe:0?|fd:0?|\/dev\/stdin)$/.test(url));
  if (input !== undefined)
    throw refused(switched[0]!.text, `needs FFmpeg's standard input, which is the input ${input.url} here`);
  const filters = filtersOf(command);
  const withTimeline = await timelineFilters(command.program);
  for (const { filter, on, text } of switched) {
    if (switched.some((other) => other.filter === filter && other.on !== on))
      throw refused(text, `switches ${filter} one way, and another rung the other way`);
    const mine = filters.filter(({ name, id }) => filter === name || filter === id);
    if (mine.length === 0) {
      const there = filters.map(({ id }) => id).join(', ') || 'none';
      throw refused(text, `names ${filter}, which is no filter of the command (${there})`);
    }
    for (const { name, id, args } of mine) {
      if (!withTimeline.has(name))
        throw refused(
          text,
          `names ${filter}; FFmpeg cannot switch ${name} while it runs (no timeline support)`,
        );
      const enable = /(?:^|:)\s*enable\s*=\s*'?([^':]*)'?/.exec(args)?.[1]?.trim();
      if (on ? enable !== '0' : enable !== undefined && enable !== '1')
        throw refused(
          text,
          on
            ? `turns ${id} on, so the command must have it off: ${id}=…:enable=0`
            : `turns ${id} off, which has enable=${enable} of its own`,
        );
    }
  }
}

interface GraphFilter {
  readonly name: string;
  /** With its "@NAME". */
  readonly id: string;
  readonly args: string;
}

function filtersOf({ globals, outputs }: FfmpegCommand): GraphFilter[] {
  const graphs = [
    ...globals.filter(({ name }) => name === 'filter_complex' || name === 'lavfi'),
    ...outputs.flatMap(({ options }) => options.filter(({ name }) => name === 'vf' || name === 'filter')),
  ].map(({ value = '' }) => value);
  return graphs
    .flatMap((graph) => parseFilterGraph(graph))
    .flatMap(({ filters }) => filters)
    .map(({ name, id = name, args }) => ({ name, id, args }));
}

/** Filters of this FFmpeg with the T flag. */
async function timelineFilters(ffmpeg: string): Promise<ReadonlySet<string>> {
  const { stdout } = await promisify(execFile)(ffmpeg, ['-hide_banner', '-filters'], { timeout: 10_000 });
  return new Set([...stdout.matchAll(/^ T\S+ +(\S+)/gm)].map((match) => match[1]!));
}

function refused(text: string, why: string): CorecastError {
  return new CorecastError('INVALID_ARGUMENT', `--degrade ${JSON.stringify(text)} ${why}`);
}
