import { costTableDemand } from '../../src/forecast/cost-table.js';
import type { HostState } from '../../src/forecast/forecast.js';
import type { Signature } from '../../src/forecast/signature.js';
import type { Run, RunSample } from '../../src/history/records.js';
import { IDLE_HOST, output, signatureOf } from './forecast-signatures.js';
import { seededRandom } from './seeded-random.js';

const PRESETS = ['ultrafast', 'veryfast', 'fast', 'medium'];
const SIZES = [
  [640, 360],
  [1280, 720],
  [1920, 1080],
] as const;
const START_MS = 1_760_000_000_000;
const SCHEDULABLE = 8;

export interface MadeRuns {
  readonly seed: number;
  readonly sources: number;
  readonly runsPerSource: number;
  readonly origin?: Run['origin'];
  /** Samples of each run; 1 for calibration when absent, 40 for live. */
  readonly samples?: number;
}

/**
 * Runs of a made-up world with a law to learn: demand is the cost table's estimate times a difficulty of the source that
 * shows in its bits per pixel, times some noise that lasts.
 */
export function madeRuns({ seed, sources, runsPerSource, origin = 'live', samples }: MadeRuns): Run[] {
  const random = seededRandom(seed);
  const runs: Run[] = [];
  for (let source = 0; source < sources; source++) {
    const difficulty = 2 * random() - 1;
    for (let i = 0; i < runsPerSource; i++) {
      const count = samples ?? (origin === 'calibration' ? 1 : 40);
      runs.push(madeRun(random, origin, `source-${source}`, difficulty, source * runsPerSource + i, count));
    }
  }
  return runs;
}

function madeRun(
  random: () => number,
  origin: Run['origin'],
  source: string,
  difficulty: number,
  index: number,
  count: number,
): Run {
  const [width, height] = SIZES[Math.floor(random() * SIZES.length)]!;
  const preset = PRESETS[Math.floor(random() * PRESETS.length)]!;
  const signature = signatureOf([output({ preset, width, height })], {
    bitsPerPixel: 0.1 * Math.exp(difficulty),
  });
  const background = random() * 0.3;
  const host: HostState = { ...IDLE_HOST, busy: background, busiestCore: background };
  const all = madeSamples(random, signature, difficulty, host, count);
  const wallSeconds = all.length * 5;
  const cpuSeconds = all.reduce((sum, { demandCores }) => sum + demandCores * 5, 0);
  return {
    id: `run-${index}`,
    origin,
    startedMs: START_MS + index * 600_000,
    signature,
    cpuCount: 2,
    schedulableCpus: SCHEDULABLE,
    hostBefore: new Array<HostState>(12).fill(host),
    samples: all,
    cpuSeconds,
    wallSeconds,
    mediaSeconds: wallSeconds,
    source,
  };
}

function madeSamples(
  random: () => number,
  signature: Signature,
  difficulty: number,
  host: HostState,
  count: number,
): RunSample[] {
  const level = costTableDemand(signature) * Math.exp(0.7 * difficulty);
  let drift = 0;
  return Array.from({ length: count }, (_, i) => {
    drift = 0.9 * drift + 0.1 * (random() - 0.5);
    const demandCores = level * Math.exp(drift + 0.05 * (random() - 0.5));
    const hostLoad = Math.min(1, host.busy + demandCores / SCHEDULABLE);
    return {
      atS: (i + 1) * 5,
      demandCores,
      coreUsage: [Math.min(1, demandCores * 0.6), Math.min(1, demandCores * 0.4)],
      hostLoad,
      ingressBps: signature.input.bitrateBps,
      speed: 1,
      host: { ...host, busy: hostLoad, channels: 1 },
    };
  });
}
