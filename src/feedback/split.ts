/**
 * Which runs teach, which say when to stop, and which judge.
 *
 * By source: the runs of one source that are used all go to one part. A network that has seen a picture at one size knows
 * half the answer at another.
 *
 * By time, for channels: what teaches had ended before validation begins, and what validates before the test begins, as a
 * forecast is about what comes next and the host of tomorrow may be another. Two cuts leave about 15 % of the channels'
 * runs after each. A source goes to the part in which most of its runs lie; its runs outside that part's time are left
 * out. So a source that is long-lived and spans everything (a channel that restarts every day) teaches with its older
 * runs only. Where everything is long-lived, validation and test would be empty: then the sources that lose least by it
 * are held out until a third of the runs of each span is, and of those only the runs within the span are used.
 *
 * Where runs overlap so much that no such order leaves anything to teach with (a first evening on which all channels ran
 * at once), they are split by source alone, and `timeOrdered` says so.
 *
 * Calibration has no time of its own: it measures the same host whenever it runs. It is split by source, the sources in
 * the order in which they were first seen.
 */
export type Part = 'training' | 'validation' | 'test';
export const PARTS: readonly Part[] = ['training', 'validation', 'test'];

export interface RunMark {
  readonly source: string;
  /** False for calibration. */
  readonly channel: boolean;
  /** Unix milliseconds of its start and of its last sample's end. */
  readonly startMs: number;
  readonly endMs: number;
}

export interface Split {
  /** Undefined: left out. */
  partOf(run: RunMark): Part | undefined;
  /** False: the channels' runs overlap too much to be put in order. */
  readonly timeOrdered: boolean;
}

/** Share of the runs that each of validation and test should come near. */
const HELD_OUT = 0.15;
/** Of the channels' runs in a span, the share that at least is held out for its part. */
const LEAST_OF_SPAN = 1 / 3;
export const LEAST_SOURCES = 3;

/** Every part gets at least one source; needs LEAST_SOURCES of them. */
export function splitRuns(runs: readonly RunMark[]): Split {
  const sources = sourcesOf(runs);
  const channels = sources.filter(({ channel }) => channel);
  const calibration = sources.filter(({ channel }) => !channel);
  if (channels.length < LEAST_SOURCES && calibration.length < LEAST_SOURCES)
    return bySource(splitSources(sources), false);
  // Too few of one kind to keep some of it unseen: all of it teaches.
  const ordered = calibration.length < LEAST_SOURCES ? teachAll(calibration) : splitSources(calibration);
  if (channels.length < LEAST_SOURCES) return bySource(merged(ordered, teachAll(channels)), true);
  return byTime(channels, ordered) ?? bySource(merged(ordered, splitSources(channels)), false);
}

export interface SourceRuns {
  readonly source: string;
  /** Unix milliseconds of its first run. */
  readonly firstMs: number;
  readonly runs: number;
}

/** By source alone: the newest sources judge. */
export function splitSources(sources: readonly SourceRuns[]): ReadonlyMap<string, Part> {
  const ordered = [...sources].sort((a, b) => a.firstMs - b.firstMs || (a.source < b.source ? -1 : 1));
  const wanted = HELD_OUT * ordered.reduce((sum, { runs }) => sum + runs, 0);
  const testFrom = cutFromEnd(ordered, ordered.length, wanted, 2);
  const validationFrom = cutFromEnd(ordered, testFrom, wanted, 1);
  return new Map(
    ordered.map(({ source }, i) => [
      source,
      i >= testFrom ? 'test' : i >= validationFrom ? 'validation' : 'training',
    ]),
  );
}

interface Source extends SourceRuns {
  readonly channel: boolean;
  /** Of its channels, not of its calibration. */
  readonly marks: readonly RunMark[];
}

/** A source with any channel among its runs is a channel's. */
function sourcesOf(runs: readonly RunMark[]): Source[] {
  const bySource = new Map<string, RunMark[]>();
  for (const run of runs) {
    const known = bySource.get(run.source);
    if (known === undefined) bySource.set(run.source, [run]);
    else known.push(run);
  }
  return [...bySource].map(([source, own]) => {
    const marks = own.filter(({ channel }) => channel);
    const firstMs = own.reduce((first, { startMs }) => Math.min(first, startMs), Number.POSITIVE_INFINITY);
    return { source, firstMs, runs: own.length, channel: marks.length > 0, marks };
  });
}

/** Undefined when one of the parts comes out empty. */
function byTime(channels: readonly Source[], calibration: ReadonlyMap<string, Part>): Split | undefined {
  const starts = channels.flatMap(({ marks }) => marks.map(({ startMs }) => startMs)).sort((a, b) => a - b);
  const at = (share: number) => starts[Math.floor(share * starts.length)]!;
  const validationMs = at(1 - 2 * HELD_OUT);
  const testMs = at(1 - HELD_OUT);
  const spanOf = ({ startMs }: RunMark): Part =>
    startMs >= testMs ? 'test' : startMs >= validationMs ? 'validation' : 'training';
  const parts = merged(calibration, assign(channels, spanOf));
  const endOf = { training: validationMs, validation: testMs, test: Number.POSITIVE_INFINITY };
  const partOf = (run: RunMark) => {
    const part = parts.get(run.source);
    if (part === undefined || !run.channel) return part;
    return spanOf(run) === part && run.endMs <= endOf[part] ? part : undefined;
  };
  const used = new Set(channels.flatMap(({ marks }) => marks.map(partOf)));
  return PARTS.every((part) => used.has(part)) ? { partOf, timeOrdered: true } : undefined;
}

type Counts = Readonly<Record<Part, number>>;

function assign(sources: readonly Source[], spanOf: (run: RunMark) => Part): Map<string, Part> {
  const counted = sources.map(({ source, firstMs, marks }) => {
    const counts = { training: 0, validation: 0, test: 0 };
    for (const run of marks) counts[spanOf(run)]++;
    return { source, firstMs, counts, part: mostOf(counts) };
  });
  for (const part of ['test', 'validation'] as const) {
    const inSpan = counted.reduce((sum, { counts }) => sum + counts[part], 0);
    let heldOut = counted.reduce((sum, each) => sum + (each.part === part ? each.counts[part] : 0), 0);
    const spanning = counted
      .filter((each) => each.part === 'training' && each.counts[part] > 0)
      .sort(
        (a, b) =>
          shareIn(b.counts, part) - shareIn(a.counts, part) ||
          b.firstMs - a.firstMs ||
          (a.source < b.source ? -1 : 1),
      );
    for (const each of spanning) {
      const teachers = counted.filter((other) => other.part === 'training').length;
      // Another is wanted for validation yet.
      if (heldOut >= LEAST_OF_SPAN * inSpan || teachers <= (part === 'test' ? 2 : 1)) break;
      each.part = part;
      heldOut += each.counts[part];
    }
  }
  return new Map(counted.map(({ source, part }) => [source, part]));
}

function mostOf(counts: Counts): Part {
  return PARTS.reduce((most, part) => (counts[part] > counts[most] ? part : most));
}

function shareIn(counts: Counts, part: Part): number {
  return counts[part] / (counts.training + counts.validation + counts.test);
}

function bySource(parts: ReadonlyMap<string, Part>, timeOrdered: boolean): Split {
  return { partOf: ({ source }) => parts.get(source), timeOrdered };
}

function teachAll(sources: readonly SourceRuns[]): Map<string, Part> {
  return new Map(sources.map(({ source }) => [source, 'training']));
}

function merged(a: ReadonlyMap<string, Part>, b: ReadonlyMap<string, Part>): Map<string, Part> {
  return new Map([...a, ...b]);
}

/** The cut below `end`, at least `least`, that leaves nearest to `wanted` runs between itself and `end`. */
function cutFromEnd(ordered: readonly SourceRuns[], end: number, wanted: number, least: number): number {
  let best = end - 1;
  let runs = 0;
  let error = Number.POSITIVE_INFINITY;
  for (let cut = end - 1; cut >= least; cut--) {
    runs += ordered[cut]!.runs;
    if (Math.abs(runs - wanted) >= error) break;
    error = Math.abs(runs - wanted);
    best = cut;
  }
  return best;
}
