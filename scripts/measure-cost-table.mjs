#!/usr/bin/env node
// Measures what FFmpeg's encoders, decoders and scaler cost on one thread of this machine and writes
// models/cost-table.json, the numbers under src/forecast/cost-table.ts.
//
//   node scripts/measure-cost-table.mjs [--out FILE] [--rounds N]
//
// CPU time (user + system, FFmpeg's own -benchmark line) of a run minus that of the same run into a null encoder, per
// megapixel. Everything is measured once a round, in N rounds (default 2) over the whole list, and the least counts:
// neighbours on the machine only ever add time. Orders that hold by construction (a slower preset is not cheaper,
// more reference frames are not cheaper) are put on noisy neighbours by isotonic regression.
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const { values: flags } = parseArgs({
  options: {
    out: { type: 'string', default: 'models/cost-table.json' },
    rounds: { type: 'string', default: '2' },
  },
});
const ROUNDS = Number(flags.rounds);
if (!Number.isInteger(ROUNDS) || ROUNDS < 1 || ROUNDS > 20) {
  console.error(`--rounds is ${flags.rounds}; expected 1 to 20`);
  process.exit(2);
}

const SMALL = { width: 640, height: 360 };
const LARGE = { width: 1280, height: 720 };
const FPS = 30;
const FRAMES = 60;
const COPY_LOOPS = 200;
/** Half moving test card, half softened fractal under noise: the same mix in every frame, so any number of frames will do. */
const CONTENT =
  'testsrc2 beside mandelbrot (gblur sigma 1.2, noise 3), 4:2:0, 30 fps; 0.1 bits per pixel from libx264 medium crf 23';

const X264_PRESETS = [
  'ultrafast',
  'superfast',
  'veryfast',
  'faster',
  'fast',
  'medium',
  'slow',
  'slower',
  'veryslow',
  'placebo',
];
const X265 = 'pools=none:frame-threads=1:log-level=error';
const range = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

/** Levels fastest first. `args(level)` is the encoder's command line; `frames(level)` keeps slow ones short. */
const ENCODERS = {
  libx264: {
    levels: X264_PRESETS,
    args: (level) => ['-preset', level],
    rate: (crf) => ['-crf', crf],
    crf: 23,
    frames: (i) => (i >= 9 ? 12 : i >= 7 ? 24 : 60),
    middle: 'medium',
    depth10: true,
  },
  libx265: {
    levels: X264_PRESETS,
    args: (level) => ['-preset', level, '-x265-params', X265],
    rate: (crf) => ['-crf', crf],
    crf: 28,
    frames: (i) => (i >= 7 ? 4 : i >= 5 ? 12 : 24),
    middle: 'medium',
    depth10: true,
  },
  libsvtav1: {
    levels: range(0, 13).reverse().map(String),
    measured: ['12', '10', '8', '6', '4', '2'],
    args: (level) => ['-preset', level, '-svtav1-params', 'lp=1'],
    rate: (crf) => ['-crf', crf],
    crf: 35,
    frames: (i) => (i >= 8 ? 4 : i >= 6 ? 12 : 24),
    middle: '8',
    depth10: true,
  },
  'libvpx-vp9': {
    levels: [
      ...range(5, 8)
        .reverse()
        .map((n) => `realtime:${n}`),
      ...range(0, 5)
        .reverse()
        .map((n) => `good:${n}`),
    ],
    measured: ['realtime:8', 'realtime:6', 'realtime:5', 'good:5', 'good:3', 'good:2', 'good:1', 'good:0'],
    args: (level) => ['-deadline', level.split(':')[0], '-cpu-used', level.split(':')[1]],
    rate: (crf) => ['-crf', crf, '-b:v', '0'],
    crf: 32,
    frames: (i) => (i >= 7 ? 8 : 24),
    middle: 'realtime:5',
  },
  libvpx: {
    levels: [
      ...range(1, 16)
        .reverse()
        .map((n) => `realtime:${n}`),
      ...range(0, 5)
        .reverse()
        .map((n) => `good:${n}`),
    ],
    measured: ['realtime:16', 'realtime:8', 'realtime:4', 'good:5', 'good:3', 'good:1', 'good:0'],
    args: (level) => ['-deadline', level.split(':')[0], '-cpu-used', level.split(':')[1]],
    bpp: 0.1,
    frames: () => 24,
  },
  'libaom-av1': {
    levels: [
      ...range(5, 8)
        .reverse()
        .map((n) => `realtime:${n}`),
      ...range(0, 8)
        .reverse()
        .map((n) => `good:${n}`),
    ],
    measured: ['realtime:8', 'realtime:7', 'realtime:6', 'good:6', 'good:4', 'good:2'],
    args: (level) => ['-usage', level.split(':')[0], '-cpu-used', level.split(':')[1]],
    rate: (crf) => ['-crf', crf],
    crf: 32,
    frames: (i) => (i >= 8 ? 3 : i >= 4 ? 6 : 24),
    middle: 'realtime:7',
  },
  mpeg2video: { levels: ['default'], args: () => [], bpp: 0.2, frames: () => 60 },
  mpeg4: { levels: ['default'], args: () => [], bpp: 0.15, frames: () => 60 },
  mpeg1video: { levels: ['default'], args: () => [], bpp: 0.2, frames: () => 60 },
  libxvid: { levels: ['default'], args: () => [], bpp: 0.15, frames: () => 60 },
  mjpeg: { levels: ['default'], args: () => ['-q:v', '4', '-pix_fmt', 'yuvj420p'], frames: () => 60 },
  prores_ks: { levels: ['default'], args: () => ['-pix_fmt', 'yuv422p10le'], frames: () => 24 },
  dnxhd: {
    levels: ['default'],
    args: () => ['-profile:v', 'dnxhr_sq', '-pix_fmt', 'yuv422p'],
    frames: () => 24,
  },
  ffv1: { levels: ['default'], args: () => [], frames: () => 24 },
  rawvideo: { levels: ['default'], args: () => [], frames: () => 60 },
};

/** One option changed from the preset medium. Lists are in order of cost where `ordered`. */
const OPTIONS = {
  libx264: {
    set: (name, value) => ['-x264-params', `${name}=${value}`],
    names: {
      ref: { values: [1, 2, 3, 5, 8, 16], ordered: true },
      subme: { values: [0, 1, 2, 4, 6, 7, 8, 9, 10, 11], ordered: true, also: 'trellis=2' },
      me: { values: ['dia', 'hex', 'umh', 'esa', 'tesa'], ordered: true },
      trellis: { values: [0, 1, 2], ordered: true },
      bframes: { values: [0, 1, 3, 8, 16] },
      'rc-lookahead': { values: [0, 10, 40, 60] },
      mbtree: { values: [0, 1] },
      partitions: { values: ['none', 'i4x4,i8x8', 'p8x8,b8x8,i8x8,i4x4', 'all'] },
    },
  },
  libx265: {
    set: (name, value) => ['-x265-params', `${X265}:${name}=${value}`],
    names: {
      ref: { values: [1, 3, 5], ordered: true },
      subme: { values: [0, 2, 3, 5], ordered: true },
      me: { values: ['dia', 'hex', 'umh', 'star'], ordered: true },
      rd: { values: [2, 3, 4, 6], ordered: true },
      bframes: { values: [0, 4, 8] },
      'rc-lookahead': { values: [5, 20, 60] },
      'rdoq-level': { values: [0, 2], ordered: true },
      rect: { values: [0, 1], ordered: true },
      ctu: { values: [16, 32, 64] },
      'max-merge': { values: [1, 3, 5], ordered: true },
    },
  },
};

/** How the streams that decoding is measured on are made; two qualities each tell pixels from bits. */
const DECODERS = {
  h264: ['libx264', '-preset', 'medium'],
  hevc: ['libx265', '-preset', 'veryfast', '-x265-params', 'log-level=error'],
  av1: ['libsvtav1', '-preset', '10'],
  vp9: ['libvpx-vp9', '-deadline', 'realtime', '-cpu-used', '7'],
  vp8: ['libvpx', '-deadline', 'realtime', '-cpu-used', '8'],
  mpeg2video: ['mpeg2video'],
  mpeg4: ['mpeg4'],
  mpeg1video: ['mpeg1video'],
  mjpeg: ['mjpeg', '-pix_fmt', 'yuvj420p'],
  prores: ['prores_ks', '-pix_fmt', 'yuv422p10le'],
  dnxhd: ['dnxhd', '-profile:v', 'dnxhr_sq', '-pix_fmt', 'yuv422p'],
  ffv1: ['ffv1'],
  theora: ['libtheora'],
  wmv2: ['wmv2'],
};

const dir = mkdtempSync(join(tmpdir(), 'corecast-cost-'));
process.on('exit', () => rmSync(dir, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130));

/** Cases to measure: a name and a command; the least CPU seconds over the rounds are the result. */
const cases = new Map();
const seconds = new Map();

main();

function main() {
  const started = Date.now();
  const small = makeSource(SMALL, FRAMES);
  const large = makeSource(LARGE, FRAMES);
  const streams = makeStreams(small);
  planEncoders(small, large);
  planOptions(small);
  planDecoders(small, streams);
  planScaling(small, large);
  measureAll();
  const table = {
    format: 1,
    id: '',
    measured: new Date(started).toISOString().slice(0, 10),
    command: 'node scripts/measure-cost-table.mjs',
    cpuModel: cpus()[0]?.model ?? 'unknown',
    ffmpeg: execFileSync('ffmpeg', ['-version'], { encoding: 'utf8' }).split('\n')[0].split(' Copyright')[0],
    content: CONTENT,
    unit: 'CPU seconds per megapixel on one thread, at referencePixels a frame',
    referencePixels: LARGE.width * LARGE.height,
    encoders: encoderTable(),
    decoders: decoderTable(streams),
    scale: scaleTable(),
    copySecondsPerMegabit: copyCost(streams),
    /** Least CPU seconds of each run, as measured. */
    raw: Object.fromEntries(seconds),
  };
  const digest = createHash('sha256').update(JSON.stringify(table)).digest('hex');
  table.id = `${table.measured}-${digest.slice(0, 8)}`;
  writeFileSync(flags.out, `${JSON.stringify(table, null, 1)}\n`);
  console.error(
    `${flags.out}: ${table.id}, ${cases.size} cases in ${Math.round((Date.now() - started) / 1000)} s`,
  );
}

function planEncoders(small, large) {
  for (const [encoder, spec] of Object.entries(ENCODERS)) {
    const levels = spec.measured ?? spec.levels;
    for (const level of levels) {
      const frames = spec.frames(spec.levels.indexOf(level));
      plan(`${encoder} ${level} large`, large, Math.max(3, frames >> 1), encode(encoder, spec, level, LARGE));
      plan(`${encoder} ${level} small`, small, frames, encode(encoder, spec, level, SMALL));
    }
    if (spec.middle !== undefined) {
      const frames = spec.frames(spec.levels.indexOf(spec.middle));
      const at = (crf) => encode(encoder, { ...spec, crf }, spec.middle, SMALL);
      plan(`${encoder} crf low`, small, frames, at(spec.crf - 6));
      plan(`${encoder} crf high`, small, frames, at(spec.crf + 6));
    }
    if (spec.depth10) {
      const args = encode(encoder, spec, spec.middle, SMALL);
      plan(`${encoder} 10 bit`, small, spec.frames(spec.levels.indexOf(spec.middle)), [
        ...args,
        '-pix_fmt',
        'yuv420p10le',
      ]);
    }
  }
}

function planOptions(small) {
  for (const [encoder, { set, names }] of Object.entries(OPTIONS)) {
    const spec = ENCODERS[encoder];
    const base = encode(encoder, { ...spec, args: () => ['-preset', 'medium'] }, 'medium', SMALL);
    for (const [name, { values, also }] of Object.entries(names)) {
      for (const value of values) {
        const args = set(name, also === undefined ? value : `${value}:${also}`);
        plan(`${encoder} ${name}=${value}`, small, encoder === 'libx265' ? 12 : 40, [...base, ...args]);
      }
    }
  }
}

function planDecoders(small, streams) {
  for (const { name, files } of streams) {
    for (const { quality, path } of files) {
      cases.set(`decode ${name} ${quality}`, ['-i', path, '-f', 'null', '-']);
    }
  }
  for (const loops of [0, COPY_LOOPS]) {
    const input = ['-stream_loop', String(loops), '-i', streams[0].files[1].path];
    cases.set(`copy ${loops}`, [...input, '-c', 'copy', '-f', 'mpegts', '-y', '/dev/null']);
  }
  for (const frames of [FRAMES, FRAMES / 10]) {
    plan(`null small ${frames}`, small, frames, ['-c:v', 'wrapped_avframe']);
  }
}

function planScaling(small, large) {
  const scaled = ({ width, height }) => ['-vf', `scale=${width}:${height}`, '-c:v', 'wrapped_avframe'];
  plan('scale down', large, FRAMES, scaled(SMALL));
  plan('scale up', small, FRAMES, scaled(LARGE));
  for (const frames of [FRAMES, FRAMES / 10]) {
    plan(`null large ${frames}`, large, frames, ['-c:v', 'wrapped_avframe']);
  }
}

function plan(name, source, frames, args) {
  cases.set(name, ['-i', source.path, '-frames:v', String(frames), ...args, '-f', 'null', '-']);
  cases.get(name).megapixels = (source.width * source.height * frames) / 1e6;
  cases.get(name).frames = frames;
  cases.get(name).size = source.height === LARGE.height ? 'large' : 'small';
}

function encode(encoder, spec, level, { width, height }) {
  const rate =
    spec.bpp === undefined
      ? spec.rate === undefined
        ? []
        : spec.rate(String(spec.crf))
      : ['-b:v', String(Math.round(spec.bpp * width * height * FPS))];
  return ['-c:v', encoder, ...spec.args(level), ...rate, '-threads', '1'];
}

function measureAll() {
  const total = ROUNDS * cases.size;
  let done = 0;
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, args] of cases) {
      const took = cpuSeconds(args);
      seconds.set(name, Math.min(seconds.get(name) ?? Infinity, took));
      if (process.stderr.isTTY) process.stderr.write(`\r${++done}/${total} ${name.padEnd(60).slice(0, 60)}`);
    }
  }
  if (process.stderr.isTTY) process.stderr.write('\n');
}

function cpuSeconds(args) {
  const command = ['-hide_banner', '-nostdin', '-v', 'info', '-nostats', '-benchmark'];
  const run = spawnSync('ffmpeg', [...command, '-threads', '1', '-filter_threads', '1', ...args], {
    encoding: 'utf8',
    maxBuffer: 1 << 24,
    env: { ...process.env, SVT_LOG: '1' },
  });
  const match = /bench: utime=([\d.]+)s stime=([\d.]+)s/.exec(run.stderr);
  if (run.status !== 0 || match === null) {
    throw new Error(`ffmpeg ${args.join(' ')}\n${run.stderr.slice(-800)}`);
  }
  return Number(match[1]) + Number(match[2]);
}

/** CPU seconds per megapixel, without reading the raw source. */
function perMegapixel(name) {
  const spec = cases.get(name);
  return Math.max(1e-6, (seconds.get(name) - empty(spec.size, spec.frames)) / spec.megapixels);
}

/** CPU seconds of starting FFmpeg and reading raw frames. */
function empty(size, frames) {
  const [long, short] = [seconds.get(`null ${size} ${FRAMES}`), seconds.get(`null ${size} ${FRAMES / 10}`)];
  const perFrame = Math.max(0, (long - short) / (FRAMES * 0.9));
  return long - perFrame * (FRAMES - frames);
}

function encoderTable() {
  const table = {};
  for (const [encoder, spec] of Object.entries(ENCODERS)) {
    const levels = spec.measured ?? spec.levels;
    const large = isotonic(levels.map((level) => perMegapixel(`${encoder} ${level} large`)));
    const ratio = levels.map((level, i) => large[i] / perMegapixel(`${encoder} ${level} small`));
    const pixels = (LARGE.width * LARGE.height) / (SMALL.width * SMALL.height);
    table[encoder] = {
      levels: Object.fromEntries(levels.map((level, i) => [level, round(large[i])])),
      /** CPU seconds of a frame grow as pixels^(1 + this). */
      sizeExponent: round(clamp(Math.log(median(ratio)) / Math.log(pixels), -0.3, 0.2)),
    };
    if (spec.middle !== undefined) {
      const slope = perMegapixel(`${encoder} crf low`) / perMegapixel(`${encoder} crf high`);
      table[encoder].crf = spec.crf;
      /** Natural log of the cost per CRF point of better quality. */
      table[encoder].crfSlope = round(Math.max(0, Math.log(slope) / 12));
    }
    if (spec.depth10) {
      const ten = perMegapixel(`${encoder} 10 bit`) / perMegapixel(`${encoder} ${spec.middle} small`);
      table[encoder].depth10 = round(Math.max(1, ten));
    }
    if (OPTIONS[encoder] !== undefined) table[encoder].options = optionTable(encoder);
  }
  return table;
}

/** Cost at each value over the cost at the first, by option. */
function optionTable(encoder) {
  const table = {};
  for (const [name, { values, ordered }] of Object.entries(OPTIONS[encoder].names)) {
    const costs = values.map((value) => perMegapixel(`${encoder} ${name}=${value}`));
    const smooth = ordered ? isotonic(costs) : costs;
    table[name] = Object.fromEntries(values.map((value, i) => [String(value), round(smooth[i] / smooth[0])]));
  }
  return table;
}

/** Seconds per megapixel and per megabit from two qualities of the same pictures. */
function decoderTable(streams) {
  const table = {};
  const start = seconds.get('copy 0');
  for (const { name, files } of streams) {
    const megapixels = (SMALL.width * SMALL.height * FRAMES) / 1e6;
    const [low, high] = files.map(({ quality, bits }) => ({
      cost: Math.max(1e-6, seconds.get(`decode ${name} ${quality}`) - start),
      megabits: bits / 1e6,
    }));
    // Encoders that pay no heed to the bit rate tell nothing about bits.
    const telling = high.megabits > 1.2 * low.megabits;
    const perMegabit = telling ? Math.max(0, (high.cost - low.cost) / (high.megabits - low.megabits)) : 0;
    table[name] = {
      perMegapixel: round(Math.max(low.cost * 0.2, low.cost - perMegabit * low.megabits) / megapixels),
      perMegabit: round(perMegabit),
      bitsPerPixel: round(low.megabits / megapixels),
    };
  }
  return table;
}

function scaleTable() {
  const megapixels = ({ width, height }) => (width * height * FRAMES) / 1e6;
  const [small, large] = [megapixels(SMALL), megapixels(LARGE)];
  const down = Math.max(0, seconds.get('scale down') - empty('large', FRAMES));
  const up = Math.max(0, seconds.get('scale up') - empty('small', FRAMES));
  // down = large * a + small * b, up = small * a + large * b
  const det = large * large - small * small;
  const a = Math.max(0, (down * large - up * small) / det);
  const b = Math.max(0, (up * large - down * small) / det);
  return { perInputMegapixel: round(a), perOutputMegapixel: round(b) };
}

function copyCost(streams) {
  const took = Math.max(1e-4, seconds.get(`copy ${COPY_LOOPS}`) - seconds.get('copy 0'));
  return round(took / COPY_LOOPS / (streams[0].files[1].bits / 1e6));
}

function makeSource(size, frames) {
  const path = join(dir, `${size.height}.y4m`);
  const half = `${size.width / 2}x${size.height}`;
  ffmpeg([
    ...['-f', 'lavfi', '-i', `testsrc2=s=${half}:r=${FPS}`],
    ...['-f', 'lavfi', '-i', `mandelbrot=s=${half}:r=${FPS}:start_scale=0.6:end_scale=0.002:end_pts=400`],
    '-filter_complex',
    '[1]gblur=sigma=1.2,noise=c0s=3:c0f=t+u:c0_seed=1[n];[0][n]hstack,format=yuv420p',
    ...['-frames:v', String(frames), '-f', 'yuv4mpegpipe', path],
  ]);
  return { ...size, path };
}

function makeStreams(source) {
  return Object.entries(DECODERS).map(([name, [encoder, ...args]]) => {
    const files = [0.05, 0.4].map((bpp, i) => {
      const path = join(dir, `${name}-${i}.mkv`);
      const rate = String(Math.round(bpp * source.width * source.height * FPS));
      ffmpeg(['-i', source.path, '-c:v', encoder, ...args, '-b:v', rate, path]);
      return { quality: i === 0 ? 'low' : 'high', path, bits: statSync(path).size * 8 };
    });
    return { name, files };
  });
}

function ffmpeg(args) {
  execFileSync('ffmpeg', ['-v', 'error', '-nostdin', '-y', ...args], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, SVT_LOG: '1' },
  });
}

/** Least-squares non-decreasing fit in log space (pool adjacent violators). */
function isotonic(values) {
  const pools = [];
  for (const value of values) {
    pools.push({ sum: Math.log(value), count: 1 });
    while (pools.length > 1) {
      const [a, b] = pools.slice(-2);
      if (a.sum / a.count <= b.sum / b.count) break;
      pools.splice(-2, 2, { sum: a.sum + b.sum, count: a.count + b.count });
    }
  }
  return pools.flatMap(({ sum, count }) => Array(count).fill(Math.exp(sum / count)));
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

function clamp(value, low, high) {
  return Math.min(high, Math.max(low, value));
}

function round(value) {
  return Number(value.toPrecision(4));
}
