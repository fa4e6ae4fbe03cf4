import { spawnSync } from 'node:child_process';
import { afterEach, describe, expect, it } from 'vitest';
import { CLI, LiveDaemon, until } from '../support/live-daemon.js';

const haveFfmpeg = spawnSync('ffmpeg', ['-version']).status === 0;

let daemon: LiveDaemon | undefined;
afterEach(() => daemon?.close());

/** A live channel of 12 s: its first horizon is over after ten. */
const CHANNEL = [
  ...[
    'ffmpeg',
    '-nostdin',
    '-loglevel',
    'error',
    '-re',
    '-f',
    'lavfi',
    '-i',
    'testsrc2=size=320x180:rate=25',
  ],
  ...['-t', '12', '-c:v', 'libx264', '-preset', 'ultrafast', '-f', 'null', '-'],
];

describe.skipIf(!haveFfmpeg)('calibration in a daemon', { timeout: 120_000 }, () => {
  it('learns from a real channel, tells it in `corecast status`, and keeps it over a restart', async () => {
    daemon = await new LiveDaemon().start();
    const cli = (command: string, ...args: string[]) =>
      spawnSync(process.execPath, [CLI, command, '--socket', daemon!.socket, ...args], { encoding: 'utf8' });
    const ran = cli('run', '--name', 'bars', '--', ...CHANNEL);
    expect(ran.status, ran.stderr).toBe(0);
    await until(
      async () => ((await daemon!.client.getHost({})).calibration?.outcomes ?? 0) > 0,
      'an outcome is counted',
    );
    const { calibration } = await daemon.client.getHost({});
    expect(calibration).toMatchObject({ outcomes: 1, alarms: [] });
    expect([0, 1]).toContain(calibration?.coverage90);
    expect(cli('status').stdout).toMatch(/^coverage +(0|100) % of the only outcome at/m);

    await daemon.end('SIGTERM');
    await daemon.start();
    expect((await daemon.client.getHost({})).calibration).toMatchObject({ outcomes: 1 });
    expect(cli('status').stdout).toContain('of the only outcome');
    const predicted = cli('predict', '--', ...CHANNEL);
    expect(predicted.stdout).toContain('calibration: demand 10-60 s q90 x');
  });
});
