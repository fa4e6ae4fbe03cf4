import type { Signature } from '../forecast/signature.js';

/** Equal for channels that an operator would call the same: everything but the picture and its exact bitrate. */
export function signatureKey({ input, outputs }: Signature, cpuCount: number): string {
  const described = outputs.map((output) => [
    output.encoder,
    output.preset,
    output.width,
    output.height,
    Math.round(output.fps),
    output.bitDepth,
    'crf' in output.rate ? `crf ${output.rate.crf}` : `log2 ${Math.round(Math.log2(output.rate.bitrateBps))}`,
    Object.entries(output.options).sort(),
  ]);
  return JSON.stringify([
    input.codec,
    input.width,
    input.height,
    Math.round(input.fps),
    input.bitDepth,
    cpuCount,
    described,
  ]);
}
