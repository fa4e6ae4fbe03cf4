import { join } from 'node:path';

/**
 * Where an FFmpeg without a wrapper leaves its progress: beside the daemon's socket, one file a process. The wrapper makes the
 * file before it becomes FFmpeg, the daemon reads it (rpc/progress-files.ts).
 */
export function progressDir(socket: string): string {
  return `${socket}.progress`;
}

export function progressFile(
  socket: string,
  { pid, startTicks }: { readonly pid: number; readonly startTicks: number },
): string {
  return join(progressDir(socket), `${pid}.${startTicks}`);
}
