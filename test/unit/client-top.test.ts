import stringWidth from 'string-width';
import { describe, expect, it } from 'vitest';
import { frame, wholeFrame } from '../../src/client/top/frame.js';
import { colourPaint, paintFor, plainPaint } from '../../src/client/top/paint.js';
import { printable, tail, toCells } from '../../src/client/top/text.js';
import type { TopView } from '../../src/client/top/view.js';
import type { Cpu__Output } from '../../src/rpc/generated/corecast/v1/Cpu.js';
import type { GetHostResponse__Output } from '../../src/rpc/generated/corecast/v1/GetHostResponse.js';
import type { Reservation__Output } from '../../src/rpc/generated/corecast/v1/Reservation.js';

const NOW = Date.UTC(2026, 0, 2, 3, 4, 5);

function host(cpus: number): GetHostResponse__Output {
  const list = Array.from({ length: cpus }, (_, cpu) => ({
    ...{ cpu, core: cpu, l3: Math.floor(cpu / 16), numaNode: 0, package: 0, kind: 'performance' },
    ...{ online: cpu !== 5, housekeeping: false, reservedMilli: 500, busy: cpu === 0 ? 0.97 : 0.25 },
  })) as Cpu__Output[];
  const load = { busy: 0.4, cpuPressure: 0.1, memoryAvailableBytes: 2 ** 32, channels: 1, queued: 2 };
  return {
    ...{ hostname: 'encoder-7', cpuModel: 'EPYC', cpus: list, load, forecast: null },
    ...{ admissionClosed: true, admissionClosedReason: 'channel a: late' },
  } as unknown as GetHostResponse__Output;
}

function channel(name: string, more: Partial<Reservation__Output> = {}): Reservation__Output {
  return {
    ...{ id: 'abc', name, state: 'RESERVATION_STATE_ACTIVE', channelClass: 'CHANNEL_CLASS_LIVE' },
    ...{ priority: 50, cpus: [{ cpu: 1, shareMilli: 500 }], createdMs: 1, rung: 0, usageCores: 0.2 },
    ...{ forecastQ90Cores: 0.4, speed: 1, lagSeconds: 0 },
    ...more,
  } as Reservation__Output;
}

function view(cpus: number, reservations: Reservation__Output[], trouble = ''): TopView {
  const events = [{ atMs: NOW, event: 'degraded', channel: 'news', reason: 'speed 0.91 is below real time' }];
  return { nowMs: NOW, host: host(cpus), reservations, events, trouble };
}

describe('a frame', () => {
  const many = Array.from({ length: 100 }, (_, i) => channel(`rtmp://cdn/live/channel-${i}`));

  it.each([
    [256, 80, 24],
    [256, 200, 60],
    [2, 60, 12],
    [8, 40, 8],
    [64, 20, 5],
    [1, 1, 1],
  ])('of %i CPUs fits a terminal of %i × %i', (cpus, columns, rows) => {
    for (const paint of [plainPaint, colourPaint]) {
      const lines = frame(view(cpus, many), { columns, rows }, 3, paint);
      expect(lines.length).toBeLessThanOrEqual(rows);
      expect(Math.max(...lines.map((line) => stringWidth(line)))).toBeLessThanOrEqual(columns);
    }
  });

  it('shows each CPU, each channel and the newest event in a pipe, without control sequences', () => {
    const text = wholeFrame(view(8, many), 120, plainPaint).join('\n');
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that there are none is the point
    expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/);
    expect(text).toMatch(/^corecast {2}encoder-7 {2}EPYC +03:04:05\n/);
    expect(text).toContain('admission closed: channel a: late');
    expect(text).toMatch(/ 0 █+·* +97 % +50 %/);
    expect(text).toContain('5 offline');
    expect(text.match(/channel-\d+$/gm)).toHaveLength(100);
    expect(text).toMatch(/03:04:05 degraded {2}news: speed 0\.91 is below real time$/);
  });

  it('puts channels in trouble first, and scrolls', () => {
    const late = channel('the late one', { speed: 0.9, createdMs: 9 });
    const names = (from: number) =>
      frame(view(2, [...many.slice(0, 3), late]), { columns: 120, rows: 30 }, from, plainPaint)
        .filter((line) => line.startsWith('active'))
        .map((line) => /\S+( late one)?$/.exec(line)![0]);
    expect(names(0)[0]).toBe('the late one');
    expect(names(0)).toHaveLength(4);
    expect(names(3)).toEqual(['rtmp://cdn/live/channel-2']);
  });

  it('says why it is old, and shows that before there was anything else to show', () => {
    expect(frame(view(2, [], 'cannot reach corecastd'), { columns: 80, rows: 24 }, 0, plainPaint)[1]).toBe(
      'cannot reach corecastd',
    );
    const nothing = { ...view(2, [], 'cannot reach corecastd'), host: undefined };
    expect(frame(nothing, { columns: 80, rows: 24 }, 0, plainPaint)).toHaveLength(2);
  });
});

describe('text of others', () => {
  it('cannot steer the terminal', () => {
    expect(printable('a\u001b[31mb\nc\u009bd\u202ee')).toBe('a·[31mb·c·d·e');
  });

  it('is measured in cells, not characters', () => {
    expect(toCells('日本語', 5)).toBe('日本…');
    expect(toCells('日本語', 4)).toBe('日… ');
    expect(toCells('é', 3, 'right')).toBe('  é');
    expect(tail('rtmp://cdn/live/one', 9)).toBe('…live/one');
    expect(tail('日本語', 4)).toBe('…語');
  });
});

it.each([
  [{ isTTY: true }, {}, true],
  [{ isTTY: true }, { NO_COLOR: '1' }, false],
  [{ isTTY: true }, { TERM: 'dumb' }, false],
  [{ isTTY: false }, {}, false],
])('colour on %o with %o: %s', (out, env, coloured) => {
  expect(paintFor(out, env)('bad', 'x') !== 'x').toBe(coloured);
});
