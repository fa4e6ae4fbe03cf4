import {
  appendFileSync,
  closeSync,
  mkdtempSync,
  openSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { systemClock } from '../../src/lib/clock.js';
import type { Progress } from '../../src/lib/ffmpeg-progress.js';
import { silentLog } from '../../src/lib/log.js';
import { progressFile } from '../../src/lib/progress-place.js';
import { ProgressFiles } from '../../src/rpc/progress-files.js';

const block = (frame: number) =>
  `frame=${frame}\nout_time_us=${frame * 40_000}\nspeed=1x\nprogress=continue\n`;
const writer = { pid: 7, startTicks: 70, uid: process.getuid!() };

function world() {
  const dir = mkdtempSync(join(tmpdir(), 'corecast-progress-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  const socket = join(dir, 'corecast.sock');
  const daemon = () => {
    const files = new ProgressFiles(socket, systemClock, silentLog);
    files.prepare(process.getgid!());
    onTestFinished(() => files.close());
    return files;
  };
  const path = progressFile(socket, writer);
  const seen: Progress[] = [];
  const frames = (files: ProgressFiles) => {
    seen.length = 0;
    files.read(writer, (progress) => seen.push(progress));
    return seen.map(({ frame }) => frame);
  };
  return { dir, daemon, path, frames };
}

test('what a process writes is read once, and by the next daemon from where it is then', () => {
  const { daemon, path, frames } = world();
  const first = daemon();
  expect(frames(first)).toEqual([]);
  writeFileSync(path, block(1));
  expect(frames(first)).toEqual([1]);
  expect(frames(first)).toEqual([]);
  appendFileSync(path, block(2) + block(3).slice(0, 20));
  expect(frames(first)).toEqual([2]);
  appendFileSync(path, block(3).slice(20));
  expect(frames(first)).toEqual([3]);
  first.close();
  for (let frame = 4; frame <= 1_000; frame++) appendFileSync(path, block(frame));
  const next = daemon();
  const after = frames(next);
  // Of what was written meanwhile only the end: it is that of now.
  expect(after.at(-1)).toBe(1_000);
  expect(after.length).toBeLessThan(100);
  next.forget(writer);
  expect(() => statSync(path)).toThrow('ENOENT');
});

test('takes no more room than what is not read, however long it runs', () => {
  const { daemon, path, frames } = world();
  const files = daemon();
  // As FFmpeg has it: opened once, written at its own offset.
  const fd = openSync(path, 'w');
  onTestFinished(() => closeSync(fd));
  let last: number | undefined;
  for (let frame = 1; frame <= 20_000; frame++) {
    writeSync(fd, block(frame));
    if (frame % 10 === 0) last = frames(files).at(-1);
  }
  expect(last).toBe(20_000);
  const { size, blocks } = statSync(path);
  expect(size).toBeGreaterThan(1e6);
  expect(blocks * 512).toBeLessThan(150_000);
});

test('a link, a directory and a file of somebody else are not read; what nobody writes is swept away', () => {
  const { dir, daemon, path, frames } = world();
  const files = daemon();
  const elsewhere = join(dir, 'elsewhere');
  writeFileSync(elsewhere, block(1));
  symlinkSync(elsewhere, path);
  expect(frames(files)).toEqual([]);
  rmSync(path);
  writeFileSync(path, block(1));
  files.read({ ...writer, uid: writer.uid + 1 }, () => expect.unreachable());
  expect(frames(files)).toEqual([1]);
  files.sweep([writer]);
  expect(statSync(path).isFile()).toBe(true);
  files.sweep([{ pid: 7, startTicks: 71 }]);
  expect(() => statSync(path)).toThrow('ENOENT');
});
