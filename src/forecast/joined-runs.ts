import { OUTPUTS } from './network.js';

/** Raw features in, `statics.length` rows of OUTPUTS numbers out. */
export type Run = (sequence: Float32Array, statics: readonly Float32Array[]) => Promise<Float32Array>;

/** Rows of one batch: the most candidates that one request has, and what keeps a run within milliseconds. */
const MOST_ROWS = 256;

interface Waiting {
  readonly sequence: Float32Array;
  readonly statics: readonly Float32Array[];
  resolve(output: Float32Array): void;
  reject(error: unknown): void;
}

/**
 * Runs that are asked for while one is under way go together, as one batch: much of what a small run costs is the way in
 * and out of onnxruntime, not the network. Only those of the same sequence can: new channels of one moment have the
 * host's, and rows of a batch know nothing of each other. A run that is asked for alone waits for nobody.
 */
export function joinRuns(run: Run): Run {
  let waiting: Waiting[] = [];
  let draining = false;

  const drain = async (): Promise<void> => {
    draining = true;
    while (waiting.length > 0) {
      const group = nextGroup(waiting);
      waiting = waiting.filter((one) => !group.includes(one));
      await runTogether(run, group);
    }
    draining = false;
  };
  return (sequence, statics) =>
    new Promise((resolve, reject) => {
      waiting.push({ sequence, statics, resolve, reject });
      if (!draining) void drain();
    });
}

/** The first, and all that can go with it. */
function nextGroup(waiting: readonly Waiting[]): Waiting[] {
  const first = waiting[0]!;
  let rows = 0;
  return waiting.filter((one) => {
    if (
      one !== first &&
      (rows + one.statics.length > MOST_ROWS || !sameNumbers(one.sequence, first.sequence))
    )
      return false;
    rows += one.statics.length;
    return true;
  });
}

async function runTogether(run: Run, group: readonly Waiting[]): Promise<void> {
  try {
    const output = await run(
      group[0]!.sequence,
      group.flatMap(({ statics }) => statics),
    );
    let row = 0;
    for (const { statics, resolve } of group) {
      resolve(output.slice(row * OUTPUTS, (row + statics.length) * OUTPUTS));
      row += statics.length;
    }
  } catch (error) {
    if (group.length === 1) group[0]!.reject(error);
    // One of them may have spoilt it for all.
    else for (const one of group) await runTogether(run, [one]);
  }
}

function sameNumbers(a: Float32Array, b: Float32Array): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}
