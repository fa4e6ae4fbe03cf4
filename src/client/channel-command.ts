import type { Decision__Output } from '../rpc/generated/corecast/v1/Decision.js';
import type { Reservation__Output } from '../rpc/generated/corecast/v1/Reservation.js';
import { type FfmpegCommand, parseFfmpegCommand } from './ffmpeg-args.js';
import { svtAv1Major } from './ffmpeg-build.js';
import { type PlannedOutput, plannedOutputs } from './outputs.js';
import { atRung, type Restart, type Rung } from './rungs.js';
import { encoderCpus, withThreadOptions } from './thread-options.js';

export interface ChannelStart {
  /** At full quality. */
  readonly command: FfmpegCommand;
  readonly rung: Rung;
  /** Absent at the first start, and where the work is begun again. */
  readonly restart: Restart | undefined;
  /** Of the command at full quality: pictures stay those of the inputs. */
  readonly planned: readonly PlannedOutput[];
  readonly reservation: Reservation__Output;
  readonly decision: Decision__Output | null;
  /** In the channel's mask. */
  readonly cpuCount: number;
}

export interface StartedCommand {
  readonly command: FfmpegCommand;
  /** With the thread options that corecast adds, which `added` lists. */
  readonly args: readonly string[];
  readonly added: readonly string[];
}

/** What FFmpeg is started with: the rung's own encoders decide which thread options it gets. */
export async function channelCommand(start: ChannelStart): Promise<StartedCommand> {
  const { reservation, decision } = start;
  const command = parseFfmpegCommand(atRung(start.command, start.rung, start.restart));
  const planned = plannedAt(command, start.planned[0]);
  const svt = planned.some(({ video }) => video.encoder === 'libsvtav1')
    ? await svtAv1Major(command.program)
    : 1;
  const cpuCount = encoderCpus(reservation, decision, start.cpuCount);
  const { args, added } = withThreadOptions(command, planned, { cpuCount, svtAv1Major: svt });
  return { command, args, added };
}

function plannedAt(command: FfmpegCommand, first: PlannedOutput | undefined): PlannedOutput[] {
  if (first === undefined) return [];
  return plannedOutputs(
    command,
    command.inputs.map(() => first.video),
  );
}
