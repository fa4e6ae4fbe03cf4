import type { Complexity } from '../forecast/signature.js';
import { sum } from '../lib/sum.js';
import type { ProbeFacts } from './ffprobe.js';
import type { ComplexityCost } from './measure-complexity.js';

/** Complexity from packet sizes: no decoding, and so nearly free. Empty when there are no compressed packets. */
export function packetComplexity(facts: ProbeFacts): Complexity {
  const sizes = facts.packets.map((p) => p.bytes);
  if (sizes.length < 2) return {};
  const total = sum(sizes);
  const mean = total / sizes.length;
  const variance = sum(sizes.map((size) => (size - mean) ** 2)) / sizes.length;
  const keys = facts.packets.filter((p) => p.key).map((p) => p.bytes);
  const others = facts.packets.filter((p) => !p.key).map((p) => p.bytes);
  return {
    bitsPerPixel: (total * 8) / (facts.width * facts.height * sizes.length),
    packetSizeVariation: Math.sqrt(variance) / mean,
    ...(keys.length > 0 && others.length > 0
      ? { keyframeRatio: sum(keys) / keys.length / (sum(others) / others.length) }
      : {}),
  };
}

/** Bits per second by the packets, for containers that do not say. */
export function packetBitrate(facts: ProbeFacts): number {
  if (facts.packets.length < 2) return 0;
  const bits = sum(facts.packets.map((p) => p.bytes)) * 8;
  const seconds = facts.packetSeconds > 0 ? facts.packetSeconds : facts.packets.length / facts.fps;
  return Math.round(bits / seconds);
}

/** What a level above packets came to, for the operator. */
export function describeCost({ level, wallMs, cpuSeconds, failure }: ComplexityCost): string {
  const took = `${wallMs} ms, ${cpuSeconds.toFixed(2)} CPU seconds`;
  return failure === undefined
    ? `--complexity ${level} took ${took}`
    : `--complexity ${level} failed after ${took}: ${failure.message}; the forecast rests on the packets`;
}
