import { describe, expect, it } from 'vitest';
import { clipGrid } from '../../src/client/calibrate-clips.js';
import { calibrationPlan, SIZES } from '../../src/client/calibrate-plan.js';
import { parseFfmpegCommand } from '../../src/client/ffmpeg-args.js';
import { plannedOutputs } from '../../src/client/outputs.js';
import { seededRandom } from '../../src/feedback/random.js';
import { checkOutput } from '../../src/forecast/signature-check.js';

const { drawChannel } = await import('../../bench/live/channels.mjs' as string);
const { scores } = await import('../../bench/live/score.mjs' as string);

interface Channel {
  readonly encoder: string;
  readonly words: readonly string[];
}

const PICTURE = { name: 'news', path: 'news.mkv', from: () => 3.5 };
function draw(seed: number, count: number): Channel[] {
  const random = seededRandom(seed);
  return Array.from({ length: count }, () => drawChannel(random, PICTURE, 16));
}
const outputsOf = ({ words }: Channel) =>
  plannedOutputs(parseFfmpegCommand(words), [{ width: 854, height: 480, fps: 25, bitDepth: 8 }]).map(
    ({ video }) => video,
  );

describe('channels of the live benchmark', () => {
  it('are the same for the same seed', () => {
    expect(draw(7, 20)).toEqual(draw(7, 20));
    expect(draw(8, 20)).not.toEqual(draw(7, 20));
  });

  it('are what the daemon takes, at real time, from where the picture is entered', () => {
    for (const channel of draw(1, 300)) {
      const command = parseFfmpegCommand(channel.words);
      expect(command.inputs[0]!.options.map(({ name, value }) => [name, value])).toEqual([
        ['re', undefined],
        ['ss', '3.50'],
        ['t', '16'],
      ]);
      for (const output of outputsOf(channel)) {
        expect(output.encoder).toBe(channel.encoder);
        expect(checkOutput(output, 'output'), channel.words.join(' ')).toEqual([]);
      }
    }
  });

  it('have no settings that calibration measures', () => {
    const encoders = ['libx264', 'libx265', 'libsvtav1', 'libvpx-vp9', 'libvpx', 'mpeg2video', 'mpeg4'];
    const plan = calibrationPlan({ runs: 3_000, seed: 1, encoders, clips: clipGrid(SIZES, []), cpus: 2 });
    const measured = new Set(plan.map((e) => [e.encoder, ...e.encoderOptions].join(' ')));
    const sizes = new Set(SIZES.map(({ width, height }) => `${width}x${height}`));
    for (const channel of draw(2, 500)) {
      const { words, encoder } = channel;
      const own = words.slice(words.indexOf(encoder) + 1);
      const options = own
        .slice(
          0,
          own.findIndex((word) => /^-(crf|b:v|q:v)$/.test(word)),
        )
        .join(' ');
      const setting = `${encoder} ${options}`.trim();
      expect(measured.has(setting), setting).toBe(false);
      const scaled = words.some((word) => word.includes('scale='));
      for (const { width, height } of outputsOf(channel))
        expect(scaled && sizes.has(`${width}x${height}`)).toBe(false);
    }
  });
});

describe('scores of the live benchmark', () => {
  const result = (measured: number, q50: number, q90: number, encoder = 'libx264') => ({
    encoder,
    measured,
    q50,
    q90,
    source: 'lstm',
    costTableCores: 2 * measured,
    probeCores: 1.1 * measured,
    complexityCost: { level: 'probe', wallMs: 500, cpuSeconds: 0.4 },
  });

  it('are medians of the error, shares covered, by encoder and by half', () => {
    const { rows, figures, peers } = scores([
      result(1, 1.1, 1.2),
      result(1, 0.8, 0.9),
      result(0.5, 0.5, 0.5, 'libx265'),
      { encoder: 'libvpx', failed: 'no room' },
      result(0.5, 0.65, 0.7, 'libx265'),
    ]);
    expect(figures).toMatchObject({ channels: 4, failed: 1, by_lstm: 4, q90_coverage: 0.75 });
    expect(figures.median_error_percent).toBeCloseTo(15, 9);
    expect(figures.first_half_median_error_percent).toBeCloseTo(15, 9);
    expect(figures.first_half_q90_coverage).toBe(0.5);
    expect(figures.second_half_q90_coverage).toBe(1);
    expect(rows.map((row: { encoder: string; channels: number }) => [row.encoder, row.channels])).toEqual([
      ['libx264', 2],
      ['libx265', 2],
    ]);
    expect(peers.cost_table_median_error_percent).toBeCloseTo(100, 9);
    expect(peers.probe_alone_median_error_percent).toBeCloseTo(10, 9);
  });

  it('are nothing where nothing ran', () => {
    const { figures } = scores([{ encoder: 'libx264', failed: 'no daemon' }]);
    expect(figures).toMatchObject({ channels: 0, failed: 1, median_error_percent: null, q90_coverage: null });
  });
});
