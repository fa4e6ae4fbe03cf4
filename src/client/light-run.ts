import { closeSync, fchmodSync, openSync } from 'node:fs';
import { resolve } from 'node:path';
import { messageOf } from '../lib/errors.js';
import { hostAddon } from '../lib/native.js';
import { progressFile } from '../lib/progress-place.js';
import type { Admission } from './admit.js';
import { EXIT } from './exit-codes.js';
import { ExitError } from './exit-error.js';
import { type FfmpegCommand, lastOption } from './ffmpeg-args.js';
import { svtAv1Major } from './ffmpeg-build.js';
import { openDescriptors } from './ffmpeg-process.js';
import type { PlannedOutput } from './outputs.js';
import { encoderCpus, withThreadOptions } from './thread-options.js';

export interface LightRunOptions {
  readonly socket: string;
  /** No FFmpeg without a reservation that it is attached to. */
  readonly require: boolean;
  /** It was given one, and leaves it out. */
  readonly ladder: boolean;
  readonly note: (text: string) => void;
}

/** Said at each start: what an operator may miss later. */
export const LIGHT_MODE =
  'light mode: this process becomes FFmpeg and holds its own reservation; no report, no ladder';

/**
 * Light mode, `corecast run --exec`: for hosts with hundreds of channels. Where the wrapper stays beside FFmpeg with some
 * tens of megabytes, here it *becomes* FFmpeg:
 *
 * 1. It attaches itself. Pid and start time stay what they are through an execve(2), so the daemon watches the right
 *    process by its pidfd already, and the life of the process holds the reservation: nobody renews it.
 * 2. FFmpeg gets -progress file:…, a file beside the daemon's socket that outlives the daemon (rpc/progress-files.ts), unless
 *    the user wants the progress elsewhere. Where none can be made, -progress unix:SOCKET: the daemon knows by the peer
 *    credentials whose it is, and a restart of the daemon ends it.
 * 3. execve: same environment, working directory, affinity and standard streams, and the descriptors that the command
 *    line names; signals as a shell would start it.
 *
 * Returns only by throwing: FFmpeg could not be executed.
 */
export async function becomeFfmpeg(
  command: FfmpegCommand,
  planned: readonly PlannedOutput[],
  admission: Admission,
  options: LightRunOptions,
): Promise<never> {
  if (admission.kind === 'unpinned') return execute(command, command.args);
  const { client, reservation, decision } = admission;
  const lease = { reservationId: reservation.id, token: reservation.token };
  options.note(LIGHT_MODE);
  if (reservation.channelClass === 'CHANNEL_CLASS_VOD')
    options.note('VOD that gives way to live is paused in light mode, never started anew');
  if (options.ladder) options.note('the rungs of --degrade are left out: light mode cannot restart FFmpeg');
  const svt = planned.some((output) => output.video.encoder === 'libsvtav1')
    ? await svtAv1Major(command.program)
    : 1;
  const { args } = withThreadOptions(command, planned, {
    cpuCount: encoderCpus(reservation, decision, reservation.cpus.length),
    svtAv1Major: svt,
  });
  const own = lastOption(command.globals, 'progress') === undefined;
  try {
    const { pid } = process;
    const request = { process: { pid, startTicks: hostAddon().startTicks(pid) }, selfHeld: true };
    const attached = await client.attach({
      ...lease,
      ...request,
      idempotencyKey: `${lease.reservationId}.${pid}`,
    });
    lease.token = attached.reservation?.token ?? lease.token;
  } catch (error) {
    const why = `could not attach to the reservation (${messageOf(error)})`;
    if (options.require) {
      await client.release({ ...lease, reason: why.slice(0, 200) }).catch(() => {});
      throw new ExitError(EXIT.unavailable, why, ['FFmpeg was not started, because of --require']);
    }
    options.note(`${why}; FFmpeg keeps the CPUs it inherits, as long as nobody else is given them`);
  }
  try {
    execute(
      command,
      own ? ['-progress', progressTarget(resolve(options.socket), options.note), ...args] : args,
    );
  } catch (error) {
    await client.release({ ...lease, reason: messageOf(error).slice(0, 200) }).catch(() => {});
    client.close();
    throw error;
  }
}

function progressTarget(socket: string, note: (text: string) => void): string {
  const { pid } = process;
  const file = progressFile(socket, { pid, startTicks: hostAddon().startTicks(pid) });
  try {
    const fd = openSync(file, 'wx', 0o660);
    // The daemon cuts it when it has read it.
    fchmodSync(fd, 0o660);
    closeSync(fd);
    return `file:${file}`;
  } catch (error) {
    note(`its progress ends with the daemon (${messageOf(error)})`);
    return `unix:${socket}`;
  }
}

function execute({ program }: FfmpegCommand, args: readonly string[]): never {
  try {
    return hostAddon().replaceProcess(program, args, openDescriptors(args));
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === 'ENOENT') throw new ExitError(EXIT.notFound, `cannot start ${program}: no such program`);
    throw new ExitError(EXIT.cannotExecute, `cannot start ${program}: ${messageOf(error)}`);
  }
}
