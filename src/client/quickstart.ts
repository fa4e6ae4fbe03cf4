#!/usr/bin/env node
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Command, InvalidArgumentError, Option } from 'commander';
import { formatCpuset, isSubset, parseCpuset } from '../lib/cpuset.js';
import { CorecastError, messageOf } from '../lib/errors.js';
import { hostAddon } from '../lib/native.js';
import type { Reservation__Output } from '../rpc/generated/corecast/v1/Reservation.js';
import { endOnClosedPipe } from './closed-pipe.js';
import type { CorecastClient } from './connect.js';
import { type Mask, type Outcome, printOutcome } from './quickstart-print.js';
import { QuickstartProcesses } from './quickstart-processes.js';

/**
 * The main job once, as an operator would see it: a daemon of its own on an empty state directory, one live transcode
 * through the wrapper, and what was forecast beside what happened; or an overload (quickstart-overload.ts). Stops and
 * removes everything that it started.
 */
interface Options {
  encoder: string;
  preset?: string;
  seconds: number;
  scenario: 'transcode' | 'overload';
  json?: boolean;
}

async function main(processes: QuickstartProcesses): Promise<number> {
  const program = new Command('quickstart')
    .argument('[input]', "a video file (default: a clip made with FFmpeg's own sources)")
    .addOption(
      new Option('--scenario <name>', 'what is shown')
        .choices(['transcode', 'overload'])
        .default('transcode'),
    )
    .option('--encoder <name>', 'FFmpeg encoder', 'libx264')
    .option('--preset <name>', "the encoder's preset (default: its own)")
    .option('--seconds <n>', 'how much of the input to transcode', seconds, 12)
    .option('--json', 'one JSON object as the last line')
    .parse();
  const options = program.opts<Options>();
  if (options.scenario === 'overload') {
    const { overload } = await import('./quickstart-overload.js');
    const outcome = await overload(processes);
    if (options.json) console.log(JSON.stringify(outcome));
    return 0;
  }
  const given = program.args[0];
  if (given !== undefined && !existsSync(given)) {
    throw new CorecastError('INVALID_ARGUMENT', `input ${JSON.stringify(given)} does not exist`);
  }
  const input =
    given === undefined ? await processes.makeClip('clip.mp4', '640x360', options.seconds) : resolve(given);
  const say = (line: string) => process.stderr.write(`[quickstart] ${line}\n`);
  say('starting a daemon of its own');
  const client = await processes.daemon();
  say(`transcoding up to ${options.seconds} s of ${basename(input)} with ${options.encoder}, live`);
  const outcome = await transcode(client, processes, input, options);
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

async function transcode(
  client: CorecastClient,
  processes: QuickstartProcesses,
  input: string,
  options: Options,
): Promise<Outcome> {
  const name = `quickstart ${basename(input)}`;
  const preset = options.preset === undefined ? [] : ['-preset', options.preset];
  const quiet = ['-hide_banner', '-loglevel', 'warning', '-nostdin', '-y'];
  const paced = ['-re', '-t', String(options.seconds), '-i', input];
  const encode = ['-an', '-c:v', options.encoder, ...preset];
  const command = ['ffmpeg', ...quiet, ...paced, ...encode, join(processes.folder, 'out.mkv')];
  const asked = ['--complexity', 'probe', '--class', 'live', '--wait', '60', '--name', name];
  const wrapper = processes.wrapper(asked, command);
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

const processes = new QuickstartProcesses();
endOnClosedPipe((code) => void processes.close().finally(() => process.exit(code)));
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => void processes.close().finally(() => process.exit(130)));
}
try {
  process.exitCode = await main(processes);
} catch (error) {
  process.stderr.write(`quickstart: ${messageOf(error)}\n`);
  process.exitCode = 1;
} finally {
  await processes.close();
}
