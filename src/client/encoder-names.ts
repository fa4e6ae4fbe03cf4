import { type FfmpegFile, lastOption, type StreamPosition, streamOption } from './ffmpeg-args.js';

/** The encoder FFmpeg will use, by its own name. */
export function encoderOf(file: FfmpegFile, stream: StreamPosition): string {
  const named = streamOption(file.options, stream, ['c', 'codec', 'vcodec']);
  if (named !== undefined) return ENCODER_OF_CODEC[named] ?? named;
  return ENCODER_OF_FORMAT[formatOf(file)] ?? 'libx264';
}

function formatOf(file: FfmpegFile): string {
  const format = lastOption(file.options, 'f')?.value;
  if (format !== undefined) return format;
  const path = file.url.split(/[?#]/)[0]!;
  if (/^rtmps?:/.test(path)) return 'flv';
  return /\.([A-Za-z0-9]+)$/.exec(path)?.[1]?.toLowerCase() ?? '';
}

export function audioOnly(file: FfmpegFile): boolean {
  return AUDIO_FORMATS.has(formatOf(file));
}

export function isVpx(encoder: string): boolean {
  return encoder === 'libvpx' || encoder === 'libvpx-vp9' || encoder === 'libaom-av1';
}

const ENCODER_OF_CODEC: Readonly<Record<string, string>> = {
  h264: 'libx264',
  hevc: 'libx265',
  h265: 'libx265',
  vp8: 'libvpx',
  vp9: 'libvpx-vp9',
  av1: 'libaom-av1',
};

const ENCODER_OF_FORMAT: Readonly<Record<string, string>> = {
  webm: 'libvpx-vp9',
  flv: 'flv',
  avi: 'mpeg4',
  mpegts: 'mpeg2video',
  ts: 'mpeg2video',
  m2ts: 'mpeg2video',
  mpg: 'mpeg1video',
  mpeg: 'mpeg1video',
  vob: 'mpeg2video',
  m2v: 'mpeg2video',
  hevc: 'libx265',
  265: 'libx265',
  null: 'wrapped_avframe',
  rawvideo: 'rawvideo',
  yuv: 'rawvideo',
  yuv4mpegpipe: 'wrapped_avframe',
  y4m: 'wrapped_avframe',
  ogv: 'libtheora',
  gif: 'gif',
  framecrc: 'rawvideo',
  framemd5: 'rawvideo',
  md5: 'rawvideo',
};

const AUDIO_FORMATS = new Set(
  'mp3 aac adts wav flac ogg opus m4a ac3 eac3 s16le s24le s32le f32le alaw mulaw oga wv aiff amr mp2'.split(
    ' ',
  ),
);
