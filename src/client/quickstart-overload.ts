import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { formatCpuset } from '../lib/cpuset.js';
import { CorecastError } from '../lib/errors.js';
import { hostAddon } from '../lib/native.js';
import type { Reservation__Output } from '../rpc/generated/corecast/v1/Reservation.js';
import type { CorecastClient } from './connect.js';
import { EXIT } from './exit-codes.js';
import { percent } from './print.js';
import type { QuickstartProcesses } from './quickstart-processes.js';

/*
 * An overload that nobody forecast, on two CPUs, in a minute: live channels are admitted until one is refused; busy loops
 * outside corecast take the CPUs; a late channel goes down a rung of its ladder; the loops end, and full quality returns.
 * Nothing is played back: every line is what the daemon, FFmpeg and the kernel do.
 */
const CPUS = 2;
const MOST_CHANNELS = 8;
/** Waiting times of a demonstration; adjust.cooldown_ms and restore_ms are 15 and 30 s otherwise. */
const SETTINGS =
  '[limits]\nhost_load = 1\n[adjust]\ncooldown_ms = 4000\nrestore_ms = 5000\n[training]\nschedule = false\n';
const LADDER = ['--degrade', '-preset ultrafast -s 320x180'];
const ADMISSION_MS = 20_000;
/** Past the cool-down that follows a start. */
const SETTLE_MS = 5_000;
const FIRST_LOOPS = 12 * CPUS;
/** A burst that makes nobody late after so long is doubled, as a faster host needs. */
const STRONGER_MS = 7_000;
const MOST_LOOPS = 48 * CPUS;
const DEGRADE_MS = 35_000;
const RESTORE_MS = 45_000;
const ON_TIME = 0.97;

export interface OverloadOutcome {
  readonly admitted: number;
  /** Why the last one was not. */
  readonly refusal: string;
  readonly loops: number;
  /** From the first busy loop; milliseconds, as all times. */
  readonly degradedAfterMs: number;
  readonly gapMs: number;
  readonly worstLagSeconds: number;
  /** From the end of the last busy loop. */
  readonly restoredAfterMs: number;
}

interface Event {
  readonly atMs: number;
  readonly event: string;
  readonly reason: string;
  readonly reservation: Reservation__Output;
}

export async function overload(processes: QuickstartProcesses): Promise<OverloadOutcome> {
  const beganMs = Date.now();
  const say = (text: string) =>
    console.log(`${((Date.now() - beganMs) / 1000).toFixed(1).padStart(5)} s  ${text}`);
  const cpus = hostAddon().getThreadAffinity(0).slice(0, CPUS);
  // The daemon, FFmpeg and the busy loops inherit it.
  hostAddon().setProcessAffinity(process.pid, cpus);
  say(
    `everything runs on CPUs ${formatCpuset(cpus)}; waiting times of the adjuster are shortened for the demonstration`,
  );
  const clip = await processes.makeClip('clip.mp4', '640x360', 8);
  const client = await processes.daemon(SETTINGS);
  const events = new Events(client, say);
  try {
    const { admitted, refusal } = await fill(processes, events, clip, say);
    await pause(SETTLE_MS);
    const burst = await throughBurst(processes, events, client, say);
    return { admitted, refusal, ...burst };
  } finally {
    events.close();
    client.close();
  }
}

/** Channels of one kind until one is refused. */
async function fill(
  processes: QuickstartProcesses,
  events: Events,
  clip: string,
  say: (text: string) => void,
): Promise<{ admitted: number; refusal: string }> {
  for (let number = 1; number <= MOST_CHANNELS; number++) {
    const name = `channel ${number}`;
    let said = '';
    const wrapper = startChannel(processes, name, clip, (text) => {
      said += text;
    });
    const ended = once(wrapper, 'exit').then(([code]) => code as number | null);
    const attached = events.next('attached', ADMISSION_MS, name).then(() => undefined);
    const code = await Promise.race([ended, attached]);
    attached.catch(() => {});
    if (code === undefined) continue;
    if (code !== EXIT.tryLater) throw new CorecastError('INTERNAL', `${name} ended with ${code}: ${said}`);
    const lines = said.trim().replaceAll('corecast: ', '').split('\n');
    say(`${name} is refused, FFmpeg was not started (exit ${code})`);
    for (const line of lines) say(`  ${line}`);
    return { admitted: number - 1, refusal: lines[0] ?? '' };
  }
  throw new CorecastError('INTERNAL', `${MOST_CHANNELS} channels were admitted to ${CPUS} CPUs`);
}

async function throughBurst(
  processes: QuickstartProcesses,
  events: Events,
  client: CorecastClient,
  say: (text: string) => void,
): Promise<Omit<OverloadOutcome, 'admitted' | 'refusal'>> {
  const loops: ChildProcess[] = [];
  const strengthen = (count: number) => {
    for (let i = 0; i < count; i++) loops.push(processes.start('sh', ['-c', 'while :; do :; done']));
    say(`a neighbour outside corecast takes the CPUs: ${loops.length} busy loops`);
  };
  const burstMs = Date.now();
  strengthen(FIRST_LOOPS);
  const stronger = setInterval(() => {
    if (loops.length * 2 <= MOST_LOOPS) strengthen(loops.length);
  }, STRONGER_MS);
  let degraded: Event;
  try {
    degraded = await events.next('degraded', DEGRADE_MS);
  } finally {
    clearInterval(stronger);
  }
  const gap = await events.next('gap', DEGRADE_MS, degraded.reservation.name);
  const lags = (await client.listReservations({})).reservations.map(({ lagSeconds }) => lagSeconds ?? 0);
  for (const loop of loops) loop.kill('SIGKILL');
  const endedMs = Date.now();
  say('the neighbour is gone');
  const restored = await events.next('restored', RESTORE_MS, degraded.reservation.name);
  const reservations = await atFullQuality(client, RESTORE_MS);
  const shown = reservations.map(
    ({ name, rung, speed }) => `${name} at rung ${rung}, ${speed?.toFixed(2) ?? '-'}x`,
  );
  say(`now: ${shown.join('; ')}; host load ${percent((await client.getHost({})).load?.busy ?? 0)}`);
  return {
    loops: loops.length,
    degradedAfterMs: degraded.atMs - burstMs,
    gapMs: Number(/(\d+) ms/.exec(gap.reason)?.[1] ?? 0),
    worstLagSeconds: Math.max(...lags),
    restoredAfterMs: restored.atMs - endedMs,
  };
}

/** The reservations, once each runs at full quality, in real time. */
async function atFullQuality(client: CorecastClient, withinMs: number): Promise<Reservation__Output[]> {
  const giveUpMs = Date.now() + withinMs;
  for (;;) {
    const { reservations } = await client.listReservations({});
    if (reservations.every(({ rung, speed = 0 }) => rung === 0 && speed > ON_TIME)) return reservations;
    if (Date.now() > giveUpMs)
      throw new CorecastError('INTERNAL', 'not every channel came back to full quality');
    await pause(500);
  }
}

function startChannel(
  processes: QuickstartProcesses,
  name: string,
  clip: string,
  onError: (text: string) => void,
): ChildProcess {
  const input = ['ffmpeg', '-v', 'error', '-nostdin', '-re', '-stream_loop', '-1', '-i', clip, '-an'];
  const output = ['-c:v', 'libx264', '-preset', 'veryfast', '-b:v', '800k', '-f', 'null', '-'];
  return processes.wrapper(['--name', name, '--class', 'live', ...LADDER], [...input, ...output], onError);
}

/** The daemon's events: each is said, and can be waited for. */
class Events {
  readonly #seen: Event[] = [];
  readonly #stop = new AbortController();
  #wake = () => {};
  #failure: unknown;

  constructor(client: CorecastClient, say: (text: string) => void) {
    this.#follow(client, say).catch((error) => {
      this.#failure = error;
      this.#wake();
    });
  }

  async next(wanted: string, withinMs: number, name?: string): Promise<Event> {
    const giveUpMs = Date.now() + withinMs;
    for (;;) {
      const at = this.#seen.findIndex(
        ({ event, reservation }) => event === wanted && (name === undefined || reservation.name === name),
      );
      if (at >= 0) return this.#seen.splice(at, 1)[0]!;
      if (this.#failure !== undefined) throw this.#failure;
      const leftMs = giveUpMs - Date.now();
      if (leftMs <= 0) throw new CorecastError('INTERNAL', `not within ${withinMs / 1000} s: ${wanted}`);
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      await Promise.race([woken, pause(Math.min(leftMs, 500), undefined, { ref: false })]);
    }
  }

  close(): void {
    this.#stop.abort();
  }

  async #follow(client: CorecastClient, say: (text: string) => void): Promise<void> {
    try {
      for await (const { event, reason, reservation } of client.watchReservations({
        signal: this.#stop.signal,
      })) {
        if (event === '' || reservation === null) continue;
        this.#seen.push({ atMs: Date.now(), event, reason, reservation });
        say(`${reservation.name}: ${event}, ${reason}`);
        this.#wake();
      }
    } catch (error) {
      if (!this.#stop.signal.aborted) throw error;
    }
  }
}
