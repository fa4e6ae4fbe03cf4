import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hostAddon } from '../../src/lib/native.js';
import { cpuRows, processRows, threadRows } from '../support/sample-rows.js';

const host = hostAddon();
const hz = host.clockTicksPerSecond();

interface StatFields {
  readonly name?: string;
  readonly state?: string;
  readonly userTicks?: number;
  readonly systemTicks?: number;
  readonly threads?: number;
  readonly startTicks?: number;
  readonly rssPages?: number;
  readonly cpu?: number;
}

/** One line as proc(5) describes it. Fields that nobody reads are -1 or large, as they may be. */
function statLine(id: number, fields: StatFields = {}): string {
  const { name = 'ffmpeg', state = 'S', userTicks = 0, systemTicks = 0, threads = 1 } = fields;
  const { startTicks = 777, rssPages = 10, cpu = 0 } = fields;
  return `${id} (${name}) ${state} 1 1 1 -1 -1 4194304 11 12 13 14 ${userTicks} ${systemTicks} 15 16 20 -5 ${threads} 0 ${startTicks} 123456789 ${rssPages} 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 ${cpu} 0 0 0 0 0 0 0 0 0 0 0 0 0\n`;
}

const cpuLine = (cpu: number | '', ...ticks: number[]) => `cpu${cpu} ${ticks.join(' ')} 0 0\n`;

describe('sampler on a recorded /proc', () => {
  let root: string;
  const write = (path: string, text: string) => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  };
  const thread = (pid: number, tid: number, run: string, fields: StatFields) => {
    write(`${pid}/task/${tid}/schedstat`, run);
    write(`${pid}/task/${tid}/stat`, statLine(tid, fields));
  };

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'corecast-proc-'));
    write('stat', `cpu  9 9 9 9 9 9 9 9 0 0\n${cpuLine(0, 1, 1, 1, 1, 1, 1, 1, 1)}intr 5 4\nctxt 1\n`);
  });
  afterEach(() => rmSync(root, { recursive: true }));

  it('takes CPUs of any number, and forgets those that go offline', () => {
    write(
      'stat',
      cpuLine('', 1, 2, 3, 4, 5, 6, 7, 8) +
        cpuLine(0, 100, 20, 30, 4000, 5, 6, 7, 8) +
        cpuLine(7, 1, 0, 0, 0, 0, 0, 0, 0) +
        cpuLine(1500, 0, 0, 0, 123_456_789_012, 0, 0, 0, 42) +
        'intr 1 2 3\n',
    );
    const sampler = host.openSampler(root);
    const rows = cpuRows(sampler.sample());
    expect(rows.map(({ cpu }) => cpu)).toEqual([0, 7, 1500]);
    expect(rows[0]).toEqual({
      cpu: 0,
      user: 120 / hz,
      system: 30 / hz,
      idle: 4000 / hz,
      iowait: 5 / hz,
      irq: 13 / hz,
      steal: 8 / hz,
    });
    expect(rows[2]).toMatchObject({ idle: 123_456_789_012 / hz, steal: 42 / hz });

    write('stat', `${cpuLine('', 1)}${cpuLine(1500, 5, 0, 0, 0, 0, 0, 0, 0)}intr 1\n`);
    expect(cpuRows(sampler.sample()).map(({ cpu, user }) => [cpu, user])).toEqual([[1500, 5 / hz]]);
    sampler.close();
  });

  it('reads 4,096 CPUs', () => {
    const lines = Array.from({ length: 4096 }, (_, cpu) => cpuLine(cpu, cpu, 0, 0, 1e9, 0, 0, 0, 0));
    write('stat', `${cpuLine('', 1)}${lines.join('')}intr ${'0 '.repeat(20_000)}\n`);
    const sampler = host.openSampler(root);
    const rows = cpuRows(sampler.sample());
    expect(rows).toHaveLength(4096);
    expect(rows[4095]).toMatchObject({ cpu: 4095, user: 4095 / hz, idle: 1e9 / hz });
    sampler.close();
  });

  it('reads what a process has read at once and then in turn, and says when it could not', () => {
    write('42/stat', statLine(42));
    thread(42, 42, '1 1 1\n', {});
    write('42/io', 'rchar: 323934931\nwchar: 5\n');
    const sampler = host.openSampler(root);
    sampler.add(42, 777);
    const read = () => {
      const { readBytes, ioRead } = processRows(sampler.sample())[0]!;
      return { readBytes, ioRead };
    };
    expect(read()).toEqual({ readBytes: 323_934_931, ioRead: 1 });
    expect(read().ioRead).toBe(1);
    write('42/io', 'rchar: 323934999\nwchar: 5\n');
    const later = [read(), read(), read(), read(), read()];
    expect(later.filter(({ ioRead }) => ioRead === 1)).toEqual([{ readBytes: 323_934_999, ioRead: 1 }]);
    write('42/io', 'something else\n');
    expect([read(), read(), read(), read(), read()].at(-1)).toEqual({ readBytes: Number.NaN, ioRead: 0 });
    sampler.close();
  });

  it('adds up threads, reads the CPU each was on and the numbers of the process', () => {
    const name = 'x) R 9 (y';
    write('42/stat', statLine(42, { name, userTicks: 500, systemTicks: 70, threads: 2, rssPages: 3 }));
    thread(42, 42, '3000000000 250000000 9\n', { name, threads: 2, cpu: 7 });
    thread(42, 43, '1500000000 50000000 9\n', { threads: 2, cpu: 1500 });
    const sampler = host.openSampler(root);
    sampler.add(42, 777);
    const sample = sampler.sample();
    const [row] = processRows(sample);
    expect(row).toMatchObject({
      pid: 42,
      alive: 1,
      threads: 2,
      userSeconds: 500 / hz,
      systemSeconds: 70 / hz,
    });
    expect(row).toMatchObject({ runSeconds: 4.5, minorFaults: 11, majorFaults: 13 });
    expect(row!.waitSeconds).toBeCloseTo(0.3, 12);
    expect(row!.rssBytes % 3).toBe(0);
    expect(row).toMatchObject({ switches: 18, widestMask: -1, threadsRead: 1 });
    expect(threadRows(sample).sort((a, b) => a.tid - b.tid)).toEqual([
      {
        pid: 42,
        tid: 42,
        cpu: 7,
        cpuSeconds: 3,
        ranSeconds: 3,
        waitSeconds: 0.25,
        switches: 9,
        maskCpus: -1,
      },
      {
        pid: 42,
        tid: 43,
        cpu: 1500,
        cpuSeconds: 1.5,
        ranSeconds: 1.5,
        waitSeconds: 0.05,
        switches: 9,
        maskCpus: -1,
      },
    ]);
    sampler.close();
  });

  it('looks up the CPU of a thread again once that has run for a clock tick', () => {
    write('42/stat', statLine(42));
    thread(42, 42, '1000000000 0 1\n', { cpu: 3 });
    const sampler = host.openSampler(root);
    sampler.add(42, 777);
    expect(threadRows(sampler.sample())).toMatchObject([{ cpu: 3, cpuSeconds: 1 }]);
    thread(42, 42, '1009000000 0 2\n', { cpu: 5 });
    expect(threadRows(sampler.sample())).toMatchObject([{ cpu: 3, cpuSeconds: 1.009 }]);
    thread(42, 42, '1010000000 0 3\n', { cpu: 5 });
    expect(threadRows(sampler.sample())).toMatchObject([{ cpu: 5, cpuSeconds: 1.01 }]);
    sampler.close();
  });

  it('finds threads that are born between ticks', () => {
    write('42/stat', statLine(42, { threads: 1 }));
    thread(42, 42, '1 0 1\n', {});
    const sampler = host.openSampler(root);
    sampler.add(42, 777);
    expect(sampler.sample().threadCount).toBe(1);
    write('42/stat', statLine(42, { threads: 300 }));
    for (let tid = 43; tid < 342; tid++) thread(42, tid, `${tid} 0 1\n`, {});
    const rows = threadRows(sampler.sample());
    expect(rows.map(({ tid }) => tid).sort((a, b) => a - b)).toEqual(
      Array.from({ length: 300 }, (_, i) => 42 + i),
    );
    sampler.close();
  });

  it('uses clock ticks where the kernel counts no scheduling times, and says that waiting is unknown', () => {
    write('42/stat', statLine(42, { threads: 2 }));
    thread(42, 42, '0 0 0\n', { userTicks: 100, systemTicks: 20, cpu: 1 });
    write('42/task/43/stat', statLine(43, { userTicks: 30, cpu: 2 }));
    const sampler = host.openSampler(root);
    sampler.add(42, 777);
    const sample = sampler.sample();
    expect(
      threadRows(sample)
        .map(({ cpuSeconds }) => cpuSeconds)
        .sort(),
    ).toEqual([120 / hz, 30 / hz].sort());
    expect(processRows(sample)[0]!.waitSeconds).toBeNaN();
    expect(processRows(sample)[0]!.runSeconds).toBeCloseTo(150 / hz, 12);
    sampler.close();
  });

  it('takes a zombie for ended, but not a process whose first thread ended before the others', () => {
    write('42/stat', statLine(42, { state: 'Z', threads: 2, userTicks: 10 }));
    thread(42, 42, '1 0 1\n', { state: 'Z' });
    thread(42, 43, '1 0 1\n', {});
    const sampler = host.openSampler(root);
    sampler.add(42, 777);
    expect(processRows(sampler.sample())[0]).toMatchObject({ alive: 1, threads: 2 });
    write('42/stat', statLine(42, { state: 'Z', threads: 1, userTicks: 25, rssPages: 0 }));
    const sample = sampler.sample();
    expect(processRows(sample)[0]).toMatchObject({ alive: 0, userSeconds: 25 / hz });
    expect(processRows(sample)[0]!.rssBytes).toBeGreaterThan(0);
    expect(sample.threadCount).toBe(0);
    sampler.close();
  });

  it('keeps the last numbers when a stat is cut short', () => {
    write('42/stat', statLine(42, { userTicks: 10 }));
    thread(42, 42, '5000000 0 1\n', { cpu: 3 });
    const sampler = host.openSampler(root);
    sampler.add(42, 777);
    const before = processRows(sampler.sample());
    for (const text of ['', '42', '42 (ffm', '42 (ffmpeg)', '42 (ffmpeg) S 1 2 3']) {
      write('42/stat', text);
      const [row] = processRows(sampler.sample());
      expect(row).toEqual(before[0]);
      const other = host.openSampler(root);
      expect(() => other.add(42, 777)).toThrow(expect.objectContaining({ code: 'ENODATA' }));
      other.close();
    }
    sampler.close();
  });

  it('reads threads in turn, those of closely watched and new processes at once', () => {
    for (const pid of [40, 41, 42, 43]) {
      write(`${pid}/stat`, statLine(pid, { threads: 2 }));
      for (const tid of [pid, pid + 1000]) thread(pid, tid, '1000000000 0 1\n', { threads: 2 });
    }
    const sampler = host.openSampler(root);
    for (const pid of [40, 41, 42]) sampler.add(pid, 777);
    const read = (maxThreads: number) => {
      const sample = sampler.sample(maxThreads);
      const pids = threadRows(sample).map(({ pid }) => pid);
      const marked = processRows(sample).filter(({ threadsRead }) => threadsRead === 1);
      expect(new Set(marked.map(({ pid }) => pid))).toEqual(new Set(pids));
      expect(sample.processCount).toBeGreaterThanOrEqual(3);
      return [...new Set(pids)];
    };
    expect(read(2)).toEqual([40, 41, 42]);
    expect([read(2), read(2), read(2), read(2)]).toEqual([[40], [41], [42], [40]]);
    // A process with more threads than that has its turn, too; none is read twice in a call.
    expect([read(1), read(0), read(4), read(100)]).toEqual([[41], [42], [40, 41], [42, 40, 41]]);
    sampler.watchClosely(42, true);
    sampler.watchClosely(9999, true);
    expect([read(2), read(2), read(2)]).toEqual([
      [42, 40],
      [42, 41],
      [42, 40],
    ]);
    sampler.watchClosely(42, false);
    sampler.add(43, 777);
    expect(read(2)).toEqual([43, 41]);
    sampler.remove(42);
    expect([read(2), read(2)]).toEqual([[43], [40]]);
    sampler.close();
  });

  it('tells what a thread ran since its last row, and keeps in the sums what ended threads did', () => {
    write('42/stat', statLine(42, { threads: 2 }));
    thread(42, 42, '1000000000 100000000 5\n', { threads: 2 });
    thread(42, 43, '2000000000 200000000 7\n', { threads: 2 });
    const sampler = host.openSampler(root);
    sampler.add(42, 777);
    sampler.sample();
    thread(42, 42, '1500000000 100000000 6\n', { threads: 2 });
    const second = sampler.sample();
    expect(threadRows(second).find(({ tid }) => tid === 42)).toMatchObject({
      cpuSeconds: 1.5,
      ranSeconds: 0.5,
    });
    expect(threadRows(second).find(({ tid }) => tid === 43)).toMatchObject({ cpuSeconds: 2, ranSeconds: 0 });
    expect(processRows(second)[0]).toMatchObject({ runSeconds: 3.5, switches: 13 });
    // A counter that goes back is no time.
    thread(42, 42, '1400000000 100000000 6\n', { threads: 2 });
    expect(threadRows(sampler.sample()).find(({ tid }) => tid === 42)).toMatchObject({ ranSeconds: 0 });
    sampler.close();
  });

  it('needs a stat in its root', () => {
    expect(() => host.openSampler(join(root, 'nothing'))).toThrow(
      expect.objectContaining({ code: 'ENOENT', syscall: 'open' }),
    );
  });
});
