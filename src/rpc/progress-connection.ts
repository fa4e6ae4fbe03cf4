import type { Socket } from 'node:net';
import type { Clock } from '../lib/clock.js';
import { type Progress, ProgressReader } from '../lib/ffmpeg-progress.js';

/**
 * The progress that an FFmpeg without a wrapper writes to the daemon's own socket (-progress unix:PATH): who it is, the
 * kernel says (peer credentials), so the text needs no name. FFmpeg writes while the daemon reads: should the daemon stand
 * still, the socket's buffer holds some minutes of progress, and a connection that breaks costs FFmpeg its progress and
 * nothing else.
 */
export function readProgress(socket: Socket, clock: Clock, report: (progress: Progress) => void): void {
  const reader = new ProgressReader(clock, report);
  socket.setEncoding('utf8');
  socket.on('data', (text: string) => reader.feed(text));
}
