import type { HostDetail, ProcessSample } from '../../src/monitor/sample.js';

/** A host of nothing in particular that does nothing. */
export const hostDetail: HostDetail = {
  cpus: new Map(),
  frequencyHz: new Map(),
  load: { load1m: 0, load5m: 0, load15m: 0, runnable: 0 },
  memory: { totalBytes: 2, availableBytes: 1, swapTotalBytes: 0, swapUsedBytes: 0 },
  paging: { majorFaultsPerS: 0, swapInPagesPerS: 0, swapOutPagesPerS: 0 },
  disks: new Map(),
  interfaces: new Map(),
  pressure: { cpu: 0, memory: 0, io: 0, memoryFull: 0, ioFull: 0, memoryNow: 0 },
  gpus: [],
};

/** A process that does nothing. */
export const processSample: ProcessSample = {
  pid: 7,
  cores: 0,
  coresByCpu: new Map(),
  waitCores: 0,
  busiestThreadCores: 0,
  switchesPerS: 0,
  cpuSeconds: 0,
  threads: 1,
  widestMask: Number.NaN,
  rssBytes: 1,
  majorFaultsPerS: 0,
  ingressBps: Number.NaN,
  sockets: { datagrams: 0, dropped: 0, bytes: 0 },
  pressure: undefined,
};
