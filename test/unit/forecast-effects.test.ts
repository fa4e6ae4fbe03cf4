import { describe, expect, it } from 'vitest';
import { encodeCores } from '../../src/forecast/cost-table.js';
import { effectsOf } from '../../src/forecast/effects.js';
import { encodeSequence } from '../../src/forecast/features.js';
import { WINDOW_STEPS } from '../../src/forecast/forecast.js';
import { SEQUENCE_FEATURES } from '../../src/forecast/network.js';
import { IDLE_HOST, output } from '../support/forecast-signatures.js';

describe('effectsOf', () => {
  it('expands a preset and lets options override it, parameter lists last', () => {
    const { settings } = effectsOf(
      output({ preset: 'slower', options: { refs: '2', 'x264-params': 'ref=3:no-mbtree' } }),
    );
    expect(settings).toMatchObject({ ref: 3, subme: 9, me: 'umh', mbtree: 0, bframes: 3, trellis: 2 });
  });

  it("takes x264's default where no preset is given", () => {
    expect(effectsOf(output({ preset: '' })).settings).toEqual(
      effectsOf(output({ preset: 'medium' })).settings,
    );
  });

  it('turns zerolatency into what it switches off', () => {
    const { settings } = effectsOf(output({ options: { tune: 'film+zerolatency' } }));
    expect(settings).toMatchObject({ bframes: 0, 'rc-lookahead': 0, mbtree: 0 });
  });

  it.each([
    ['libvpx-vp9', '', {}, 'good:1'],
    ['libvpx-vp9', '7', { deadline: 'realtime' }, 'realtime:7'],
    ['libvpx-vp9', '', { deadline: '1', speed: '6' }, 'realtime:6'],
    ['libvpx', 'best', { 'cpu-used': '5' }, 'good:0'],
    ['libvpx', '-8', { quality: 'realtime' }, 'realtime:8'],
    ['libaom-av1', '6', {}, 'good:6'],
    ['libaom-av1', '11', { usage: 'realtime' }, 'realtime:8'],
    ['libsvtav1', '', {}, '10'],
    ['libsvtav1', '-1', {}, '10'],
    ['libsvtav1', '8', {}, '8'],
    ['mpeg2video', '', {}, 'default'],
  ])('%s with preset "%s" and %j runs at speed level %s', (encoder, preset, options, level) => {
    expect(effectsOf(output({ encoder, preset, options: options as Record<string, string> })).level).toBe(
      level,
    );
  });

  it('makes an option that lightens a preset lighten its cost', () => {
    const slow = encodeCores(output({ preset: 'veryslow' }));
    const lightened = encodeCores(
      output({ preset: 'veryslow', options: { ref: '1', subme: '2', me: 'hex' } }),
    );
    expect(lightened).toBeLessThan(slow * 0.8);
    expect(lightened).toBeGreaterThanOrEqual(encodeCores(output({ preset: 'ultrafast' })));
  });
});

describe('encodeSequence', () => {
  const width = SEQUENCE_FEATURES.length;
  const column = (rows: Float32Array, name: (typeof SEQUENCE_FEATURES)[number]) =>
    Array.from({ length: WINDOW_STEPS }, (_, step) => rows[step * width + SEQUENCE_FEATURES.indexOf(name)]!);
  const hosts = (...busy: number[]) => busy.map((share) => ({ ...IDLE_HOST, busy: share }));

  it('pads a short window with its oldest step and keeps the newest last', () => {
    const busy = column(encodeSequence(hosts(0.5, 0.25)), 'busy');
    expect(busy).toEqual([...new Array(WINDOW_STEPS - 1).fill(0.5), 0.25]);
  });

  it('takes the newest steps of a window that is too long', () => {
    const many = hosts(...Array.from({ length: 20 }, (_, i) => i / 32));
    expect(column(encodeSequence(many), 'busy')).toEqual(many.slice(-WINDOW_STEPS).map(({ busy }) => busy));
  });

  it('is all zeros when nothing is known, and masks a channel that has not run', () => {
    expect(encodeSequence([]).every((x) => x === 0)).toBe(true);
    expect(column(encodeSequence(hosts(0.5)), 'channelPresent')).toEqual(new Array(WINDOW_STEPS).fill(0));
    const own = encodeSequence(hosts(0.5), [{ cores: 1.5, ingressBps: 0, speed: 1 }]);
    expect(column(own, 'channelPresent')).toEqual(new Array(WINDOW_STEPS).fill(1));
    expect(column(own, 'channelCores')).toEqual(new Array(WINDOW_STEPS).fill(1.5));
  });

  it('reads an unknown reading as zero instead of poisoning the model', () => {
    const rows = encodeSequence([{ ...IDLE_HOST, ingressBps: Number.NaN, cpuPressure: Number.NaN }]);
    expect(rows.every(Number.isFinite)).toBe(true);
  });
});
