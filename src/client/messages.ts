import type { Signature } from '../forecast/signature.js';
import type { Run } from '../history/records.js';
import type { ChannelClass } from '../reservation/reservation.js';
import type { Run as RunMessage } from '../rpc/generated/corecast/v1/Run.js';
import type { Signature as SignatureMessage } from '../rpc/generated/corecast/v1/Signature.js';

/** From the domain's types to the client's requests. */
export function signatureMessage({ input, outputs, complexity, content }: Signature): SignatureMessage {
  return {
    // What ffprobe and FFmpeg say may have fractions; the fields are whole numbers.
    input: { ...input, bitrateBps: Math.round(input.bitrateBps) },
    outputs: outputs.map(({ rate, ...output }) => ({
      ...output,
      ...('crf' in rate
        ? { crf: rate.crf }
        : rate.bitrateBps > 0
          ? { bitrateBps: Math.round(rate.bitrateBps) }
          : {}),
    })),
    complexity,
    content: content ?? '',
  };
}

export function channelClassMessage(channelClass: ChannelClass) {
  return channelClass === 'live' ? 'CHANNEL_CLASS_LIVE' : 'CHANNEL_CLASS_VOD';
}

export function runMessage(run: Run): RunMessage {
  const {
    samples,
    signature,
    origin,
    id,
    startedMs,
    cpuCount,
    cpuSeconds,
    wallSeconds,
    mediaSeconds,
    source,
  } = run;
  return {
    id,
    origin,
    startedMs,
    signature: signatureMessage(signature),
    cpuCount,
    cpuSeconds,
    wallSeconds,
    mediaSeconds,
    coreUsage: [...(samples[0]?.coreUsage ?? [])],
    hostLoad: samples[0]?.hostLoad ?? 0,
    source,
  };
}
