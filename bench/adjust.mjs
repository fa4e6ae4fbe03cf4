/**
 * How soon the daemon, as it ships (Nice=-5 of its unit too, where this user may), helps a live channel. Real FFmpeg, real processes, all on this host:
 *
 *   more cores   the picture gets hard at a known moment, on the one CPU that the channel has: until the event that it
 *                was given more; and from when its FFmpeg, read here every 50 ms, has filled that CPU for 0.3 s: x264 looks
 *                1.6 s ahead before a hard picture costs it all it has
 *   a rung       a neighbour outside corecast takes the CPUs, twelve busy loops a CPU: until the event that the channel is
 *                degraded, and until the first frame at the new rung
 *   restored     the neighbour ends: until the event that full quality is back
 *
 * Times run from the cause, not from when it was seen. Media time begins up to 0.3 s after a process is attached; the
 * first figure counts from the earlier of the two.
 *
 *   npm run -s bench -- adjust [--json] [--rounds N]
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { CLI, startDaemon } from './live/daemon.mjs';

/** Longer than the cool-down that follows each start (adjust.cooldown_ms). */
const EASY_S = 18;
const HARD_S = 14;
const LIMIT_MS = 90_000;
const LOOPS_PER_CPU = 12;
const LOOK_MS = 50;
const FULL_MS = 300;
const FULL_SHARE = 0.93;
const CLOCK_TICK_MS = 10;

export async function run({ rounds = 3 } = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'corecast-adjust-'));
  // The host's load is what the neighbours of this benchmark make of it; what is measured is what happens after admission.
  const settings = '[limits]\nhost_load = 1\n[training]\nschedule = false\n';
  const daemon = startDaemon(dir, settings, { nice: -5 });
  const children = new Set();
  try {
    await daemon.serving;
    const events = watchEvents(daemon.socket, children);
    const clips = makeClips(dir);
    const grown = [];
    for (let i = 0; i < Number(rounds); i++)
      grown.push(await untilGrown(daemon, clips.turning, events, children, i));
    const short = grown.flatMap(({ fromFullMs }) => fromFullMs ?? []);
    const bursts = await throughBursts(daemon, clips.steady, events, children, Number(rounds));
    const figure = (values) => ({ p50: median(values), worst: Math.max(...values) });
    const figures = {
      to_more_cores: figure(grown.map(({ fromHardMs }) => fromHardMs)),
      ...(short.length === 0 ? {} : { to_more_cores_from_full_cpu: figure(short) }),
      to_degraded: figure(bursts.map(({ degraded }) => degraded)),
      to_first_frame_at_rung: figure(bursts.map(({ shown }) => shown)),
      gap: figure(bursts.map(({ gap }) => gap)),
      to_restored: figure(bursts.map(({ restored }) => restored)),
    };
    return {
      rows: Object.entries(figures).map(([what, { p50, worst }]) => ({ what, p50_ms: p50, worst_ms: worst })),
      figures: Object.fromEntries(
        Object.entries(figures).flatMap(([what, { p50, worst }]) => [
          [`${what}_p50_ms`, p50],
          [`${what}_worst_ms`, worst],
        ]),
      ),
    };
  } finally {
    for (const child of children) await ended(child);
    await daemon.stop();
    rmSync(dir, { recursive: true, force: true });
  }
}

async function untilGrown(daemon, clip, events, children, round) {
  const name = `turning ${round}`;
  // Told smaller than it is, as after a change upstream: its easy part stays within the forecast, the rest cannot.
  const told = ['--no-probe', '--input-signature', 'codec=h264,size=640x360,fps=25,bitrate=200k'];
  const options = ['--name', name, '--cpus', '1', '--exclusive', ...told];
  const channel = start(daemon, children, options, clip, ['-preset', 'medium', '-b:v', '1M']);
  const attached = await events.next(name, ['attached']);
  const full = watchUntilFull(attached.pid, attached.atMs + EASY_S * 1000);
  const { atMs } = await events.next(name, ['grown', 'moved'], attached.atMs + EASY_S * 1000);
  const fullMs = full.stop();
  await ended(channel);
  children.delete(channel);
  return {
    fromHardMs: Math.round(atMs - attached.atMs - EASY_S * 1000),
    // It may be given more on the way there.
    fromFullMs: fullMs === undefined ? undefined : Math.max(0, Math.round(atMs - fullMs)),
  };
}

/** stop() returns the first moment, after `fromMs`, from which on the process kept a CPU busy for FULL_MS; undefined if it did not. */
function watchUntilFull(pid, fromMs) {
  const points = [];
  let fullMs;
  const timer = setInterval(() => {
    const now = Date.now();
    if (now < fromMs || fullMs !== undefined) return;
    points.push({ now, cpuMs: cpuMsOf(pid) });
    while (points.length > 1 && now - points[1].now >= FULL_MS) points.shift();
    const [first] = points;
    const used = points.at(-1).cpuMs - first.cpuMs;
    if (now - first.now >= FULL_MS && used >= FULL_SHARE * (now - first.now)) fullMs = first.now;
  }, LOOK_MS);
  return {
    stop: () => {
      clearInterval(timer);
      return fullMs;
    },
  };
}

function cpuMsOf(pid) {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1).split(' ');
    return (Number(fields[11]) + Number(fields[12])) * CLOCK_TICK_MS;
  } catch {
    return 0;
  }
}

async function throughBursts(daemon, clip, events, children, rounds) {
  const name = 'laddered';
  const ladder = ['--degrade', '-preset ultrafast -s 160x90'];
  const channel = start(daemon, children, ['--name', name, ...ladder], clip, ['-preset', 'fast']);
  await events.next(name, ['attached']);
  await sleep(EASY_S * 1000);
  const results = [];
  for (let i = 0; i < rounds; i++) {
    const beganMs = Date.now();
    const neighbour = startNeighbour(children);
    const degraded = await events.next(name, ['degraded'], beganMs);
    const gap = await events.next(name, ['gap'], beganMs);
    await sleep(5_000);
    const endedMs = Date.now();
    for (const child of neighbour) await ended(child);
    const restored = await events.next(name, ['restored'], endedMs);
    await events.next(name, ['gap'], endedMs);
    results.push({
      degraded: degraded.atMs - beganMs,
      shown: gap.atMs - beganMs,
      gap: Number(/(\d+) ms/.exec(gap.reason)[1]),
      restored: restored.atMs - endedMs,
    });
    // The next burst finds it past the cool-down again.
    await sleep(EASY_S * 1000);
  }
  await ended(channel);
  return results;
}

function start(daemon, children, options, clip, encode) {
  const command = [
    'ffmpeg',
    '-v',
    'error',
    '-nostdin',
    '-re',
    '-stream_loop',
    '-1',
    '-i',
    clip,
    '-c:v',
    'libx264',
  ];
  // Admission is closed as long as a channel before it is late.
  const admit = ['--require', '--wait', '30', '--class', 'live'];
  const args = [CLI, 'run', '-q', '--socket', daemon.socket, ...admit, ...options];
  return remember(
    children,
    spawn(process.execPath, [...args, '--', ...command, ...encode, '-f', 'null', '-'], quiet()),
  );
}

/** Busy loops, so many that nobody has much left of a CPU. */
function startNeighbour(children) {
  return Array.from({ length: LOOPS_PER_CPU * availableParallelism() }, () =>
    remember(children, spawn('sh', ['-c', 'while :; do :; done'], quiet())),
  );
}

/** Every event of the daemon with the moment that it came. */
function watchEvents(socket, children) {
  const args = [CLI, 'reservations', '--watch', '--json', '--socket', socket];
  const watch = remember(children, spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] }));
  const seen = [];
  let wake = () => {};
  createInterface({ input: watch.stdout }).on('line', (line) => {
    const { event, reason, reservation } = JSON.parse(line);
    seen.push({ atMs: Date.now(), event, reason, name: reservation.name, pid: reservation.process?.pid });
    wake();
  });
  const next = async (name, wanted, sinceMs = 0) => {
    const giveUpMs = Math.max(Date.now(), sinceMs) + LIMIT_MS;
    for (;;) {
      const found = seen.find(
        (one) => one.name === name && wanted.includes(one.event) && one.atMs >= sinceMs,
      );
      if (found !== undefined) return found;
      if (Date.now() > giveUpMs)
        throw new Error(`${name}: no event ${wanted.join(' or ')} within ${LIMIT_MS} ms`);
      await Promise.race([
        new Promise((resolve) => {
          wake = resolve;
        }),
        sleep(1_000),
      ]);
    }
  };
  return { next };
}

function makeClips(dir) {
  const size = 's=1920x1080:r=25';
  const easy = `color=c=gray:${size}:d=${EASY_S}`;
  const hard = `testsrc2=${size}:d=${HARD_S},noise=alls=40:allf=t`;
  const turning = join(dir, 'turning.ts');
  ffmpeg(
    '-filter_complex',
    `${easy},format=yuv420p[a];${hard},format=yuv420p[b];[a][b]concat=n=2:v=1`,
    turning,
  );
  const steady = join(dir, 'steady.ts');
  ffmpeg(
    '-f',
    'lavfi',
    '-i',
    'testsrc2=s=1280x720:r=25:d=20,noise=alls=10:allf=t',
    '-pix_fmt',
    'yuv420p',
    steady,
  );
  return { turning, steady };
}

function ffmpeg(...args) {
  const encode = ['-c:v', 'libx264', '-preset', 'ultrafast', '-crf', '28'];
  execFileSync('ffmpeg', ['-v', 'error', '-y', ...args.slice(0, -1), ...encode, args.at(-1)]);
}

function quiet() {
  return { stdio: ['ignore', 'ignore', 'inherit'] };
}

function remember(children, child) {
  children.add(child);
  child.once('exit', () => children.delete(child));
  return child;
}

async function ended(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGTERM');
  await Promise.race([gone, sleep(12_000)]);
  child.kill('SIGKILL');
}

function median(values) {
  return [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) / 2)];
}
