import type { Complexity, Signature, VideoInput, VideoOutput } from '../forecast/signature.js';
import { signatureViolations } from '../forecast/signature-check.js';
import type { Complexity__Output } from './generated/corecast/v1/Complexity.js';
import type { Signature__Output } from './generated/corecast/v1/Signature.js';
import type { VideoInput__Output } from './generated/corecast/v1/VideoInput.js';
import type { VideoOutput__Output } from './generated/corecast/v1/VideoOutput.js';
import type { Violations } from './violations.js';

const NO_INPUT: VideoInput = { codec: '', width: 0, height: 0, fps: 0, bitrateBps: 0, bitDepth: 0 };

/** The domain's signature. What is missing is noted here; what is out of range, by the forecast's own validation. */
export function readSignature(violations: Violations, message: Signature__Output | null): Signature {
  if (!violations.present('signature', message)) return { input: NO_INPUT, outputs: [], complexity: {} };
  const before = violations.found.length;
  const input = violations.present('signature.input', message.input) ? readInput(message.input) : NO_INPUT;
  const signature: Signature = {
    input,
    outputs: message.outputs.map((output, i) =>
      readOutput(violations, `signature.outputs[${i}]`, output, input),
    ),
    complexity: readComplexity(message.complexity),
    ...(message.content === '' ? {} : { content: message.content }),
  };
  if (violations.found.length === before) violations.add(signatureViolations(signature));
  return signature;
}

function readInput(message: VideoInput__Output): VideoInput {
  const { codec, width, height, fps, bitrateBps, bitDepth } = message;
  return { codec, width, height, fps, bitrateBps, bitDepth };
}

function readOutput(
  violations: Violations,
  at: string,
  message: VideoOutput__Output,
  input: VideoInput,
): VideoOutput {
  const { encoder, preset, width, height, fps, bitDepth, options } = message;
  return {
    encoder,
    preset,
    width,
    height,
    fps,
    rate: readRate(violations, at, message, input),
    bitDepth,
    options: { ...options },
  };
}

function readRate(
  violations: Violations,
  at: string,
  message: VideoOutput__Output,
  input: VideoInput,
): VideoOutput['rate'] {
  if (message.rate === 'crf') return { crf: message.crf ?? 0 };
  if (message.rate === 'bitrateBps') return { bitrateBps: message.bitrateBps ?? 0 };
  // A copied stream has no rate control: it comes out as it goes in.
  if (message.encoder === 'copy') return { bitrateBps: input.bitrateBps };
  violations.missing(`${at}.rate`, 'bitrate_bps or crf');
  return { crf: 0 };
}

function readComplexity(message: Complexity__Output | null): Complexity {
  if (message === null) return {};
  const { bitsPerPixel, packetSizeVariation, keyframeRatio, spatial, temporal, probeCpuSecondsPerFrame } =
    message;
  return {
    ...(bitsPerPixel === undefined ? {} : { bitsPerPixel }),
    ...(packetSizeVariation === undefined ? {} : { packetSizeVariation }),
    ...(keyframeRatio === undefined ? {} : { keyframeRatio }),
    ...(spatial === undefined ? {} : { spatial }),
    ...(temporal === undefined ? {} : { temporal }),
    ...(probeCpuSecondsPerFrame === undefined ? {} : { probeCpuSecondsPerFrame }),
  };
}
