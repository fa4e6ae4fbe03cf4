import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  decisionOf,
  historyFolder,
  listeningLog,
  open,
  ramp,
  stillClock,
  T0,
  valuesOf,
} from '../support/history.js';

const DISK_MB = 24;

/** A small disk of its own, or undefined where mounting is not allowed. */
function smallDisk(): { dir: string; fill(): void; free(): void; remove(): void } | undefined {
  const folder = historyFolder();
  const disk = join(folder.parent, 'disk');
  mkdirSync(disk);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_MB}m`, 'corecast-test', disk], {
      stdio: 'ignore',
    });
  } catch {
    folder.remove();
    return undefined;
  }
  const filler = join(disk, 'filler');
  return {
    dir: join(disk, 'history'),
    fill() {
      const { bavail, bsize } = statfsSync(disk);
      writeFileSync(filler, Buffer.alloc(bavail * bsize));
    },
    free: () => rmSync(filler),
    remove() {
      execFileSync('umount', ['--lazy', disk]);
      folder.remove();
    },
  };
}

test('on a full disk samples wait, then the oldest drop and are counted; decisions are refused; all resumes with room', async (ctx) => {
  const disk = smallDisk();
  if (disk === undefined) return ctx.skip('needs the right to mount a tmpfs');
  try {
    const clock = stillClock();
    const log = listeningLog();
    const { history } = await open(disk.dir, { clock, log, maxPendingBytes: 20_000 });
    history.append(ramp('before', 100));
    await history.flush();
    disk.fill();

    // More than LevelDB's log has room for in its last page.
    const noise = (i: number) => Math.sqrt(i) / 7;
    const noisy = ramp('full', 20_000).map((point, i) => ({ ...point, value: noise(i) }));
    for (let i = 0; i < noisy.length; i += 500) {
      history.append(noisy.slice(i, i + 500));
      await history.flush().catch(() => {});
      clock.monoMs += 5_000;
    }
    const { samplesDropped, pendingBytes, writeFailures } = history.metrics();
    expect(writeFailures).toBeGreaterThan(0);
    expect(samplesDropped).toBeGreaterThan(0);
    expect(pendingBytes).toBeLessThan(40_000);
    expect(log.lines.filter((line) => line.startsWith('error'))).toHaveLength(1);
    await expect(history.putDecision(decisionOf('d', 'r'))).rejects.toMatchObject({ code: 'STORE_FAILED' });
    expect(await valuesOf(history, 'before')).toHaveLength(100);

    disk.free();
    clock.monoMs += 60_000;
    history.append(ramp('after', 100));
    await history.flush();
    await history.putDecision(decisionOf('d', 'r'));
    expect(log.lines.some((line) => line.includes('takes samples again'))).toBe(true);
    const kept = await valuesOf(history, 'full');
    expect(kept.length).toBe(20_000 - history.metrics().samplesDropped);
    expect(kept.at(-1)).toBe(noise(19_999));
    await history.close();

    const { history: again, report } = await open(disk.dir);
    expect(report).toEqual([]);
    expect(await valuesOf(again, 'before')).toHaveLength(100);
    expect(await valuesOf(again, 'after')).toHaveLength(100);
    expect(await valuesOf(again, 'full')).toEqual(kept);
    expect((await again.decision({ decisionId: 'd' }))?.atMs).toBe(T0);
    await again.close();
  } finally {
    disk.remove();
  }
});
