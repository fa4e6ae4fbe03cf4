import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hostAddon } from '../../src/lib/native.js';
import { addonPath, has, runNode, until } from '../support/children.js';

const host = hostAddon();

/**
 * A stand-in for NVIDIA's library: two GPUs, of which the second tells nothing of its encoder and has lost its memory
 * information. INIT, COUNT and HANG are set by the compiler.
 */
const STAND_IN = `
#include <string.h>
#include <unistd.h>
int nvmlInit_v2(void) { return INIT; }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { return code == 9 ? "Driver Not Loaded" : "Unknown Error"; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 3; return COUNT; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
  if (index == 1) return 4; /* no permission */
  *device = (void *)(unsigned long)(index + 1);
  return 0;
}
int nvmlDeviceGetName(void *device, char *name, unsigned bytes) {
  strncpy(name, device == (void *)1 ? "Stand-in A" : "Stand-in B", bytes);
  return 0;
}
int nvmlDeviceGetUtilizationRates(void *device, unsigned *rates) {
  if (HANG) sleep(HANG);
  rates[0] = device == (void *)1 ? 37 : 100;
  rates[1] = 5;
  return 0;
}
int nvmlDeviceGetMemoryInfo(void *device, unsigned long long *memory) {
  memory[0] = 8ULL << 30; memory[1] = 6ULL << 30; memory[2] = 2ULL << 30;
  return device == (void *)1 ? 0 : 15;
}
int nvmlDeviceGetEncoderUtilization(void *device, unsigned *percent, unsigned *period) {
  *percent = 62; *period = 167000;
  return device == (void *)1 ? 0 : 3;
}
int nvmlDeviceGetDecoderUtilization(void *device, unsigned *percent, unsigned *period) {
  *percent = 8; *period = 167000;
  return 0;
}
`;

describe('GPUs by the management library', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'corecast-nvml-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  function library(name: string, defines: Record<string, number> = {}, source = STAND_IN): string {
    const [code, path] = [join(folder, `${name}.c`), join(folder, `${name}.so`)];
    writeFileSync(code, source);
    const all = Object.entries({ INIT: 0, COUNT: 0, HANG: 0, ...defines });
    execFileSync('cc', [
      '-shared',
      '-fPIC',
      ...all.map(([key, value]) => `-D${key}=${value}`),
      '-o',
      path,
      code,
    ]);
    return path;
  }

  it('have their use, and NaN for what one does not tell', async (ctx) => {
    if (!has('cc', '--version')) ctx.skip('no C compiler');
    const reader = host.openGpuReader(library('whole'));
    await until(() => reader.poll().answers >= 2, 'two answers');
    const { gpus, absent } = reader.poll();
    reader.close();
    expect(absent).toBe('');
    // The one in the middle may not be used.
    expect(gpus).toEqual([
      {
        name: 'Stand-in A',
        busy: 0.37,
        memoryUsedBytes: 2 ** 31,
        memoryTotalBytes: 2 ** 33,
        encoderBusy: 0.62,
        decoderBusy: 0.08,
      },
      {
        name: 'Stand-in B',
        busy: 1,
        memoryUsedBytes: Number.NaN,
        memoryTotalBytes: Number.NaN,
        encoderBusy: Number.NaN,
        decoderBusy: 0.08,
      },
    ]);
    expect(() => reader.poll()).toThrow(expect.objectContaining({ code: 'EBADF' }));
    reader.close();
  });

  it('are absent, with the reason, without a library, a driver or a function', async (ctx) => {
    if (!has('cc', '--version')) ctx.skip('no C compiler');
    const reasonOf = async (path: string) => {
      const reader = host.openGpuReader(path);
      await until(() => reader.poll().absent !== '', 'a reason');
      const { absent, gpus, pendingMs } = reader.poll();
      reader.close();
      expect({ gpus, pendingMs }).toEqual({ gpus: [], pendingMs: 0 });
      return absent;
    };
    expect(await reasonOf(join(folder, 'nothing.so'))).toContain('nothing.so');
    expect(await reasonOf(library('driverless', { INIT: 9 }))).toBe('nvmlInit_v2: Driver Not Loaded (9)');
    expect(await reasonOf(library('countless', { COUNT: 999 }))).toBe(
      'nvmlDeviceGetCount_v2: Unknown Error (999)',
    );
    const old = STAND_IN.replace('nvmlDeviceGetEncoderUtilization', 'nvmlSomethingElse');
    expect(await reasonOf(library('old', {}, old))).toBe(
      'the library has no nvmlDeviceGetEncoderUtilization',
    );
  });

  it('that hang hold up nobody: the wait is told, and the process may end', async (ctx) => {
    if (!has('cc', '--version')) ctx.skip('no C compiler');
    const path = library('hanging', { HANG: 600 });
    const { code, stdout } = await runNode(`
      const reader = require(${JSON.stringify(addonPath)}).openGpuReader(${JSON.stringify(path)});
      const began = Date.now();
      let slowest = 0;
      const timer = setInterval(() => {
        const before = performance.now();
        const { pendingMs, gpus } = reader.poll();
        slowest = Math.max(slowest, performance.now() - before);
        if (pendingMs < 300) return;
        clearInterval(timer);
        console.log(JSON.stringify({ gpus: gpus.length, slowest }));
      }, 20);`);
    const { gpus, slowest } = JSON.parse(stdout);
    expect(code).toBe(0);
    expect(gpus).toBe(0);
    // Less than a tick: the driver would have taken ten minutes.
    expect(slowest).toBeLessThan(1_000);
  });
});
