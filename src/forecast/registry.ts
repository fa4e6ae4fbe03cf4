import type { Clock } from '../lib/clock.js';
import type { ModelEvidence } from './evidence.js';
import { FileRegistry } from './file-registry.js';
import type { Model, SessionFactory } from './inference.js';
import type { ModelParts } from './model-files.js';
import type { ModelCard } from './network.js';

/**
 * The models of this host: those installed under DIRECTORY/ID/{model.onnx,model.json,weights.bin,evidence.json} and the
 * baseline that ships with corecast. DIRECTORY/in-use.json says which one is in use, as the list of promotions, newest
 * last, so that a rollback knows where to go; which run beside it, to be judged live; and which are barred from being
 * promoted by anybody but a person. Each change of it is one write, so that a restart finds them as they were. Nothing
 * that is missing or damaged stops the daemon: at the start the newest promotion that loads is used, else the baseline,
 * else none, and `problems` says what was wrong.
 */
export interface ModelRegistry {
  /** All models with a readable card, newest first. */
  list(): Promise<readonly ListedModel[]>;
  /** Undefined when no model can be used. */
  inUse(): Model | undefined;
  /** A freshly opened model; the caller retires it. Throws NOT_FOUND, MODEL_INVALID. */
  load(id: string): Promise<Model>;
  /** The folder of a model, for the trainer's warm start. Throws NOT_FOUND. */
  folder(id: string): Promise<string>;
  /** What it was made from and how it did; undefined where nothing is kept. Throws NOT_FOUND. */
  evidence(id: string): Promise<ModelEvidence | undefined>;
  /** Stores a model durably, without using it. Throws MODEL_INVALID and stores nothing when it does not load. */
  install(model: ModelParts): Promise<void>;
  /** Puts a model in use, durably; runs under way end on the old one. Throws NOT_FOUND, MODEL_INVALID. */
  promote(id: string, change?: ModelChange): Promise<ModelCard>;
  /** Back to the model used before this one. Throws WRONG_STATE when there is none. */
  rollback(change?: ModelChange): Promise<ModelCard>;
  /** Newest last, at most 32. */
  promotions(): readonly Promotion[];
  /** Models beside the one in use, at most two. */
  trials(): readonly Trial[];
  setTrials(trials: readonly Trial[]): Promise<void>;
  /** Why a model may not be promoted again; undefined when it may. */
  barred(id: string): string | undefined;
  /** What was wrong with files since the start, for the log and the operator. */
  problems(): readonly string[];
  close(): void;
}

export interface ListedModel {
  readonly card: ModelCard;
  readonly inUse: boolean;
}

export interface Promotion {
  readonly id: string;
  readonly atMs: number;
  readonly reason: string;
  /** "uid N", "schedule", "shadow" or "alarm"; empty for what was in use from the start. */
  readonly by: string;
}

/** A model that answers beside the one in use, its answers kept and never used. */
export interface Trial {
  /** 'shadow': a candidate, to be promoted if it is better. 'watch': the predecessor, to come back if it was better. */
  readonly kind: 'shadow' | 'watch';
  readonly id: string;
  /** Unix milliseconds: outcomes from then on count. */
  readonly sinceMs: number;
}

export interface ModelChange {
  readonly reason?: string;
  readonly by?: string;
  /** The trials from then on; none when absent. */
  readonly trials?: readonly Trial[];
  /** Of a rollback: the model that goes is barred. */
  readonly bar?: boolean;
}

export interface RegistryOptions {
  /** `<state>/models`; created when missing. */
  readonly directory: string;
  /** Folder of the baseline that ships: models/baseline. */
  readonly baseline: string;
  readonly clock: Clock;
  /** Installed models kept; the oldest that are neither in use nor next for a rollback go first. */
  readonly keep?: number;
  readonly createSession?: SessionFactory;
}

/** Never rejects because of the files it finds. */
export async function openRegistry(options: RegistryOptions): Promise<ModelRegistry> {
  const registry = new FileRegistry(options);
  await registry.start();
  return registry;
}
