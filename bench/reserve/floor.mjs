/** The parts of a Reserve that cannot be left out: one synced put and one run of the model. */
import { join } from 'node:path';
import { dist } from './daemon.mjs';

const { encodeSequence, encodeStatics } = await import(`${dist}/forecast/features.js`);
const { openRegistry } = await import(`${dist}/forecast/registry.js`);
const { systemClock } = await import(`${dist}/lib/clock.js`);
const { levelStore } = await import(`${dist}/reservation/ledger-store.js`);

/** One LevelDB put with sync, of as many bytes as a Reserve writes, beside the daemon's own state. */
export async function openPut(dir, bytes) {
  const store = levelStore(join(dir, 'floor'));
  await store.open();
  const value = 'x'.repeat(bytes);
  let count = 0;
  return {
    run: () => store.batch([{ type: 'put', key: `k${count++}`, value }], { sync: true }),
    close: () => store.close(),
  };
}

/** The model that a fresh daemon uses, on the batch that it was asked for. */
export async function openModelRun(dir, { signature, candidates, schedulableCpus }) {
  const registry = await openRegistry({
    directory: join(dir, 'floor-models'),
    baseline: join(dist, '..', 'models', 'baseline'),
    clock: systemClock,
  });
  const model = registry.inUse();
  if (model === undefined) throw new Error(`no model in use: ${registry.problems().join('; ')}`);
  const { vocabulary } = model.card;
  const statics = encodeStatics(signature, candidates, schedulableCpus, { vocabulary, speedFactor: 1 });
  const sequence = encodeSequence([IDLE]);
  return { id: model.card.id, run: () => model.run(sequence, statics), close: () => registry.close() };
}

const IDLE = {
  busy: 0.1,
  coreSpread: 0.05,
  busiestCore: 0.2,
  memoryUsed: 0.4,
  diskBusy: 0,
  ingressBps: 0,
  queueLength: 0,
  cpuPressure: 0,
  channels: 1,
  reserved: 0.1,
};
