import { InvalidArgumentError } from 'commander';
import { describe, expect, it } from 'vitest';
import { declaredInput, duration, integer, moment, oneOf } from '../../src/client/arguments.js';
import { bitsPerSecond, bytes, table, toJson, word } from '../../src/client/print.js';

describe('table', () => {
  const columns = [
    { title: 'ID', value: (r: string[]) => r[0]! },
    { title: 'N', value: (r: string[]) => r[1]!, right: true },
    { title: 'TEXT', value: (r: string[]) => r[2]! },
  ];

  it('lines columns up', () => {
    expect(
      table(columns, [
        ['a', '1', 'x'],
        ['long', '10', 'yy'],
      ]),
    ).toBe('ID     N  TEXT\na      1  x\nlong  10  yy');
  });

  it('fits 100 columns: the last one is cut, or goes on below itself', () => {
    const rows = [['a', '1', 'word '.repeat(40).trim()]];
    const cut = table(columns, rows).split('\n');
    expect(cut).toHaveLength(2);
    expect(cut[1]).toHaveLength(100);
    expect(cut[1]!.endsWith('…')).toBe(true);
    const wrapped = table([columns[0]!, columns[1]!, { ...columns[2]!, wrap: true }], rows).split('\n');
    expect(wrapped.every((line) => line.length <= 100)).toBe(true);
    expect(wrapped.slice(1).join(' ').split(/\s+/).slice(2)).toEqual(rows[0]![2]!.split(' '));
  });
});

it.each([
  [512, '512 B'],
  [1536, '1.5 KiB'],
  [20.8 * 2 ** 30, '20.8 GiB'],
])('bytes(%d) is %s', (value, text) => {
  expect(bytes(value)).toBe(text);
});

it.each([
  [128_000, '128 kbit/s'],
  [2_500_000, '2.5 Mbit/s'],
  [3e9, '3.0 Gbit/s'],
])('bitsPerSecond(%d) is %s', (value, text) => {
  expect(bitsPerSecond(value)).toBe(text);
});

it('toJson leaves out the marks of optional fields', () => {
  expect(toJson({ speed: 1, _speed: 'speed', inner: { _x: 1, y: 2 } })).toBe('{"speed":1,"inner":{"y":2}}');
});

it('word drops a prefix of an enum', () => {
  expect(word('RESERVATION_STATE_ACTIVE', 'RESERVATION_STATE')).toBe('active');
});

describe('option values', () => {
  it.each([
    ['90', 90_000],
    ['250ms', 250],
    ['1.5h', 5_400_000],
    ['2d', 172_800_000],
  ])('duration reads %s', (text, ms) => {
    expect(duration(text)).toBe(ms);
  });

  it('moment reads how long ago, and ISO times', () => {
    expect(moment(1_000_000)('10s')).toBe(990_000);
    expect(moment(0)('2026-01-02T03:04:05Z')).toBe(Date.UTC(2026, 0, 2, 3, 4, 5));
  });

  it('declaredInput reads any part of an input', () => {
    expect(declaredInput('codec=hevc,size=hd720,fps=30000/1001,bitrate=6M,depth=10')).toEqual({
      codec: 'hevc',
      width: 1280,
      height: 720,
      fps: 30_000 / 1001,
      bitrateBps: 6_000_000,
      bitDepth: 10,
    });
  });

  it.each([
    ['duration', () => duration('soon')],
    ['moment', () => moment(0)('yesterday')],
    ['integer', () => integer(1, 5)('6')],
    ['integer', () => integer(1, 5)('1.5')],
    ['oneOf', () => oneOf('live', 'vod')('radio')],
    ['declaredInput', () => declaredInput('width=3')],
    ['declaredInput', () => declaredInput('depth=9')],
  ])('%s refuses what it cannot read', (_, read) => {
    expect(read).toThrow(InvalidArgumentError);
  });
});
