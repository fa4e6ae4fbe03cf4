import { describe, expect, it } from 'vitest';
import type { Signature } from '../../src/forecast/signature.js';
import { signatureViolations, validateSignature } from '../../src/forecast/signature-check.js';
import { CorecastError } from '../../src/lib/errors.js';
import { output, signatureOf } from '../support/forecast-signatures.js';

const fieldsOf = (signature: Signature) => signatureViolations(signature).map(({ field }) => field);
const withInput = (change: Partial<Signature['input']>): Signature => ({
  ...signatureOf(),
  input: { ...signatureOf().input, ...change },
});

describe('validateSignature', () => {
  it('returns a good signature as it is', () => {
    const signature = signatureOf([
      output(),
      output({ encoder: 'libx265', preset: 'slow', rate: { crf: 28 } }),
    ]);
    expect(validateSignature(signature)).toBe(signature);
  });

  it('names an unknown preset in the words of the encoder', () => {
    const [violation] = signatureViolations(signatureOf([output({ preset: 'ultraslow' })]));
    expect(violation).toEqual({
      field: 'signature.outputs[0].preset',
      description: 'preset "ultraslow" is not one libx264 knows (ultrafast … placebo)',
    });
    const [number] = signatureViolations(signatureOf([output({ encoder: 'libsvtav1', preset: '14' })]));
    expect(number?.description).toBe('preset "14" is not one libsvtav1 knows (-1 … 13)');
  });

  it.each([
    ['an unknown codec', withInput({ codec: 'h2645' }), 'signature.input.codec'],
    ['a width of 0', withInput({ width: 0 }), 'signature.input.width'],
    ['half a pixel', withInput({ height: 720.5 }), 'signature.input.height'],
    ['an absurd size', withInput({ width: 1e6 }), 'signature.input.width'],
    ['NaN frames a second', withInput({ fps: Number.NaN }), 'signature.input.fps'],
    ['0 frames a second', withInput({ fps: 0 }), 'signature.input.fps'],
    [
      'an endless bitrate',
      withInput({ bitrateBps: Number.POSITIVE_INFINITY }),
      'signature.input.bitrate_bps',
    ],
    ['a negative bitrate', withInput({ bitrateBps: -1 }), 'signature.input.bitrate_bps'],
    ['9 bits', withInput({ bitDepth: 9 }), 'signature.input.bit_depth'],
    ['no output', signatureOf([]), 'signature.outputs'],
    ['33 outputs', signatureOf(new Array(33).fill(output())), 'signature.outputs'],
    [
      'an unknown encoder',
      signatureOf([output(), output({ encoder: 'h264' })]),
      'signature.outputs[1].encoder',
    ],
    [
      'a huge bitrate',
      signatureOf([output({ rate: { bitrateBps: 5e9 } })]),
      'signature.outputs[0].bitrate_bps',
    ],
    [
      'a tiny bitrate',
      signatureOf([output({ rate: { bitrateBps: 999 } })]),
      'signature.outputs[0].bitrate_bps',
    ],
    ['a CRF of NaN', signatureOf([output({ rate: { crf: Number.NaN } })]), 'signature.outputs[0].crf'],
    [
      'too many references',
      signatureOf([output({ options: { ref: '17' } })]),
      'signature.outputs[0].options.ref',
    ],
    [
      'an option value inside x264-params',
      signatureOf([output({ options: { 'x264-params': 'ref=2:subme=12' } })]),
      'signature.outputs[0].options.subme',
    ],
    [
      'an unknown tune',
      signatureOf([output({ options: { tune: 'film,fast' } })]),
      'signature.outputs[0].options.tune',
    ],
    ['NaN complexity', signatureOf([output()], { spatial: Number.NaN }), 'signature.complexity.spatial'],
  ])('refuses %s and names the field', (_, signature, field) => {
    expect(fieldsOf(signature)).toEqual([field]);
  });

  it('says everything that is wrong at once, with field and value', () => {
    const signature = {
      ...withInput({ codec: 'nope', fps: -1 }),
      outputs: [output({ preset: 'x', width: 1 })],
    };
    expect(() => validateSignature(signature)).toThrow(CorecastError);
    expect(fieldsOf(signature)).toEqual([
      'signature.input.codec',
      'signature.input.fps',
      'signature.outputs[0].width',
      'signature.outputs[0].preset',
    ]);
    expect(() => validateSignature(signature)).toThrow(
      /signature.input.fps is -1; expected a number above 0/,
    );
  });

  it("accepts FFmpeg's own spellings and options it knows nothing of", () => {
    const options = {
      refs: '4',
      'motion-est': '2',
      tune: 'film,zerolatency',
      keyint: '50',
      'no-mbtree': '1',
    };
    expect(fieldsOf(signatureOf([output({ options })]))).toEqual([]);
    expect(
      fieldsOf(
        signatureOf([output({ encoder: 'libvpx-vp9', preset: '6', options: { deadline: 'realtime' } })]),
      ),
    ).toEqual([]);
    expect(fieldsOf(signatureOf([output({ encoder: 'copy', preset: '', rate: { bitrateBps: 0 } })]))).toEqual(
      [],
    );
  });

  it('keeps long values out of its messages', () => {
    const long = signatureOf([output({ preset: 'x'.repeat(10_000), encoder: 'libx264' })]);
    expect(signatureViolations(long)[0]!.description.length).toBeLessThan(200);
  });
});
