import type { ModelEvidence } from '../forecast/evidence.js';
import type { Run } from '../history/records.js';
import type { ErrorCode } from '../lib/errors.js';
import type { EpochReport } from './fit.js';
import type { TrainedModel, TrainingJob } from './model-maker.js';

/** A checkpoint takes about a millisecond. */
export const CHECKPOINT_MS = 3_000;

export interface TrainingTerms {
  readonly job: TrainingJob;
  /** CPUs that the child may use; empty: all that the parent may. */
  readonly housekeeping: readonly number[];
  /** Where it keeps how far it is, and looks for an interrupted training of the same data and seed. */
  readonly checkpointFile?: string;
  /** Milliseconds between two checkpoints: what a kill may cost. CHECKPOINT_MS when absent. */
  readonly checkpointMs?: number;
  /** Once it has trained for this long it ends with the best so far. */
  readonly budgetMs?: number;
}

/** Parent to trainer-child.ts, by structured clone: one start, any number of runs, one end. */
export type ToTrainer =
  | ({ readonly kind: 'start' } & TrainingTerms)
  | { readonly kind: 'runs'; readonly runs: readonly Run[] }
  | { readonly kind: 'end' };

/** And back: the data, epochs, then one trained or one failed. */
export type FromTrainer =
  | {
      readonly kind: 'data';
      readonly data: ModelEvidence['data'];
      /** Epochs that an interrupted training had done; 0: begins anew. */
      readonly resumedAfter: number;
    }
  | ({ readonly kind: 'epoch'; readonly remainingSeconds: number } & EpochReport)
  | { readonly kind: 'trained'; readonly model: TrainedModel; readonly budgetSpent: boolean }
  | {
      readonly kind: 'failed';
      readonly code: ErrorCode;
      readonly message: string;
      readonly metadata: Readonly<Record<string, string>>;
    };
