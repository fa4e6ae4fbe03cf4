import { CorecastError, type FieldViolation, invalidField } from '../lib/errors.js';
import { INPUT_CODECS, isInputCodec } from './codecs.js';
import { canonicalOptions } from './effects.js';
import { ENCODER_NAMES, type EncoderSpec, encoderSpec } from './encoders.js';
import type { Complexity, Signature, VideoInput, VideoOutput } from './signature.js';

/** Ranges as in proto/corecast/v1/forecast.proto. */
const MOST_OUTPUTS = 32;
const MOST_OPTIONS = 64;
const MOST_OPTION_NAME = 64;
const MOST_OPTION_VALUE = 512;
const MOST_CONTENT = 64;
const MOST_BITRATE_BPS = 4e9;
const BIT_DEPTHS = [8, 10, 12];

/** Returns it unchanged. Throws INVALID_ARGUMENT with every field that is wrong. */
export function validateSignature(signature: Signature): Signature {
  const violations = signatureViolations(signature);
  if (violations.length === 0) return signature;
  throw new CorecastError('INVALID_ARGUMENT', violations.map(({ description }) => description).join('; '), {
    violations,
  });
}

export function signatureViolations({
  input,
  outputs,
  complexity,
  content = '',
}: Signature): readonly FieldViolation[] {
  const check = new Checks();
  checkInput(check, input);
  check.that(
    outputs.length >= 1 && outputs.length <= MOST_OUTPUTS,
    'signature.outputs',
    `${outputs.length} outputs`,
    `1 to ${MOST_OUTPUTS} outputs`,
  );
  outputs.slice(0, MOST_OUTPUTS).forEach((output, i) => {
    check.found.push(...checkOutput(output, `signature.outputs[${i}]`));
  });
  checkComplexity(check, complexity);
  check.that(
    content.length <= MOST_CONTENT,
    'signature.content',
    content.slice(0, MOST_CONTENT),
    `at most ${MOST_CONTENT} characters`,
  );
  return check.found;
}

/** What is wrong with one output; `at` is its path. */
export function checkOutput(output: VideoOutput, at: string): readonly FieldViolation[] {
  const check = new Checks();
  const spec = encoderSpec(output.encoder);
  check.that(
    spec !== undefined,
    `${at}.encoder`,
    output.encoder,
    `an encoder that corecast knows (${ENCODER_NAMES.join(', ')})`,
  );
  check.picture(at, output);
  checkRate(check, `${at}`, output);
  check.that(
    Object.keys(output.options).length <= MOST_OPTIONS,
    `${at}.options`,
    `${Object.keys(output.options).length} options`,
    `at most ${MOST_OPTIONS}`,
  );
  for (const [name, value] of Object.entries(output.options).slice(0, MOST_OPTIONS)) {
    const short = name.length > 0 && name.length <= MOST_OPTION_NAME && value.length <= MOST_OPTION_VALUE;
    const expected = `a name of 1 to ${MOST_OPTION_NAME} and a value of at most ${MOST_OPTION_VALUE} characters`;
    check.that(short, `${at}.options[${JSON.stringify(name.slice(0, MOST_OPTION_NAME))}]`, value, expected);
  }
  if (spec !== undefined) {
    checkPreset(check, `${at}.preset`, spec, output.preset);
    checkOptions(check, `${at}.options`, spec, output.options);
  }
  return check.found;
}

function checkPreset(check: Checks, field: string, spec: EncoderSpec, preset: string): void {
  // Encoders without presets ignore the word, as FFmpeg does.
  if (preset === '' || spec.presets.length === 0 || spec.presets.includes(preset)) return;
  check.say(field, `preset ${shown(preset)} is not one ${spec.name} knows (${presetList(spec)})`);
}

function presetList({ presets }: EncoderSpec): string {
  const words = presets.filter((preset) => !/^-?\d+$/.test(preset));
  const numbers = presets.filter((preset) => /^-?\d+$/.test(preset)).map(Number);
  const range = numbers.length === 0 ? [] : [`${Math.min(...numbers)} … ${Math.max(...numbers)}`];
  const named = words.length > 4 ? [`${words[0]} … ${words.at(-1)}`] : words;
  return [...named, ...range].join(', ');
}

function checkOptions(
  check: Checks,
  field: string,
  spec: EncoderSpec,
  options: VideoOutput['options'],
): void {
  const named = canonicalOptions(spec.name, options);
  for (const [name, range] of Object.entries(spec.options)) {
    const value = named[name];
    if (value === undefined) continue;
    const at = `${field}.${name}`;
    if ('words' in range) {
      // Tunes are joined by comma or plus.
      const known = value.split(name === 'tune' ? /[,+]/ : /$/).every((word) => range.words.includes(word));
      check.that(known, at, value, `one ${spec.name} knows (${range.words.join(', ')})`);
    } else {
      check.that(
        isInteger(value, range.from, range.to),
        at,
        value,
        `a whole number from ${range.from} to ${range.to}`,
      );
    }
  }
}

function isInteger(text: string, from: number, to: number): boolean {
  return /^-?\d{1,6}$/.test(text) && Number(text) >= from && Number(text) <= to;
}

function checkRate(check: Checks, at: string, { encoder, rate }: VideoOutput): void {
  // A copied stream comes out as it goes in, whatever its rate field says.
  const least = encoder === 'copy' ? 0 : 1_000;
  if (rate !== undefined && 'crf' in rate) {
    check.number(`${at}.crf`, rate.crf, 0, encoderSpec(encoder)?.maxCrf ?? 63);
  } else if (rate !== undefined && 'bitrateBps' in rate) {
    check.number(`${at}.bitrate_bps`, rate.bitrateBps, least, MOST_BITRATE_BPS);
  } else {
    check.that(false, `${at}.rate`, 'missing', 'bitrate_bps or crf');
  }
}

function checkInput(check: Checks, input: VideoInput): void {
  check.that(
    isInputCodec(input.codec),
    'signature.input.codec',
    input.codec,
    `a video codec by FFmpeg's name (h264, hevc, mpeg2video, … ${INPUT_CODECS.length} are known)`,
  );
  check.picture('signature.input', input);
  check.number('signature.input.bitrate_bps', input.bitrateBps, 0, MOST_BITRATE_BPS);
}

/** A reading no measurement gives is a defect of the caller, not a hard picture. */
function checkComplexity(check: Checks, complexity: Complexity): void {
  const ranges: readonly (readonly [keyof Complexity, string, number])[] = [
    ['bitsPerPixel', 'bits_per_pixel', 200],
    ['packetSizeVariation', 'packet_size_variation', 1e4],
    ['keyframeRatio', 'keyframe_ratio', 1e6],
    ['spatial', 'spatial', 1e4],
    ['temporal', 'temporal', 1e4],
    ['probeCpuSecondsPerFrame', 'probe_cpu_seconds_per_frame', 1e3],
  ];
  for (const [key, name, most] of ranges) {
    const value = complexity[key];
    if (value !== undefined) check.number(`signature.complexity.${name}`, value, 0, most);
  }
}

class Checks {
  readonly found: FieldViolation[] = [];

  that(ok: boolean, field: string, value: unknown, expected: string): void {
    if (!ok) this.found.push(...(invalidField(field, value, expected).details.violations ?? []));
  }

  say(field: string, description: string): void {
    this.found.push({ field, description });
  }

  number(field: string, value: number, from: number, to: number): void {
    this.that(
      Number.isFinite(value) && value >= from && value <= to,
      field,
      value,
      `a number from ${from} to ${to}`,
    );
  }

  picture(at: string, picture: { width: number; height: number; fps: number; bitDepth: number }): void {
    for (const side of ['width', 'height'] as const) {
      const pixels = picture[side];
      const ok = Number.isInteger(pixels) && pixels >= 16 && pixels <= 16_384;
      this.that(ok, `${at}.${side}`, pixels, 'a whole number of pixels from 16 to 16384');
    }
    this.that(
      picture.fps > 0 && picture.fps <= 480,
      `${at}.fps`,
      picture.fps,
      'a number above 0, at most 480',
    );
    this.that(
      BIT_DEPTHS.includes(picture.bitDepth),
      `${at}.bit_depth`,
      picture.bitDepth,
      BIT_DEPTHS.join(', '),
    );
  }
}

function shown(value: string): string {
  return JSON.stringify(value.length > 80 ? `${value.slice(0, 77)}...` : value);
}
