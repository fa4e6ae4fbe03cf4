import type { Signature, VideoOutput } from '../forecast/signature.js';

/**
 * What one FFmpeg process will hold, from its picture sizes:
 *
 *   96 MiB + 12 input frames + for each output (the encoder's frames + 10 for each CPU) output frames
 *
 * a frame being width × height × 1.5 samples (4:2:0), 2 bytes each above 8 bits. An encoder holds frames in its
 * lookahead, as references and for reordering, and one set of them a thread. The numbers bound the peak resident memory
 * of FFmpeg 5.1 from above, at 640×360 and 1920×1080, on 2 and 8 threads. Measured for 1080p on 2 threads, MiB: libx264
 * medium 477 (estimate 577), ultrafast 118 (262), libx265 medium 476 (577), libsvtav1 preset 10 494 (606), libvpx-vp9
 * 351 (488); on 8 threads: libx264 medium 661 (755).
 */
export function memoryOf(signature: Signature, cpuCount: number): number {
  const { input } = signature;
  const inputFrames = INPUT_FRAMES * frameBytes(input.width, input.height, input.bitDepth);
  return Math.ceil(
    signature.outputs.reduce(
      (bytes, output) => bytes + outputBytes(output, cpuCount),
      BASE_BYTES + inputFrames,
    ),
  );
}

const BASE_BYTES = 96 * 2 ** 20;
const INPUT_FRAMES = 12;
const FRAMES_PER_CPU = 10;
const FRAMES: Readonly<Record<string, number>> = {
  libx264: 130,
  libx264rgb: 260,
  libx265: 130,
  libsvtav1: 140,
  'libaom-av1': 140,
  libvpx: 100,
  'libvpx-vp9': 100,
};
const FRAMES_OTHERWISE = 24;

function outputBytes(output: VideoOutput, cpuCount: number): number {
  const quick = output.encoder === 'libx264' && output.preset === 'ultrafast';
  const frames = quick ? FRAMES_OTHERWISE : (FRAMES[output.encoder] ?? FRAMES_OTHERWISE);
  return (frames + FRAMES_PER_CPU * cpuCount) * frameBytes(output.width, output.height, output.bitDepth);
}

function frameBytes(width: number, height: number, bitDepth: number): number {
  return width * height * 1.5 * (bitDepth > 8 ? 2 : 1);
}
