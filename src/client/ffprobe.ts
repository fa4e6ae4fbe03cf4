import { execFile } from 'node:child_process';
import { CorecastError } from '../lib/errors.js';

/** What ffprobe says of the first video stream, as JSON; parsed apart from running it so that tests use recorded text. */
export interface ProbeFacts {
  readonly codec: string;
  readonly width: number;
  readonly height: number;
  readonly fps: number;
  /** 0 when neither stream nor container says. */
  readonly bitrateBps: number;
  readonly bitDepth: number;
  /** Sizes in bytes of the first packets; empty when packets were not asked for. */
  readonly packets: readonly { readonly bytes: number; readonly key: boolean }[];
  /** Media seconds that the packets span; 0 when timestamps are missing. */
  readonly packetSeconds: number;
  /** Of the whole input; 0 when the container does not say, as for live ones. */
  readonly seconds: number;
}

export interface ProbeRequest {
  readonly ffprobe: string;
  readonly url: string;
  /** Input options that ffprobe understands ("-f", "-video_size", ...). */
  readonly options: readonly string[];
  readonly packets: boolean;
  /** Seconds into the input at which packets are read. */
  readonly fromSeconds: number;
  readonly timeoutMs: number;
}

/** Media seconds of packets that complexity is taken from. */
const PACKET_SPAN_S = 3;
const MAX_OUTPUT_BYTES = 4 * 1024 * 1024;

/** Undefined when the input has no video. Throws NOT_FOUND when it cannot be opened, CANCELLED when it takes too long. */
export async function probe(request: ProbeRequest): Promise<ProbeFacts | undefined> {
  const entries =
    'stream=codec_name,width,height,avg_frame_rate,r_frame_rate,bit_rate,pix_fmt,bits_per_raw_sample:format=bit_rate,duration' +
    (request.packets ? ':packet=size,flags,pts_time,dts_time' : '');
  const from = request.fromSeconds > 0 ? request.fromSeconds.toFixed(3) : '';
  const args = ['-v', 'error', '-of', 'json', '-select_streams', 'v:0', '-show_entries', entries];
  if (request.packets) args.push('-read_intervals', `${from}%+${PACKET_SPAN_S}`);
  args.push(...request.options, '-i', request.url);
  return parseProbe(await runFfprobe(request, args));
}

export function parseProbe(text: string): ProbeFacts | undefined {
  let json: ProbeJson;
  try {
    json = JSON.parse(text) as ProbeJson;
  } catch (cause) {
    throw new CorecastError('INVALID_ARGUMENT', 'ffprobe did not answer with JSON', { cause });
  }
  const stream = json.streams?.[0];
  if (stream === undefined || !(Number(stream.width) > 0) || !(Number(stream.height) > 0)) return undefined;
  const packets = (json.packets ?? [])
    .map((p) => ({ bytes: Number(p.size), key: (p.flags ?? '').startsWith('K') }))
    .filter((p) => p.bytes > 0);
  return {
    codec: stream.codec_name ?? 'unknown',
    width: Number(stream.width),
    height: Number(stream.height),
    fps: ratio(stream.avg_frame_rate) || ratio(stream.r_frame_rate) || 25,
    bitrateBps: Number(stream.bit_rate) || Number(json.format?.bit_rate) || 0,
    bitDepth: depthOf(stream),
    packets,
    packetSeconds: span(json.packets ?? []),
    seconds: Math.max(0, Number(json.format?.duration) || 0),
  };
}

interface ProbeJson {
  streams?: {
    codec_name?: string;
    width?: number;
    height?: number;
    avg_frame_rate?: string;
    r_frame_rate?: string;
    bit_rate?: string;
    pix_fmt?: string;
    bits_per_raw_sample?: string;
  }[];
  packets?: { size?: string; flags?: string; pts_time?: string; dts_time?: string }[];
  format?: { bit_rate?: string; duration?: string };
}

function depthOf(stream: { pix_fmt?: string; bits_per_raw_sample?: string }): number {
  const bits =
    Number(stream.bits_per_raw_sample) || Number(/p0?(10|12)/.exec(stream.pix_fmt ?? '')?.[1] ?? 8);
  return bits <= 8 ? 8 : bits <= 10 ? 10 : 12;
}

function span(packets: readonly { dts_time?: string; pts_time?: string }[]): number {
  const times = packets.map((p) => Number(p.dts_time ?? p.pts_time)).filter(Number.isFinite);
  if (times.length < 2) return 0;
  const length = Math.max(...times) - Math.min(...times);
  // The last packet lasts as long as the others do.
  return length * (times.length / (times.length - 1));
}

function ratio(text: string | undefined): number {
  const [a, b] = (text ?? '').split('/').map(Number);
  const value = a! / (b ?? 1);
  return Number.isFinite(value) && value > 0 && value <= 480 ? value : 0;
}

function runFfprobe(request: ProbeRequest, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = {
      timeout: request.timeoutMs,
      killSignal: 'SIGKILL',
      maxBuffer: MAX_OUTPUT_BYTES,
    } as const;
    const child = execFile(request.ffprobe, args, options, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      if (error.killed === true) {
        const message = `ffprobe gave no answer about ${request.url} within ${request.timeoutMs} ms`;
        return reject(new CorecastError('CANCELLED', message, { cause: error }));
      }
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
        const message = `${request.ffprobe} is not installed or not on PATH`;
        return reject(new CorecastError('NOT_FOUND', message, { cause: error }));
      }
      const said = stderr.trim().split('\n').at(-1) ?? '';
      reject(
        new CorecastError('NOT_FOUND', said === '' ? `${request.url}: ffprobe failed` : said, {
          cause: error,
        }),
      );
    });
    child.stdin?.end();
  });
}
