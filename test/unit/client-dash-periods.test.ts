import { describe, expect, it } from 'vitest';
import { availabilityStart, joinPeriods, mediaSeconds } from '../../src/client/dash-periods.js';

/** As libavformat/dashenc.c writes it, shortened. */
const manifest = (type: 'static' | 'dynamic', startedAt: string, timeline: string, name: string) =>
  `<?xml version="1.0" encoding="utf-8"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"
\ttype="${type}"
\t${
    type === 'static'
      ? 'mediaPresentationDuration="PT4.0S"'
      : `minimumUpdatePeriod="PT500S"\n\tavailabilityStartTime="${startedAt}"`
  }
\tminBufferTime="PT2.0S">
\t<Period id="0" start="PT0.0S">
\t\t<AdaptationSet id="0">
\t\t\t<Representation id="0">
\t\t\t\t<SegmentTemplate timescale="1000" media="${name}">
\t\t\t\t\t<SegmentTimeline>${timeline}</SegmentTimeline>
\t\t\t\t</SegmentTemplate>
\t\t\t</Representation>
\t\t</AdaptationSet>
\t</Period>
</MPD>`;

const first = manifest('static', '', '<S t="0" d="1000" r="3" />', 'one');
const second = manifest('dynamic', '2026-01-02T03:04:06.500Z', '<S t="0" d="1000" /><S d="500" />', 'two');
const startMs = Date.parse('2026-01-02T03:04:00.000Z');
const parts = [
  { manifest: first, startMs },
  { manifest: second, startMs: availabilityStart(second) },
];

describe('the periods of several runs', () => {
  it('know how long their media is', () => {
    expect(mediaSeconds(first)).toBe(4);
    expect(mediaSeconds(second)).toBe(1.5);
    expect(mediaSeconds(manifest('dynamic', '', '<S t="7000" d="1000" r="1" />', 'x'))).toBe(9);
  });

  it('are one live presentation that began with the first, the second where its FFmpeg began', () => {
    const joined = joinPeriods(parts, false);
    expect(joined).toContain('type="dynamic"');
    expect(joined).toContain('availabilityStartTime="2026-01-02T03:04:00.000Z"');
    expect([...joined.matchAll(/<Period id="(\d)" start="([^"]*)">/g)].map((m) => [m[1], m[2]])).toEqual([
      ['0', 'PT0.000S'],
      ['1', 'PT6.500S'],
    ]);
    expect(joined.match(/<\/Period>/g)).toHaveLength(2);
    expect(joined.trim().endsWith('</MPD>')).toBe(true);
  });

  it('go on being live in the gap, when the only FFmpeg has ended', () => {
    const joined = joinPeriods(parts.slice(0, 1), false);
    expect(joined).toContain('type="dynamic"');
    expect(joined).toContain('minimumUpdatePeriod');
    expect(joined).not.toContain('mediaPresentationDuration');
  });

  it('are one static presentation without a hole at the end', () => {
    const ended = { manifest: second.replace('dynamic', 'static').replace(/minimumUpdate.*\n/, ''), startMs };
    const last = {
      ...ended,
      manifest: ended.manifest.replace(/availability\S+/, 'mediaPresentationDuration="PT1.5S"'),
    };
    const joined = joinPeriods([parts[0]!, last], true);
    expect(joined).toContain('mediaPresentationDuration="PT5.500S"');
    expect(joined).toContain('<Period id="1" start="PT4.000S">');
  });

  it('leave older ones out of a window, and keep their numbers', () => {
    const joined = joinPeriods(parts, false, 1);
    expect(joined.match(/<Period id="(\d)"/g)).toEqual(['<Period id="1"']);
  });
});
