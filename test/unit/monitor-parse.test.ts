import { describe, expect, test } from 'vitest';
import { cgroupOf } from '../../src/monitor/channel-pressure.js';
import { busiest, diskUse, parseDisks } from '../../src/monitor/disk.js';
import { parseFrequency } from '../../src/monitor/frequency.js';
import { parseLoad } from '../../src/monitor/load.js';
import { parseMemory } from '../../src/monitor/memory.js';
import { countedInterfaces, networkUse, parseNetwork } from '../../src/monitor/network.js';
import { parsePaging } from '../../src/monitor/paging.js';
import { parsePressure } from '../../src/monitor/pressure.js';
import { parseCpuTicks } from '../../src/monitor/process-cpu.js';
import { DATAGRAM_CHARGE_BYTES, parseSockets } from '../../src/monitor/socket-tables.js';

/** The error names file, line and item. */
const says = (file: string, line: number, item: string) =>
  expect.objectContaining({ code: 'KERNEL', details: { metadata: { file, line: String(line), item } } });

const thrownBy = (run: () => unknown): unknown => {
  try {
    return run();
  } catch (error) {
    return error;
  }
};

describe('/proc/loadavg', () => {
  test('three averages, and how many tasks are runnable now', () => {
    expect(parseLoad('2.71 0.76 0.31 3/412 9127\n')).toEqual({
      load1m: 2.71,
      load5m: 0.76,
      load15m: 0.31,
      runnable: 3,
    });
  });
  test('anything else is an error with its place', () => {
    expect(thrownBy(() => parseLoad('n/a 1 2', '/p/loadavg'))).toEqual(
      says('/p/loadavg', 1, 'the one-minute load'),
    );
    expect(thrownBy(() => parseLoad(''))).toEqual(says('loadavg', 1, 'the one-minute load'));
    expect(thrownBy(() => parseLoad('1 1 1 x/2 3'))).toEqual(says('loadavg', 1, 'runnable tasks'));
  });
});

describe('/proc/meminfo', () => {
  const text = 'MemTotal:        4030764 kB\nMemFree:          242424 kB\nMemAvailable:    3100416 kB\n';
  test('total and available come in bytes', () => {
    expect(parseMemory(text)).toEqual({
      totalBytes: 4030764 * 1024,
      availableBytes: 3100416 * 1024,
      swapTotalBytes: 0,
      swapUsedBytes: 0,
    });
  });
  test('used swap is what is not free', () => {
    expect(parseMemory(`${text}SwapTotal: 1000 kB\nSwapFree:   400 kB\n`)).toMatchObject({
      swapTotalBytes: 1000 * 1024,
      swapUsedBytes: 600 * 1024,
    });
  });
  test('a missing line, a strange number or unit is an error with its place', () => {
    expect(thrownBy(() => parseMemory('MemTotal: 1 kB\n'))).toEqual(says('meminfo', 0, 'MemAvailable'));
    expect(thrownBy(() => parseMemory(text.replace('3100416', '-1')))).toEqual(
      says('meminfo', 3, 'MemAvailable'),
    );
    expect(thrownBy(() => parseMemory(text.replace('64 kB', '64 MB')))).toEqual(
      says('meminfo', 1, 'MemTotal'),
    );
  });
});

describe('/proc/pressure/cpu', () => {
  test('"some" and "full" of ten seconds are shares; kernels before 5.13 have no "full" of the CPU', () => {
    const some = 'some avg10=29.57 avg60=18.11 avg300=5.23 total=35275525\n';
    const stall = parsePressure(`${some}full avg10=12.50 avg60=0.00 avg300=0.00 total=0\n`);
    expect(stall.some).toBeCloseTo(0.2957, 10);
    expect(stall.full).toBe(0.125);
    expect(parsePressure(some).full).toBe(0);
  });
  test('a text without it is an error', () => {
    expect(thrownBy(() => parsePressure('full avg10=0.00\n'))).toEqual(says('pressure/cpu', 0, 'some avg10'));
    expect(thrownBy(() => parsePressure('some avg60=1.00 \n'))).toEqual(
      says('pressure/cpu', 1, 'some avg10'),
    );
  });
});

describe('/proc/vmstat', () => {
  test('major faults and swapped pages, where the kernel counts them', () => {
    const text = 'nr_free_pages 7\npswpin 5\npswpout 6\npgfault 10\npgmajfault 42\n';
    expect(parsePaging(text)).toEqual({ majorFaults: 42, swapIn: 5, swapOut: 6 });
    expect(parsePaging('pgmajfault 1\n')).toEqual({ majorFaults: 1, swapIn: 0, swapOut: 0 });
    expect(thrownBy(() => parsePaging('pgfault 1\n'))).toEqual(says('vmstat', 0, 'pgmajfault'));
    expect(thrownBy(() => parsePaging('pgmajfault x\n'))).toEqual(says('vmstat', 0, 'pgmajfault'));
  });
});

describe('cpufreq and cgroup', () => {
  test('a frequency comes in hertz', () => {
    expect(parseFrequency('2400123\n')).toBe(2_400_123_000);
    expect(thrownBy(() => parseFrequency('<unknown>\n'))).toEqual(says('scaling_cur_freq', 1, 'frequency'));
  });
  test('only a version 2 cgroup below the root has pressure of its own', () => {
    expect(cgroupOf('0::/system.slice/encoder@7.service\n')).toBe('/system.slice/encoder@7.service');
    expect(cgroupOf('12:cpu:/x\n0::/a:b/c\n')).toBe('/a:b/c');
    for (const text of ['', '0::/\n', '4:memory:/x\n', '0::/../outside/x\n'])
      expect(cgroupOf(text), text).toBeUndefined();
  });
});

describe('/proc/diskstats', () => {
  const line = (name: string, ticks: number | string) =>
    ` 253 0 ${name} 8 0 64 1 2 0 16 1 0 ${ticks} 9 0 0 0 0 0 0`;
  const disks = new Set(['vda', 'sdb', 'sdc']);
  const none = { readBytes: 0, writtenBytes: 0, busyMs: 0, queuedMs: 0 };
  test('whole disks have bytes of 512-byte sectors, time in use and time in the queue', () => {
    expect(parseDisks(`${line('vda', 120)}\n${line('vda1', 119)}\n`, disks)).toEqual(
      new Map([['vda', { readBytes: 64 * 512, writtenBytes: 16 * 512, busyMs: 120, queuedMs: 9 }]]),
    );
  });
  test('an old or cut line is an error with its number and device', () => {
    expect(thrownBy(() => parseDisks(`${line('vda', 1)}\n 8 1 sdb 5 6 7 8 9 10 11`, disks))).toEqual(
      says('diskstats', 2, 'io_ticks of sdb'),
    );
    expect(thrownBy(() => parseDisks('8 1', disks))).toEqual(says('diskstats', 1, 'device name'));
  });
  test('rates are of disks that were there before; a counter that went back was begun anew', () => {
    const before = new Map([
      ['vda', { readBytes: 1000, writtenBytes: 0, busyMs: 1000, queuedMs: 100 }],
      ['sdb', { ...none, readBytes: 9000, busyMs: 500 }],
    ]);
    const now = new Map([
      ['vda', { readBytes: 3000, writtenBytes: 500, busyMs: 1250, queuedMs: 3100 }],
      ['sdb', { ...none, readBytes: 10, busyMs: 100 }],
      ['sdc', { ...none, busyMs: 9000 }],
    ]);
    const use = diskUse(before, now, 2);
    expect(use).toEqual(
      new Map([
        ['vda', { readBytesPerS: 1000, writtenBytesPerS: 250, busy: 0.125, queue: 1.5 }],
        ['sdb', { readBytesPerS: 0, writtenBytesPerS: 0, busy: 0, queue: 0 }],
      ]),
    );
    expect(busiest(use)).toBe(0.125);
    expect(busiest(new Map())).toBe(0);
    expect(diskUse(before, now, 0).get('vda')).toMatchObject({ busy: 0, readBytesPerS: 0 });
  });
  test('milliseconds wrap at 32 bits', () => {
    const busyMs = 2 ** 32 - 250;
    const use = diskUse(
      new Map([['vda', { ...none, busyMs }]]),
      new Map([['vda', { ...none, busyMs: 250 }]]),
      1,
    );
    expect(use.get('vda')!.busy).toBe(0.5);
  });
});

describe('/proc/net/dev', () => {
  const text = `Inter-|   Receive                            |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes
    lo:    3193      29    0    0    0     0          0         0     3193      29    0    0    0     0       0          0
  eth0:357555672   11005    0    7    0     0          0         0   679098    5000    0    2    0     0       0          0
`;
  test('bytes and drops both ways by interface, also where the number touches the colon', () => {
    expect(parseNetwork(text)).toEqual(
      new Map([
        ['lo', { receivedBytes: 3193, receiveDrops: 0, sentBytes: 3193, sendDrops: 0 }],
        ['eth0', { receivedBytes: 357555672, receiveDrops: 7, sentBytes: 679098, sendDrops: 2 }],
      ]),
    );
  });
  test('a line that is none is an error with its number', () => {
    expect(thrownBy(() => parseNetwork(`${text}what\n`))).toEqual(
      says('net/dev', 5, 'interface and received bytes'),
    );
  });
  test('interfaces with a device count, or all but lo where none has one', () => {
    expect(countedInterfaces(['lo', 'eth0', 'br0'], (name) => name === 'eth0')).toEqual(new Set(['eth0']));
    expect(countedInterfaces(['lo', 'eth0'], () => false)).toEqual(new Set(['eth0']));
  });
  test('a counter that went back and a new interface give no rate; ingress is that of counted interfaces', () => {
    const at = (receivedBytes: number, sentBytes = 0, receiveDrops = 0, sendDrops = 0) => {
      return { receivedBytes, receiveDrops, sentBytes, sendDrops };
    };
    const before = new Map([
      ['eth0', at(1000, 500, 1)],
      ['eth1', at(5000)],
      ['lo', at(0)],
    ]);
    const now = new Map([
      ['eth0', at(2000, 1000, 5, 2)],
      ['eth1', at(10)],
      ['eth2', at(999)],
      ['lo', at(999)],
    ]);
    const use = networkUse(before, now, new Set(['eth0', 'eth1', 'eth2']), 2);
    expect(use.ingressBps).toBe(4000);
    expect(use.interfaces.get('eth0')).toEqual({
      receivedBps: 4000,
      sentBps: 2000,
      receiveDropsPerS: 2,
      sendDropsPerS: 1,
    });
    expect(use.interfaces.get('eth1')!.receivedBps).toBe(0);
    expect([...use.interfaces.keys()]).toEqual(['eth0', 'eth1', 'lo']);
    expect(networkUse(before, now, new Set(['eth0']), 0).ingressBps).toBe(0);
  });
});

describe('/proc/net/udp', () => {
  test('a socket has its inode, waiting bytes and drops', () => {
    const text = `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  310: 0100007F:1388 00000000:0000 07 00000000:00000900 00:00000000 00000000     0        0 41234 2 0000000000000000 17
`;
    expect(parseSockets(text)).toEqual([{ inode: 41234, queueBytes: DATAGRAM_CHARGE_BYTES, drops: 17 }]);
    const tcp = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1234 1 0000000000000000 100 0 0 10 0
`;
    expect(parseSockets(tcp)).toEqual([{ inode: 1234, queueBytes: 0, drops: 0 }]);
    expect(thrownBy(() => parseSockets(`head\n 1: a b c\n`))).toEqual(
      says('net/udp', 2, 'rx_queue and inode'),
    );
  });
});

test('reads the CPU time of a process whose name looks like fields', () => {
  const stat = '7 (ff) S 1 (mpeg) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 5 0 0';
  expect(parseCpuTicks(stat)).toBe(300);
});
