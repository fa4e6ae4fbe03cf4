import os from 'node:os';
import { messageOf } from '../lib/errors.js';

export interface Inventory {
  readonly hostname: string;
  readonly cpuModel: string;
  readonly memoryBytes: number;
  /** Names of graphics controllers; empty when there are none or they could not be asked. */
  readonly gpus: readonly string[];
  /** What could not be found out, in sentences. */
  readonly notes: readonly string[];
}

/**
 * What the host is made of. Read once at start: systeminformation starts processes (lscpu, lspci, nvidia-smi) that may take
 * seconds or hang, so each question has a time limit, and what Node itself knows stands in.
 */
export async function readInventory({ timeoutMs = 3_000 } = {}): Promise<Inventory> {
  const notes: string[] = [];
  const ask = async <T>(what: string, question: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await within(timeoutMs, question());
    } catch (error) {
      notes.push(`${what} could not be read: ${messageOf(error)}`);
      return undefined;
    }
  };
  // Loaded here: it starts programs as it is loaded, and the daemon has callers to answer first.
  const { default: si } = await import('systeminformation');
  const [cpu, memory, graphics] = await Promise.all([
    ask('CPU model', () => si.cpu()),
    ask('memory size', () => si.mem()),
    ask('GPUs', () => si.graphics()),
  ]);
  const model = [cpu?.manufacturer, cpu?.brand].filter(Boolean).join(' ');
  return {
    // Not si.osInfo(): it runs programs synchronously, and the event loop stands still for tens of milliseconds.
    hostname: os.hostname(),
    cpuModel: model || os.cpus()[0]?.model || 'unknown',
    memoryBytes: memory?.total || os.totalmem(),
    gpus: (graphics?.controllers ?? []).map(({ vendor, model: name }) =>
      [vendor, name].filter(Boolean).join(' '),
    ),
    notes,
  };
}

async function within<T>(timeoutMs: number, answer: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}
