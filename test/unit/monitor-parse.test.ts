import { describe, expect, test } from 'vitest';
import { busiestDisk, parseDisks } from '../../src/monitor/disk.js';
import { DATAGRAM_CHARGE_BYTES, parseIo, parseSockets } from '../../src/monitor/ingress.js';
import { parseLoad } from '../../src/monitor/load.js';
import { parseMemory } from '../../src/monitor/memory.js';
import { countedInterfaces, parseNetwork, receivedBps } from '../../src/monitor/network.js';
import { parsePressure } from '../../src/monitor/pressure.js';

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
  test('the first number is the one-minute load', () => {
    expect(parseLoad('2.71 0.76 0.31 3/412 9127\n')).toBe(2.71);
  });
  test('anything else is an error with its place', () => {
    expect(thrownBy(() => parseLoad('n/a 1 2', '/p/loadavg'))).toEqual(
      says('/p/loadavg', 1, 'the one-minute load'),
    );
    expect(thrownBy(() => parseLoad(''))).toEqual(says('loadavg', 1, 'the one-minute load'));
  });
});

describe('/proc/meminfo', () => {
  const text = 'MemTotal:        4030764 kB\nMemFree:          242424 kB\nMemAvailable:    3100416 kB\n';
  test('total and available come in bytes', () => {
    expect(parseMemory(text)).toEqual({ totalBytes: 4030764 * 1024, availableBytes: 3100416 * 1024 });
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
  test('"some avg10" is a share, "full" is not looked at', () => {
    const text =
      'some avg10=29.57 avg60=18.11 avg300=5.23 total=35275525\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n';
    expect(parsePressure(text)).toBeCloseTo(0.2957, 10);
  });
  test('a text without it is an error', () => {
    expect(thrownBy(() => parsePressure('full avg10=0.00\n'))).toEqual(says('pressure/cpu', 0, 'some avg10'));
    expect(thrownBy(() => parsePressure('some avg60=1.00 \n'))).toEqual(
      says('pressure/cpu', 1, 'some avg10'),
    );
  });
});

describe('/proc/diskstats', () => {
  const line = (name: string, ticks: number | string) =>
    ` 253 0 ${name} 8 0 64 1 2 0 16 1 0 ${ticks} 9 0 0 0 0 0 0`;
  test('the tenth statistic is the time with requests in flight', () => {
    expect(parseDisks(`${line('vda', 120)}\n${line('vda1', 119)}\n`)).toEqual(
      new Map([
        ['vda', 120],
        ['vda1', 119],
      ]),
    );
  });
  test('an old or cut line is an error with its number and device', () => {
    expect(thrownBy(() => parseDisks(`${line('vda', 1)}\n 8 1 sda1 5 6 7`))).toEqual(
      says('diskstats', 2, 'io_ticks of sda1'),
    );
    expect(thrownBy(() => parseDisks('8 1'))).toEqual(says('diskstats', 1, 'device name'));
  });
  test('the busiest whole disk counts; partitions, new disks and counters that went back do not', () => {
    const before = new Map([
      ['vda', 1000],
      ['vda1', 0],
      ['sdb', 500],
    ]);
    const now = new Map([
      ['vda', 1250],
      ['vda1', 999],
      ['sdb', 100],
      ['sdc', 9000],
    ]);
    expect(busiestDisk(before, now, new Set(['vda', 'sdb', 'sdc']), 1)).toBe(0.25);
    expect(busiestDisk(before, new Map([['vda', 9000]]), new Set(['vda']), 1)).toBe(1);
    expect(busiestDisk(before, now, new Set(['vda']), 0)).toBe(0);
  });
});

describe('/proc/net/dev', () => {
  const text = `Inter-|   Receive                            |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes
    lo:    3193      29    0    0    0     0          0         0     3193
  eth0:357555672   11005    0    0    0     0          0         0   679098
`;
  test('received bytes by interface, also where the number touches the colon', () => {
    expect(parseNetwork(text)).toEqual(
      new Map([
        ['lo', 3193],
        ['eth0', 357555672],
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
  test('the rate is of counted interfaces; a counter that went back and a new interface give none', () => {
    const before = new Map([
      ['eth0', 1000],
      ['eth1', 5000],
      ['lo', 0],
    ]);
    const now = new Map([
      ['eth0', 2000],
      ['eth1', 10],
      ['eth2', 999],
      ['lo', 999],
    ]);
    expect(receivedBps(before, now, new Set(['eth0', 'eth1', 'eth2']), 2)).toBe(4000);
  });
});

describe('/proc/PID/io and /proc/net/udp', () => {
  test('rchar is what was read', () => {
    expect(parseIo('rchar: 323934931\nwchar: 323929600\nsyscr: 632687\n')).toBe(323934931);
    expect(thrownBy(() => parseIo('wchar: 1\n', '/p/7/io'))).toEqual(says('/p/7/io', 1, 'rchar'));
  });
  test('a socket has its inode, waiting bytes and drops', () => {
    const text = `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  310: 0100007F:1388 00000000:0000 07 00000000:00000900 00:00000000 00000000     0        0 41234 2 0000000000000000 17
`;
    expect(parseSockets(text)).toEqual([{ inode: '41234', queueBytes: DATAGRAM_CHARGE_BYTES, drops: 17 }]);
    const tcp = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1234 1 0000000000000000 100 0 0 10 0
`;
    expect(parseSockets(tcp)).toEqual([{ inode: '1234', queueBytes: 0, drops: 0 }]);
    expect(thrownBy(() => parseSockets(`head\n 1: a b c\n`))).toEqual(
      says('net/udp', 2, 'rx_queue and inode'),
    );
  });
});
