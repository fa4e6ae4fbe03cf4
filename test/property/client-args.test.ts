import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { evaluate } from '../../src/client/expression.js';
import { parseFfmpegCommand } from '../../src/client/ffmpeg-args.js';
import { parseFilterGraph } from '../../src/client/filtergraph.js';
import { plannedOutputs } from '../../src/client/outputs.js';
import { shellWords } from '../../src/client/shell-words.js';
import { withThreadOptions } from '../../src/client/thread-options.js';

const PICTURE = { width: 1280, height: 720, fps: 25, bitDepth: 8 };

/** Words as they occur, in an order as they do not. */
const words = fc.array(
  fc.oneof(
    {
      weight: 3,
      arbitrary: fc.constantFrom('-y', '-re', '-an', '-nostdin', 'in.mp4', 'out.mp4', '-', '--', '-vn'),
    },
    {
      weight: 3,
      arbitrary: fc.constantFrom('-c:v', '-c', '-preset', '-b:v:1', '-threads', '-map', '-s', '-r', '-f'),
    },
    {
      weight: 3,
      arbitrary: fc.constantFrom('libx264', 'libx265', 'libsvtav1', 'libvpx-vp9', 'copy', '0:v', '[a]', '1M'),
    },
    {
      weight: 2,
      arbitrary: fc.constantFrom(
        '-x265-params',
        'crf=20:pools=3',
        '-svtav1-params',
        'tune=0',
        '-filter_complex',
      ),
    },
    { weight: 1, arbitrary: fc.constantFrom('-vf', 'scale=640:-2,fps=12', '[0:v]split[a][b]') },
    { weight: 1, arbitrary: fc.string({ maxLength: 12 }) },
  ),
  { maxLength: 24 },
);

describe('an FFmpeg command of any words', () => {
  it('is read without a crash, each word in at most one place', () => {
    fc.assert(
      fc.property(words, (args) => {
        if (args.at(-1) === '-i') return;
        const command = parseFfmpegCommand(['ffmpeg', '-i', 'clip.mp4', ...args]);
        const places = [...command.inputs, ...command.outputs].flatMap((file) => [
          file.at,
          ...file.options.map((o) => o.at),
        ]);
        expect(new Set(places).size).toBe(places.length);
        for (const output of plannedOutputs(
          command,
          command.inputs.map(() => PICTURE),
        )) {
          expect(output.video.width).toBeGreaterThan(0);
          expect(output.video.height).toBeGreaterThan(0);
          expect(output.video.fps).toBeGreaterThan(0);
        }
      }),
    );
  });

  it('keeps all its words in their order when thread options are added, save parameters that are joined to', () => {
    fc.assert(
      fc.property(words, fc.integer({ min: 1, max: 256 }), (args, cpuCount) => {
        if (args.at(-1) === '-i') return;
        const command = parseFfmpegCommand(['ffmpeg', '-i', 'clip.mp4', ...args]);
        const planned = plannedOutputs(
          command,
          command.inputs.map(() => PICTURE),
        );
        const result = withThreadOptions(command, planned, { cpuCount, svtAv1Major: 1 }).args;
        let at = 0;
        for (const word of command.args) {
          while (at < result.length && result[at] !== word && !result[at]!.startsWith(`${word}:`)) at++;
          expect(at, `"${word}" is lost from ${JSON.stringify(result)}`).toBeLessThan(result.length);
          at++;
        }
      }),
    );
  });

  it('needs no second round of thread options', () => {
    fc.assert(
      fc.property(words, (args) => {
        if (args.at(-1) === '-i') return;
        const read = (w: readonly string[]) => {
          const command = parseFfmpegCommand(['ffmpeg', ...w]);
          const planned = plannedOutputs(
            command,
            command.inputs.map(() => PICTURE),
          );
          return withThreadOptions(command, planned, { cpuCount: 4, svtAv1Major: 1 });
        };
        const once = read(['-i', 'clip.mp4', ...args]);
        expect(read(once.args).added).toEqual([]);
      }),
    );
  });
});

it('any text is a filter graph, an expression or shell words, or is refused; nothing hangs', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 60 }), (text) => {
      parseFilterGraph(text);
      const value = evaluate(text, { iw: 640, ih: 360 });
      expect(value === undefined || Number.isFinite(value)).toBe(true);
      try {
        shellWords(text);
      } catch (error) {
        expect(String(error)).toContain('is not closed');
      }
    }),
  );
});
