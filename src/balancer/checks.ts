import type { Check, DecideInput } from './decide.js';
import { memoryOf } from './memory.js';
import { bitrate, bytes, count } from './words.js';

const MIB = 2 ** 20;

/** Undefined while nothing is known of the host's memory. */
export function memoryCheck(input: DecideInput, cpuCount: number): Check | undefined {
  const { memory, limits, request } = input;
  if (memory === undefined) return undefined;
  const reserve = limits.memory_reserve_mb * MIB;
  const needed = memoryOf(request.signature, cpuCount);
  const available = Math.max(0, memory.availableBytes - reserve);
  return {
    reason: {
      code: 'MEMORY',
      text: `will hold up to about ${bytes(needed)} of memory; ${bytes(available)} is available above the reserve of ${bytes(reserve)}`,
      needed,
      available,
      unit: 'bytes',
      passed: needed <= available,
    },
    possible: needed <= memory.totalBytes - reserve,
  };
}

/** Undefined when there is no limit. */
export function ingressCheck(input: DecideInput): Check | undefined {
  const limit = input.limits.ingress_bps;
  if (limit <= 0) return undefined;
  const needed = input.request.signature.input.bitrateBps;
  const available = Math.max(0, limit - Math.max(input.ingressReservedBps, input.host?.ingressBps ?? 0));
  return {
    reason: {
      code: 'INGRESS',
      text: `brings in ${bitrate(needed)}; ${bitrate(available)} of the host's ${bitrate(limit)} is left`,
      needed,
      available,
      unit: 'bits/s',
      passed: needed <= available,
    },
    possible: needed <= limit,
  };
}

export function channelCheck({ channels, limits }: DecideInput): Check {
  return {
    reason: {
      code: 'CHANNEL_LIMIT',
      text: `${count(channels, 'channel')} of at most ${limits.channels} hold a reservation`,
      needed: channels + 1,
      available: limits.channels,
      unit: 'channels',
      passed: channels < limits.channels,
    },
    possible: true,
  };
}

/** Undefined when nobody is to be let go first. */
export function queueCheck({ queuedAhead }: DecideInput): Check | undefined {
  if (queuedAhead === 0) return undefined;
  const wait = queuedAhead === 1 ? '1 request waits' : `${queuedAhead} requests wait`;
  return {
    reason: {
      code: 'QUEUE_AHEAD',
      text: `${wait} ahead of it, with at least its priority`,
      needed: queuedAhead,
      available: 0,
      unit: 'channels',
      passed: false,
    },
    possible: true,
  };
}

/** Undefined while admission is open. */
export function admissionCheck({ closedReason }: DecideInput): Check | undefined {
  if (closedReason === '') return undefined;
  return {
    reason: {
      code: 'ADMISSION_CLOSED',
      text: `no channel is admitted now: ${closedReason}`,
      needed: 1,
      available: 0,
      unit: 'channels',
      passed: false,
    },
    possible: true,
  };
}
