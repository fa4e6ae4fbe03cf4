/*
 * One DASH presentation of several FFmpeg runs (ISO/IEC 23009-1, 5.3.2): each run writes a manifest with one Period; joined,
 * they are Periods of one manifest, which is how DASH marks a discontinuity. Only FFmpeg's own manifests are read here
 * (libavformat/dashenc.c), so plain text is enough.
 */
export interface DashPart {
  /** The manifest as FFmpeg wrote it last. */
  readonly manifest: string;
  /** availabilityStartTime while it was live, unix milliseconds; undefined when it never was. */
  readonly startMs: number | undefined;
}

/** `ended`: no further part comes and the last FFmpeg has ended. `kept`: older Periods are left out. */
export function joinPeriods(parts: readonly DashPart[], ended: boolean, kept = parts.length): string {
  const newest = parts.at(-1)!;
  const firstMs = parts[0]!.startMs;
  let endS = 0;
  const periods = parts.map(({ manifest, startMs }, i) => {
    // Live players count from availabilityStartTime; nothing begins before what is there has ended.
    const sinceFirst = startMs === undefined || firstMs === undefined ? 0 : (startMs - firstMs) / 1000;
    const startS = i === 0 ? 0 : ended ? endS : Math.max(endS, sinceFirst);
    endS = startS + mediaSeconds(manifest);
    return periodOf(manifest)
      .replace(/^<Period\b[^>]*>/, `<Period id="${i}" start="${isoSeconds(startS)}">`)
      .trim();
  });
  const head = newest.manifest.slice(0, newest.manifest.indexOf('<Period'));
  const told = ended
    ? head.replace(/mediaPresentationDuration="[^"]*"/, `mediaPresentationDuration="${isoSeconds(endS)}"`)
    : asDynamic(head, firstMs);
  return `${told}${periods.slice(-kept).join('\n\t')}\n</MPD>\n`;
}

/** availabilityStartTime of a live manifest, unix milliseconds. */
export function availabilityStart(manifest: string): number | undefined {
  const text = /availabilityStartTime="([^"]+)"/.exec(manifest)?.[1];
  const ms = text === undefined ? Number.NaN : Date.parse(text);
  return Number.isFinite(ms) ? ms : undefined;
}

/** A manifest whose FFmpeg has ended says "static"; players of a presentation that goes on must ask again. */
function asDynamic(head: string, firstMs: number | undefined): string {
  if (firstMs === undefined) return head;
  const start = `availabilityStartTime="${new Date(firstMs).toISOString()}"`;
  if (/type="dynamic"/.test(head)) return head.replace(/availabilityStartTime="[^"]*"/, start);
  return head
    .replace(/type="static"/, `type="dynamic"\n\tminimumUpdatePeriod="PT1S"\n\t${start}`)
    .replace(/\s*mediaPresentationDuration="[^"]*"/, '');
}

function periodOf(manifest: string): string {
  return manifest.slice(manifest.indexOf('<Period'), manifest.lastIndexOf('</MPD>'));
}

/** The end of the longest representation's timeline; of a manifest without timelines what it says of itself. */
export function mediaSeconds(manifest: string): number {
  const ends = [...manifest.matchAll(/<SegmentTemplate timescale="(\d+)"[\s\S]*?<\/SegmentTemplate>/g)].map(
    ([template, timescale]) => timelineEnd(template) / Number(timescale),
  );
  const said = /mediaPresentationDuration="PT(?:(\d+)H)?(?:(\d+)M)?([\d.]+)S"/.exec(manifest);
  const whole = said === null ? 0 : Number(said[1] ?? 0) * 3600 + Number(said[2] ?? 0) * 60 + Number(said[3]);
  return Math.max(0, whole, ...ends);
}

function timelineEnd(template: string): number {
  let at = 0;
  for (const [, attributes] of template.matchAll(/<S\b([^>]*)>/g)) {
    const value = (name: string) =>
      /^\d+$/.exec(new RegExp(`\\b${name}="(\\d+)"`).exec(attributes!)?.[1] ?? '')?.[0];
    at = Number(value('t') ?? at) + Number(value('d') ?? 0) * (Number(value('r') ?? 0) + 1);
  }
  return at;
}

function isoSeconds(seconds: number): string {
  return `PT${seconds.toFixed(3)}S`;
}
