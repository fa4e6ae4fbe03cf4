import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { haveFfmpeg } from '../support/client-against-server.js';
import { LiveDaemon, until } from '../support/live-daemon.js';

/** A transport stream of noise at a constant rate. */
function stream(path: string, rate: string, seconds: number): Buffer {
  const source = `testsrc2=size=640x360:rate=25:duration=${seconds},noise=alls=60:allf=t`;
  const constant = ['-b:v', rate, '-minrate', rate, '-maxrate', rate, '-bufsize', '1M'];
  const encode = ['-c:v', 'libx264', '-preset', 'ultrafast', ...constant, '-f', 'mpegts', path];
  execFileSync('ffmpeg', ['-v', 'error', '-y', '-f', 'lavfi', '-i', source, ...encode]);
  return readFileSync(path);
}

describe.skipIf(!haveFfmpeg)('a stream whose bit rate grows fourfold', { timeout: 120_000 }, () => {
  const daemon = new LiveDaemon();
  afterAll(() => daemon.close());

  it('is forecast anew once, for what it brings in now', async () => {
    await daemon.start();
    const input = join(daemon.dir, 'input.ts');
    const parts = [stream(join(daemon.dir, 'a.ts'), '1M', 12), stream(join(daemon.dir, 'b.ts'), '4M', 26)];
    writeFileSync(input, Buffer.concat(parts));
    const facts = ['--no-probe', '--input-signature', 'codec=h264,size=640x360,fps=25,bitrate=1000k'];
    const ffmpeg = ['ffmpeg', '-v', 'error', '-nostdin', '-re', '-i', input, '-c:v', 'libx264'];
    const running = daemon.run(
      ['--name', 'growing', '--class', 'live', ...facts],
      [...ffmpeg, '-preset', 'ultrafast', '-f', 'null', '-'],
    );
    const told = () => daemon.said().match(/"ingressBps":\d+,"msg":"its input has changed/g) ?? [];
    await until(() => told().length > 0, 'it is seen', 60_000);
    const bps = Number(/\d+/.exec(told()[0]!)![0]);
    expect(bps).toBeGreaterThan(3e6);
    expect(bps).toBeLessThan(6e6);
    expect((await running.ended).code).toBe(0);
    expect(told()).toHaveLength(1);
  });
});
