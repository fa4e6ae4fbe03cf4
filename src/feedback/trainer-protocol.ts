import type { Run } from '../history/records.js';
import type { ErrorCode } from '../lib/errors.js';
import type { EpochReport } from './fit.js';
import type { TrainedModel, TrainingJob } from './model-maker.js';

/** Parent to trainer-child.ts, by structured clone: one start, any number of runs, one end. */
export type ToTrainer =
  | { readonly kind: 'start'; readonly job: TrainingJob; readonly housekeeping: readonly number[] }
  | { readonly kind: 'runs'; readonly runs: readonly Run[] }
  | { readonly kind: 'end' };

/** And back: epochs, then one trained or one failed. */
export type FromTrainer =
  | ({ readonly kind: 'epoch'; readonly remainingSeconds: number } & EpochReport)
  | { readonly kind: 'trained'; readonly model: TrainedModel }
  | {
      readonly kind: 'failed';
      readonly code: ErrorCode;
      readonly message: string;
      readonly metadata: Readonly<Record<string, string>>;
    };
