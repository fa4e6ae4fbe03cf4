import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hostAddon } from '../../src/lib/native.js';
import { LiveDaemon, makeClip, until } from '../support/live-daemon.js';
import { rawReserve } from '../support/raw-reserve.js';

const ROOT = resolve(import.meta.dirname, '../..');
const MAIN = join(ROOT, 'dist/main.js');
const BASELINE = join(ROOT, 'models/baseline');
const VIDEO = { width: 320, height: 180, fps: 25, bitDepth: 8 };
const INPUT = { codec: 'h264', bitrateBps: 500_000, ...VIDEO };
const OUTPUT = { encoder: 'libx264', preset: 'ultrafast', crf: 23, ...VIDEO };
const isRoot = process.getuid?.() === 0;

let keys = 0;
const channel = (more: object = {}) => ({
  signature: { input: INPUT, outputs: [OUTPUT] },
  channelClass: 'CHANNEL_CLASS_LIVE' as const,
  name: 'channel',
  idempotencyKey: `key-${keys++}`,
  ...more,
});
const signed = (output: object, input: object = {}) => ({
  signature: { input: { ...INPUT, ...input }, outputs: [{ ...OUTPUT, ...output }] },
});
const fieldsOf = (call: Promise<unknown>) =>
  call.then(
    () => 'taken',
    ({ code, message, details }) => ({
      code,
      message,
      fields: details?.violations?.map(({ field }: { field: string }) => field),
    }),
  );

const sleepers: ChildProcess[] = [];
function sleeper(): ChildProcess & { pid: number } {
  const child = spawn('sleep', ['600']);
  sleepers.push(child);
  return child as ChildProcess & { pid: number };
}
afterAll(() => {
  for (const child of sleepers) child.kill('SIGKILL');
});

/** Reserves and attaches a process that does nothing. */
async function held(daemon: LiveDaemon, name: string) {
  const { reservation } = await daemon.client.reserve(channel({ name }));
  const child = sleeper();
  const attached = await daemon.client.attach({
    reservationId: reservation!.id,
    token: reservation!.token,
    process: { pid: child.pid },
    idempotencyKey: `attach-${keys++}`,
  });
  return { child, reservation: attached.reservation! };
}

/** Lines of level error and above, and what nobody handled. */
const troubles = (daemon: LiveDaemon) =>
  daemon
    .said()
    .split('\n')
    .filter((line) => /"level":[56]0|nobody handled|Unhandled|uncaught/.test(line));

describe('the daemon and requests that are wrong', { timeout: 30_000 }, () => {
  const daemon = new LiveDaemon();
  beforeAll(async () => {
    await daemon.start();
  });
  afterAll(() => daemon.close());

  it.each([
    ['an unknown codec', signed({}, { codec: 'vp17' }), ['signature.input.codec'], '"vp17"'],
    ['an unknown encoder', signed({ encoder: 'libx999' }), ['signature.outputs[0].encoder'], '"libx999"'],
    [
      'an encoder named as a property',
      signed({ encoder: 'constructor' }),
      ['signature.outputs[0].encoder'],
      '',
    ],
    ['an unknown preset', signed({ preset: 'warp' }), ['signature.outputs[0].preset'], '"warp"'],
    [
      'absurd sizes',
      signed({ width: 4_294_967_295, height: 0 }, { width: 1_000_000 }),
      ['signature.input.width', 'signature.outputs[0].width', 'signature.outputs[0].height'],
      '4294967295',
    ],
    [
      'rates that are no numbers or negative',
      signed({ fps: Number.NaN, crf: Number.NaN }, { fps: -1 }),
      ['signature.input.fps', 'signature.outputs[0].fps', 'signature.outputs[0].crf'],
      'NaN',
    ],
    ['a huge bitrate', signed({}, { bitrateBps: 9e15 }), ['signature.input.bitrate_bps'], '9000000000000000'],
    ['a wait of centuries', { waitMs: 9e15 }, ['wait_ms'], '9000000000000000'],
    ['no idempotency key', { idempotencyKey: '' }, ['idempotency_key'], '""'],
  ])('refuses %s and names field and value', async (_what, more, fields, value) => {
    const refused = await fieldsOf(daemon.client.reserve(channel(more)));
    expect(refused).toMatchObject({ code: 'INVALID_ARGUMENT', fields });
    expect((refused as { message: string }).message).toContain(value);
  });

  it('refuses more CPUs than the host has, in these words', async () => {
    const refused = await fieldsOf(daemon.client.reserve(channel({ cpuCount: 8_192, waitMs: 1_000 })));
    expect(refused).toMatchObject({ code: 'NO_CAPACITY' });
    expect((refused as { message: string }).message).toContain('asks for 8192 CPUs, more than the');
  });

  it('refuses bytes that no codec writes, a negative bitrate among them, and messages past the limit', async () => {
    const INVALID_ARGUMENT = 3;
    const garbage = await rawReserve(daemon.socket, Buffer.alloc(64, 0xff));
    expect(garbage.code).toBe(INVALID_ARGUMENT);
    const nested = await rawReserve(daemon.socket, Buffer.alloc(100_000, 0x0b));
    expect(nested.code).toBe(INVALID_ARGUMENT);
    // signature { input { bitrate_bps: -1 } }, as a client in C would write it.
    const minusOne = [0x28, ...Array(9).fill(0xff), 0x01];
    const negative = await rawReserve(daemon.socket, Buffer.from([0x0a, 13, 0x0a, 11, ...minusOne]));
    expect(negative.code).toBe(INVALID_ARGUMENT);
    expect(negative.details).toMatch(/bitrate_bps is 1844674407370955\d+; expected a number from 0 to/);
    const oversize = await fieldsOf(daemon.client.reserve(channel({ name: 'x'.repeat(300_000) })));
    expect(oversize).toMatchObject({ code: 'LIMIT_EXCEEDED' });
    expect((oversize as { message: string }).message).toMatch(/300\d+ vs 262144/);
  });

  it('answers a retry with the first answer and refuses another request under its key', async () => {
    const call = channel({ idempotencyKey: 'the same' });
    const first = await daemon.client.reserve(call);
    expect(await daemon.client.reserve(call)).toEqual(first);
    await expect(daemon.client.reserve({ ...call, name: 'another' })).rejects.toMatchObject({
      code: 'IDEMPOTENCY_CONFLICT',
    });
    const { id, token } = first.reservation!;
    await daemon.client.release({ reservationId: id, token });
  });

  it('refuses a pid that does not exist or has changed, and tokens that are not in force', async () => {
    const { reservation } = await daemon.client.reserve(channel());
    const { id, token } = reservation!;
    const attach = (process: { pid: number; startTicks?: number }, held = token) =>
      fieldsOf(
        daemon.client.attach({
          ...{ reservationId: id, token: held, process },
          idempotencyKey: `attach-${keys++}`,
        }),
      );
    expect(await attach({ pid: 4_194_303 })).toMatchObject({ code: 'PROCESS_GONE' });
    expect(await attach({ pid: 4_294_967_295 })).toMatchObject({ fields: ['process.pid'] });
    expect(await attach({ pid: process.pid, startTicks: 5 })).toMatchObject({ code: 'PROCESS_GONE' });
    expect(await attach({ pid: process.pid }, token + 1)).toMatchObject({ code: 'STALE_TOKEN' });
    const { pid } = sleeper();
    expect(await attach({ pid })).toBe('taken');
    // The attach made a new token: the old one is nobody's now.
    expect(await fieldsOf(daemon.client.release({ reservationId: id, token }))).toMatchObject({
      code: 'STALE_TOKEN',
    });
    const active = (await daemon.client.listReservations({})).reservations.find((one) => one.id === id)!;
    await daemon.client.release({ reservationId: id, token: active.token });
  });

  it("keeps another user from root's processes, reservations, models and history", async (ctx) => {
    if (!isRoot) return ctx.skip('needs root, to become another user');
    const { child, reservation } = await held(daemon, 'of root');
    chmodSync(daemon.dir, 0o755);
    chmodSync(daemon.socket, 0o666);
    const script = join(ROOT, 'test/support/as-nobody.mjs');
    const args = [script, join(ROOT, 'dist'), daemon.socket, child.pid, reservation.id, reservation.token];
    const answers = execFileSync(process.execPath, args.map(String), { encoding: 'utf8' });
    expect(JSON.parse(answers)).toEqual({
      attachOfAnother: 'PERMISSION_DENIED',
      releaseOfAnother: 'PERMISSION_DENIED',
      recordRun: 'PERMISSION_DENIED',
      train: 'PERMISSION_DENIED',
      promote: 'PERMISSION_DENIED',
      rollback: 'PERMISSION_DENIED',
      verifyHistory: 'PERMISSION_DENIED',
      compactHistory: 'PERMISSION_DENIED',
      backupHistory: 'PERMISSION_DENIED',
      importHistory: 'PERMISSION_DENIED',
      getHistoryStats: 'OK',
      attachOfOwn: 'OK',
    });
    child.kill('SIGKILL');
  });

  it('expires what is not started in time and frees its CPUs', async () => {
    const { reservation } = await daemon.client.reserve(channel({ name: 'late', startTimeoutMs: 200 }));
    const { id, token } = reservation!;
    await until(
      async () => (await daemon.reservation('late'))?.state === 'RESERVATION_STATE_EXPIRED',
      'expired',
      2_000,
    );
    expect((await daemon.reservation('late'))!.cpus).toEqual([]);
    await expect(
      daemon.client.attach({
        reservationId: id,
        token,
        process: { pid: process.pid },
        idempotencyKey: 'late',
      }),
    ).rejects.toMatchObject({ code: 'WRONG_STATE' });
  });

  it('keeps no descriptor of fifty short reservations, and said of all the above nothing that is an error', async () => {
    await until(
      async () => (await daemon.client.listReservations({})).reservations.length === 0,
      'none held',
    );
    // The first ones open what stays open: LevelDB's files, a sampler.
    for (let i = 0; i < 3; i++) await shortReservation(daemon, i);
    const before = openFiles(daemon.pid);
    for (let i = 0; i < 50; i++) await shortReservation(daemon, i);
    // Some: the monitor opens files of /proc/net when it first needs them.
    await until(() => openFiles(daemon.pid) < before + 10, `about ${before} files, as before`, 5_000);
    expect(readdirSync(`/proc/${daemon.pid}/fd`).map((fd) => linkOf(daemon.pid, fd))).not.toContainEqual(
      expect.stringMatching(/mat-debug|DeveloperTools/),
    );
    expect(troubles(daemon)).toEqual([]);
  });
});

async function shortReservation(daemon: LiveDaemon, i: number): Promise<void> {
  const { child, reservation } = await held(daemon, 'short');
  const { id: reservationId, token } = reservation;
  const session = daemon.client.session();
  await session.send({ reservationId, token });
  for await (const answer of session.messages) if (answer.reservation !== null) break;
  if (i % 2 === 0) await daemon.client.release({ reservationId, token });
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
  session.cancel();
}

function openFiles(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

function linkOf(pid: number, fd: string): string {
  try {
    return readlinkSync(`/proc/${pid}/fd/${fd}`);
  } catch {
    return '';
  }
}

describe('the configuration', { timeout: 30_000 }, () => {
  const daemon = new LiveDaemon();
  beforeAll(async () => {
    await daemon.start();
  });
  afterAll(() => daemon.close());

  it('with an unknown key ends corecastd with 78 and says which', () => {
    const file = join(daemon.dir, 'bad.toml');
    writeFileSync(file, '[limits]\nhost_lod = 1\n');
    const { status, stderr } = spawnSync(process.execPath, [MAIN, '--config', file], { encoding: 'utf8' });
    expect(status).toBe(78);
    expect(stderr).toContain(
      'limits.host_lod is not a key that corecast knows; did you mean limits.host_load?',
    );
  });

  it('is read again at SIGHUP: applied at once when good, not at all when any of it is bad', async () => {
    const good = readFileSync(daemon.config, 'utf8');
    const reload = async (text: string, says: string) => {
      writeFileSync(daemon.config, text);
      const from = daemon.said().length;
      process.kill(daemon.pid, 'SIGHUP');
      await until(() => daemon.said().slice(from).includes(says), says, 5_000);
      return daemon.said().slice(from);
    };
    const oneChannel = good.replace('[limits]', '[limits]\nchannels = 1');
    const said = await reload(`${oneChannel}\n[limitz]\nx = 1\n`, 'the old one stays');
    expect(said).toContain('limitz is not a key');
    // Only the host itself shows what is wrong with this one: nothing of it may be in force.
    await reload(`${oneChannel}\n[cpus]\nhousekeeping = "8191"\n`, 'the old one stays');
    const two = [await held(daemon, 'one'), await held(daemon, 'two')];
    for (const { child } of two) child.kill('SIGKILL');
    await until(
      async () => (await daemon.client.listReservations({})).reservations.length === 0,
      'none held',
    );

    await reload(oneChannel, 'configuration applied');
    const { child } = await held(daemon, 'only');
    const refused = await fieldsOf(daemon.client.reserve(channel()));
    expect(refused).toMatchObject({ code: 'NO_CAPACITY' });
    expect((refused as { message: string }).message).toContain('1 channel of at most 1');
    child.kill('SIGKILL');
    const pace = '[monitor]\ninterval_ms = 500\n';
    const waiting = await reload(`${good}\n${pace}[history]\nflush_ms = 4000\n`, 'wait for a restart');
    expect(waiting).toContain('"sections":["history"]');
  });

  it.each([
    [
      'state directory',
      (other: LiveDaemon) => ({ state: daemon.stateDir, socket: other.socket }),
      'state_dir',
    ],
    [
      'socket',
      (other: LiveDaemon) => ({ state: other.stateDir, socket: daemon.socket }),
      'another corecastd',
    ],
  ])(
    'of a second daemon on one %s ends it with 69 and leaves the first alone',
    async (what, places, says) => {
      const name = `undisturbed on its ${what}`;
      const { child, reservation } = await held(daemon, name);
      const other = new LiveDaemon();
      const { state, socket } = places(other);
      const [stateDir, path] = [JSON.stringify(state), JSON.stringify(socket)];
      const file = join(other.dir, 'second.toml');
      writeFileSync(file, `[daemon]\nsocket = ${path}\nstate_dir = ${stateDir}\nhttp_address = ""\n`);
      const { status, stderr } = spawnSync(process.execPath, [MAIN, '--config', file], { encoding: 'utf8' });
      expect(status).toBe(69);
      expect(stderr).toContain(says);
      expect(existsSync(daemon.socket)).toBe(true);
      expect(await daemon.reservation(name)).toMatchObject({ state: 'RESERVATION_STATE_ACTIVE' });
      await daemon.client.release({ reservationId: reservation.id, token: reservation.token });
      child.kill('SIGKILL');
      await other.close();
    },
  );
});

describe('models', { timeout: 60_000 }, () => {
  const daemon = new LiveDaemon();
  const models = join(daemon.stateDir, 'models');
  const card = JSON.parse(readFileSync(join(BASELINE, 'model.json'), 'utf8'));
  const onnx = readFileSync(join(BASELINE, 'model.onnx'));
  const put = (id: string, bytes: Buffer, more: object = {}) => {
    mkdirSync(join(models, id), { recursive: true });
    const onnxSha256 = createHash('sha256').update(onnx).digest('hex');
    writeFileSync(join(models, id, 'model.onnx'), bytes);
    writeFileSync(
      join(models, id, 'model.json'),
      JSON.stringify({ ...card, id, origin: 'history', onnxSha256, ...more }),
    );
  };
  const inUse = async () => (await daemon.client.listModels({})).models.find((one) => one.inUse)?.id;

  beforeAll(async () => {
    const flipped = Buffer.from(onnx);
    flipped[onnx.length >> 1]! ^= 0xff;
    put('flipped', flipped);
    put('misshapen', onnx, { shape: { ...card.shape, sequenceFeatures: 7 } });
    put('sound', onnx);
    const promotions = [
      { id: 'misshapen', atMs: 1, reason: '' },
      { id: 'flipped', atMs: 2, reason: '' },
    ];
    writeFileSync(join(models, 'in-use.json'), JSON.stringify({ format: 1, promotions }));
    await daemon.start();
  });
  afterAll(() => daemon.close());

  it('that are corrupt or misshapen at the start give way to the baseline, and the log says so', async () => {
    expect(await inUse()).toBe(card.id);
    expect(daemon.said()).toContain('model flipped: model.onnx has SHA-256');
    expect(daemon.said()).toContain('shape.sequenceFeatures is 7; this version works with');
    expect(daemon.said()).toContain(`"model":"${card.id}","origin":"baseline","msg":"the model in use"`);
  });

  it('that are corrupt or misshapen are not promoted, and what was in use stays in use', async () => {
    await daemon.client.promoteModel({ modelId: 'sound' });
    for (const modelId of ['flipped', 'misshapen']) {
      const refused = daemon.client.promoteModel({ modelId });
      await expect(refused).rejects.toMatchObject({ code: 'MODEL_INVALID', cause: { code: 9 } });
      expect(await inUse()).toBe('sound');
    }
    await expect(daemon.client.promoteModel({ modelId: '../sound' })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
    const { decision } = await daemon.client.predict(channel());
    expect(decision!.forecast).toMatchObject({ source: 'FORECAST_SOURCE_LSTM', modelId: 'sound' });
    await daemon.client.rollbackModel({});
    expect(await inUse()).toBe(card.id);
    await expect(daemon.client.rollbackModel({})).rejects.toMatchObject({ code: 'WRONG_STATE' });
  });

  it('are trained on enough runs only: progress by epoch, a candidate, and promoted or not with the numbers', async () => {
    const train = async () => {
      const steps = [];
      for await (const step of daemon.client.trainModel({ seed: 3 })) steps.push(step);
      return steps;
    };
    await expect(train()).rejects.toMatchObject({
      code: 'WRONG_STATE',
      message: expect.stringMatching(/has 0 usable runs, training needs \d+/),
    });
    for (let i = 0; i < 48; i++) await daemon.client.recordRun({ run: calibrationRun(i) });
    const steps = await train();
    // The first tells that the data is there, then each epoch.
    expect(steps.slice(0, 3).map(({ epoch }) => epoch)).toEqual([0, 1, 2]);
    expect(steps[2]!.maxEpochs).toBeGreaterThan(2);
    expect(steps[2]!.validationLoss).toBeGreaterThan(0);
    const { model, promoted, next, reason } = steps.at(-1)!;
    expect(promoted).toBe(false);
    expect(model).toMatchObject({ origin: 'history', inUse: false });
    expect(reason).toMatch(/^(in shadow|not promoted): pinball loss \d.* on 1[2-9] unseen rows/);
    expect(next).toBe(reason.startsWith('in shadow') ? 'shadow' : 'none');
    expect(model!.state).toBe(next === 'shadow' ? 'shadow' : 'candidate');
    expect(await inUse()).toBe(card.id);

    await daemon.client.promoteModel({ modelId: model!.id });
    expect(await inUse()).toBe(model!.id);
    await daemon.client.rollbackModel({});
    expect(await inUse()).toBe(card.id);
    expect(troubles(daemon)).toEqual([]);
  });
});

/** Of four sources, each harder than the one before; demand grows with pixels, preset and difficulty. */
function calibrationRun(i: number) {
  const source = Math.floor(i / 12);
  const [width, height] = (
    [
      [640, 360],
      [1280, 720],
      [1920, 1080],
    ] as const
  )[i % 3]!;
  const [preset, cost] = (
    [
      ['ultrafast', 0.25],
      ['veryfast', 0.45],
      ['fast', 0.8],
      ['medium', 1.1],
    ] as const
  )[i % 4]!;
  const difficulty = 0.7 + 0.3 * source;
  const noise = 1 + 0.02 * (((i * 7) % 5) - 2);
  const demand = (cost * difficulty * noise * width * height) / (1280 * 720);
  const video = { width, height, fps: 25, bitDepth: 8 };
  return {
    ...{ id: `run-${i}`, origin: 'calibration', source: `clip-${source}`, cpuCount: 2 },
    startedMs: 1_760_000_000_000 + i * 60_000,
    ...{ cpuSeconds: demand * 10, mediaSeconds: 10, wallSeconds: 10 },
    coreUsage: [Math.min(1, demand * 0.6), Math.min(1, demand * 0.4)],
    hostLoad: Math.min(1, demand / 2),
    signature: {
      input: { codec: 'h264', bitrateBps: 2_000_000, ...video },
      outputs: [{ encoder: 'libx264', preset, crf: 23, ...video }],
      complexity: { bitsPerPixel: 0.08 * difficulty },
    },
  };
}

describe('a store that fails', { timeout: 60_000 }, () => {
  it('full: nothing new is promised, nothing acknowledged is lost, the daemon serves on and recovers with room', async (ctx) => {
    const daemon = new LiveDaemon();
    mkdirSync(daemon.stateDir);
    const mount = ['-t', 'tmpfs', '-o', 'size=24m', 'corecast-test', daemon.stateDir];
    if (spawnSync('mount', mount).status !== 0) {
      await daemon.close();
      return ctx.skip('needs the right to mount a tmpfs');
    }
    const filler = join(daemon.stateDir, 'filler');
    try {
      await daemon.start();
      const before = await held(daemon, 'before');
      const ending = await held(daemon, 'ending');
      fillUp(filler, daemon.stateDir);

      const acknowledged = new Set([before.reservation.id]);
      const codes = new Set<string>();
      for (let i = 0; i < 40; i++) {
        await daemon.client.reserve(channel({ name: `full ${i}`, startTimeoutMs: 600_000 })).then(
          ({ reservation }) => acknowledged.add(reservation!.id),
          ({ code }) => codes.add(code),
        );
      }
      // NO_CAPACITY: LevelDB's last page took some first.
      expect([...codes].filter((code) => code !== 'NO_CAPACITY')).toEqual(['STORE_FAILED']);
      expect((await daemon.client.predict(channel())).decision!.forecast!.horizons).toHaveLength(3);
      expect((await daemon.client.getHost({})).cpus.length).toBeGreaterThan(0);
      ending.child.kill('SIGKILL');
      await sleep(1_500);

      rmSync(filler);
      await until(
        async () => (await daemon.reservation('ending'))?.state === 'RESERVATION_STATE_RELEASED',
        'what ended meanwhile is released',
        10_000,
      );
      await until(
        () =>
          daemon.client.reserve(channel({ name: 'after', startTimeoutMs: 600_000 })).then(
            ({ reservation }) => acknowledged.add(reservation!.id) !== undefined,
            ({ code }) => code === 'NO_CAPACITY',
          ),
        'admits again',
        10_000,
      );
      await daemon.end('SIGKILL');
      await daemon.start();
      const { reservations } = await daemon.client.listReservations({});
      expect(new Set(reservations.map(({ id }) => id))).toEqual(acknowledged);
    } finally {
      await daemon.end('SIGKILL');
      execFileSync('umount', ['--lazy', daemon.stateDir]);
      await daemon.close();
    }
  });

  it('damaged, the history: set aside, started fresh, channels go on and retries get their first answer', async () => {
    const daemon = new LiveDaemon();
    try {
      await daemon.start();
      const { child, reservation } = await held(daemon, 'goes on');
      await daemon.end('SIGKILL');
      const database = join(daemon.stateDir, 'history/db');
      for (const name of readdirSync(database)) {
        const file = join(database, name);
        writeFileSync(file, readFileSync(file).fill(0xa5));
      }
      await daemon.start();
      expect(readdirSync(daemon.stateDir)).toContainEqual(expect.stringMatching(/^history\.damaged-/));
      expect(daemon.said()).toMatch(/the history in .* was damaged .* set aside as .* a fresh one started/);
      const now = await daemon.reservation('goes on');
      expect(now).toMatchObject({ id: reservation.id, process: { pid: child.pid } });
      await held(daemon, 'another');
      child.kill('SIGKILL');
      await until(
        async () => (await daemon.reservation('goes on'))?.state === 'RESERVATION_STATE_RELEASED',
        'released',
      );
    } finally {
      await daemon.close();
    }
  });
});

describe('processes that end badly, on one CPU', { timeout: 60_000 }, () => {
  const daemon = new LiveDaemon('', '0');
  const events: { name: string; state: string; atMs: number }[] = [];
  let clip: string;

  beforeAll(async () => {
    clip = makeClip(join(daemon.dir, 'clip.mp4'), '320x180', 10);
    await daemon.start();
    void (async () => {
      for await (const { reservation } of daemon.client.watchReservations()) {
        events.push({ name: reservation!.name, state: reservation!.state, atMs: performance.now() });
      }
    })().catch(() => {});
  });
  afterAll(() => daemon.close());

  const live = (...encoder: string[]) => [
    ...['ffmpeg', '-v', 'error', '-nostdin', '-re', '-stream_loop', '-1', '-t', '60', '-i', clip],
    ...['-c:v', ...encoder, '-f', 'null', '-'],
  ];
  const running = async (name: string) => {
    // With progress there is a session.
    await until(async () => (await daemon.reservation(name))?.speed !== undefined, `${name} makes progress`);
    return (await daemon.reservation(name))!;
  };
  const seen = async (name: string, state: string) => {
    const event = () => events.find((one) => one.name === name && one.state === `RESERVATION_STATE_${state}`);
    await until(() => event() !== undefined, `${name} ${state}`);
    return event()!.atMs;
  };
  /** Some 5 ms without neighbours; the allowance is for them. */
  const SOON_MS = 250;

  it('the wrapper is killed: FFmpeg lives on as ORPHANED; FFmpeg ends: its CPUs are free at once', async () => {
    const wrapper = daemon.run(['--name', 'orphan'], live('libx264', '-preset', 'ultrafast'));
    const { process: ffmpeg } = await running('orphan');
    wrapper.child.kill('SIGKILL');
    await seen('orphan', 'ORPHANED');
    expect(hostAddon().startTicks(ffmpeg!.pid)).toBe(ffmpeg!.startTicks);
    const killedMs = performance.now();
    process.kill(ffmpeg!.pid, 'SIGKILL');
    expect((await seen('orphan', 'RELEASED')) - killedMs).toBeLessThan(SOON_MS);
  });

  it('FFmpeg is killed: its CPUs are free at once, the wrapper ends by the same signal', async () => {
    const wrapper = daemon.run(['--name', 'killed'], live('libx264', '-preset', 'ultrafast'));
    const { process: ffmpeg } = await running('killed');
    const killedMs = performance.now();
    process.kill(ffmpeg!.pid, 'SIGKILL');
    expect((await seen('killed', 'RELEASED')) - killedMs).toBeLessThan(SOON_MS);
    expect(await wrapper.ended).toMatchObject({ code: null, signal: 'SIGKILL' });
    expect((await daemon.client.getHost({})).cpus.every(({ reservedMilli }) => reservedMilli === 0)).toBe(
      true,
    );
  });

  it("libx265's pool threads leave the mask and are brought back: every thread runs inside the reservation", async (ctx) => {
    const encoders = spawnSync('ffmpeg', ['-v', 'error', '-encoders'], { encoding: 'utf8' }).stdout;
    if (!encoders.includes('libx265')) return ctx.skip('this FFmpeg has no libx265');
    const params = ['-x265-params', 'pools=3:log-level=error'];
    const wrapper = daemon.run(['--name', 'x265'], live('libx265', '-preset', 'ultrafast', ...params));
    const { process: ffmpeg, cpus } = await running('x265');
    const outside = () =>
      hostAddon()
        .getProcessAffinity(ffmpeg!.pid)
        .filter((thread) => thread.cpus.some((cpu) => cpu !== cpus[0]!.cpu));
    await until(() => outside().length === 0, 'all threads inside', 5_000);
    expect(hostAddon().getProcessAffinity(ffmpeg!.pid).length).toBeGreaterThan(3);
    await sleep(1_500);
    expect(outside()).toEqual([]);
    wrapper.child.kill('SIGINT');
    expect((await wrapper.ended).code).toBe(255);
    expect(troubles(daemon)).toEqual([]);
  });
});

/** The daemon writes meanwhile: the last of it may not fit, and then the disk is full as well. */
function fillUp(file: string, directory: string): void {
  const { bavail, bsize } = statfsSync(directory);
  try {
    writeFileSync(file, Buffer.alloc(bavail * bsize));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  }
}
