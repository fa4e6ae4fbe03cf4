import type { ChannelClass } from '../reservation/reservation.js';
import { type FfmpegCommand, lastOption } from './ffmpeg-args.js';

/** Live when the command is paced or moves media over a live protocol or from a capture device; else it can wait. */
export function channelClassOf(command: FfmpegCommand): ChannelClass {
  const live =
    command.inputs.some(
      (input) =>
        lastOption(input.options, 're', 'readrate') !== undefined ||
        LIVE_PROTOCOL.test(input.url) ||
        CAPTURE_FORMATS.has(lastOption(input.options, 'f')?.value ?? ''),
    ) ||
    command.outputs.some(
      (output) =>
        LIVE_PROTOCOL.test(output.url) || LIVE_MUXERS.has(lastOption(output.options, 'f')?.value ?? ''),
    );
  return live ? 'live' : 'vod';
}

const LIVE_PROTOCOL = /^(rtmp[a-z]*|rtsps?|srt|udp|udplite|rtp|rist|tcp|unix|mmst|mmsh|whip|icecast|zmq):/i;
const CAPTURE_FORMATS = new Set(
  'v4l2 video4linux2 x11grab kmsgrab decklink libndi_newtek fbdev dv1394 iec61883 alsa pulse'.split(' '),
);
const LIVE_MUXERS = new Set('rtsp rtp rtp_mpegts whip sap'.split(' '));
