#!/usr/bin/env node
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, InvalidArgumentError } from 'commander';
import { formatCpuset, isSubset, parseCpuset } from '../lib/cpuset.js';
import { CorecastError, messageOf } from '../lib/errors.js';
import { hostAddon } from '../lib/native.js';
import type { Reservation__Output } from '../rpc/generated/corecast/v1/Reservation.js';
import { type CorecastClient, connect } from './connect.js';
import { type Mask, type Outcome, printOutcome } from './quickstart-print.js';

/**
 * The main job once, as an operator would see it: a daemon of its own on an empty state directory, one live transcode
 * through the wrapper, and what was forecast beside what happened. Stops and removes everything that it started.
 */
const DAEMON_START_MS = 15_000;
const dist = fileURLToPath(new URL('..', import.meta.url));

interface Options {
  encoder: string;
  preset?: string;
  seconds: number;
  json?: boolean;
}

const started: ChildProcess[] = [];
let work: string | undefined;

async function main(): Promise<number> {
  const program = new Command('quickstart')
    .argument('[input]', "a video file (default: a clip made with FFmpeg's own sources)")
    .option('--encoder <name>', 'FFmpeg encoder', 'libx264')
    .option('--preset <name>', "the encoder's preset (default: its own)")
    .option('--seconds <n>', 'how much of the input to transcode', seconds, 12)
    .option('--json', 'one JSON object as the last line')
    .parse();
  const options = program.opts<Options>();
  const given = program.args[0];
  if (given !== undefined && !existsSync(given)) {
    throw new CorecastError('INVALID_ARGUMENT', `input ${JSON.stringify(given)} does not exist`);
  }
  work = mkdtempSync(join(tmpdir(), 'corecast-quickstart-'));
  const input = given === undefined ? await makeClip(work, options.seconds) : resolve(given);
  const say = (line: string) => process.stderr.write(`[quickstart] ${line}\n`);

  say('starting a daemon of its own');
  const socket = join(work, 'corecast.sock');
  const daemon = startDaemon(work, socket);
  const client = await connected(daemon, socket);
  say(`transcoding up to ${options.seconds} s of ${basename(input)} with ${options.encoder}, live`);
  const outcome = await transcode(client, socket, input, work, options);
  client.close();
  printOutcome(outcome);
  if (options.json) console.log(JSON.stringify(outcome));
  return outcome.exitCode;
}

function seconds(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 3 || value > 600)
    throw new InvalidArgumentError('a whole number, 3 to 600.');
  return value;
}

async function makeClip(folder: string, length: number): Promise<string> {
  const path = join(folder, 'clip.mp4');
  const source = `testsrc2=size=640x360:rate=25,noise=alls=6:allf=t`;
  const args = ['-hide_banner', '-loglevel', 'error', '-f', 'lavfi', '-i', source, '-t', String(length)];
  const ffmpeg = start('ffmpeg', [
    ...args,
    '-c:v',
    'libx264',
    '-preset',
    'ultrafast',
    '-pix_fmt',
    'yuv420p',
    path,
  ]);
  const [code] = await once(ffmpeg, 'exit');
  if (code !== 0) throw new CorecastError('INTERNAL', `FFmpeg could not make the clip (exit ${code})`);
  return path;
}

function startDaemon(folder: string, socket: string): ChildProcess {
  const config = join(folder, 'corecast.toml');
  writeFileSync(
    config,
    `[daemon]\nsocket = ${JSON.stringify(socket)}\nstate_dir = ${JSON.stringify(join(folder, 'state'))}\n` +
      'http_address = ""\nlog_level = "warn"\n',
  );
  return start(process.execPath, [join(dist, 'main.js'), '--config', config]);
}

async function connected(daemon: ChildProcess, socket: string): Promise<CorecastClient> {
  const giveUp = Date.now() + DAEMON_START_MS;
  for (;;) {
    if (daemon.exitCode !== null)
      throw new CorecastError('INTERNAL', `the daemon ended with exit ${daemon.exitCode}`);
    try {
      return await connect({ socket, timeoutMs: 5_000 });
    } catch (error) {
      if (Date.now() > giveUp) throw error;
      await pause(50);
    }
  }
}

async function transcode(
  client: CorecastClient,
  socket: string,
  input: string,
  folder: string,
  options: Options,
): Promise<Outcome> {
  const name = `quickstart ${basename(input)}`;
  const preset = options.preset === undefined ? [] : ['-preset', options.preset];
  const ffmpeg = [
    'ffmpeg',
    '-hide_banner',
    '-loglevel',
    'warning',
    '-nostdin',
    '-y',
    '-re',
    '-t',
    String(options.seconds),
  ];
  const command = [
    ...ffmpeg,
    '-i',
    input,
    '-an',
    '-c:v',
    options.encoder,
    ...preset,
    join(folder, 'out.mkv'),
  ];
  const wrapper = start(process.execPath, [
    join(dist, 'client/cli.js'),
    ...[
      'run',
      '--socket',
      socket,
      '--require',
      '--complexity',
      'probe',
      '--class',
      'live',
      '--wait',
      '60',
      '--name',
      name,
      '--',
      ...command,
    ],
  ]);
  const ended = once(wrapper, 'exit') as Promise<[number | null]>;
  const seen = await follow(client, name, ended);
  const [code] = await ended;
  const exitCode = code ?? 1;
  if (seen.reservation === undefined) {
    throw new CorecastError(
      'NO_CAPACITY',
      `the transcode was not admitted or did not start (exit ${exitCode})`,
    );
  }
  const { decision, usage } = await client.explain({ reservationId: seen.reservation.id });
  const { reservations } = await client.listReservations({ includeEnded: true });
  const last = reservations.find(({ id }) => id === seen.reservation?.id);
  return {
    exitCode,
    command: command.join(' '),
    signature: decision?.signature ?? null,
    forecast: decision?.forecast ?? null,
    decision: decision ?? null,
    cpus: seen.reservation.cpus,
    threads: seen.masks,
    usage: usage ?? null,
    finalState: last?.state ?? 'RESERVATION_STATE_UNSPECIFIED',
  };
}

/** Reads the masks from the kernel itself, not from the daemon: they are the proof. Keeps the reading with most threads. */
async function follow(client: CorecastClient, name: string, ended: Promise<unknown>) {
  let over = false;
  void ended.then(() => {
    over = true;
  });
  let reservation: Reservation__Output | undefined;
  let masks: Mask[] = [];
  while (!over) {
    const listed = await client.listReservations({});
    const found = listed.reservations.find((candidate) => candidate.name === name);
    if (found !== undefined) reservation = found;
    if (found?.process) {
      const reading = masksOf(found.process.pid, found);
      if (reading.length >= masks.length) masks = reading;
    }
    await pause(200);
  }
  return { reservation, masks };
}

function masksOf(pid: number, reservation: Reservation__Output): Mask[] {
  const reserved = parseCpuset(reservation.cpus.map(({ cpu }) => cpu).join(','));
  try {
    return hostAddon()
      .getProcessAffinity(pid)
      .map(({ tid, name, cpus }) => ({
        tid,
        name,
        cpus: formatCpuset(cpus),
        verified: isSubset(cpus, reserved),
      }));
  } catch {
    return []; // it ended between the listing and the reading
  }
}

function start(command: string, args: string[]): ChildProcess {
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  started.push(child);
  return child;
}

async function stopAll(): Promise<void> {
  for (const child of started.reverse()) {
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) continue;
    const gone = once(child, 'exit');
    child.kill('SIGTERM');
    await Promise.race([gone, pause(8_000)]);
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
  }
  if (work !== undefined) rmSync(work, { recursive: true, force: true });
}

function pause(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => void stopAll().finally(() => process.exit(130)));
}
try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`quickstart: ${messageOf(error)}\n`);
  process.exitCode = 1;
} finally {
  await stopAll();
}
