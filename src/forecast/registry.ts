import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../lib/clock.js';
import { CorecastError, messageOf } from '../lib/errors.js';
import { type Model, openModel, type SessionFactory } from './inference.js';
import { checkModelCard, checkModelId, modelInvalid } from './model-card.js';
import {
  listModelIds,
  readModel,
  readPointer,
  removeModel,
  writeModel,
  writePointer,
} from './model-files.js';
import type { ModelCard } from './network.js';

/**
 * The models of this host: those installed under DIRECTORY/ID/{model.onnx,model.json,weights.bin} and the baseline
 * that ships with corecast. Which one is in use stands in DIRECTORY/in-use.json as the list of promotions, newest last,
 * so that a rollback knows where to go. Nothing that is missing or damaged stops the daemon: at the start the newest
 * promotion that loads is used, else the baseline, else none, and `problems` says what was wrong.
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
  /** Stores a model durably, without using it. Throws MODEL_INVALID and stores nothing when it does not load. */
  install(card: ModelCard, onnx: Uint8Array, weights?: Uint8Array): Promise<void>;
  /** Puts a model in use, durably; runs under way end on the old one. Throws NOT_FOUND, MODEL_INVALID. */
  promote(id: string, reason?: string): Promise<ModelCard>;
  /** Back to the model used before this one. Throws WRONG_STATE when there is none. */
  rollback(): Promise<ModelCard>;
  /** Newest last, at most 32. */
  promotions(): readonly Promotion[];
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

const MOST_PROMOTIONS = 32;
const MOST_PROBLEMS = 32;

/** Never rejects because of the files it finds. */
export async function openRegistry(options: RegistryOptions): Promise<ModelRegistry> {
  const registry = new FileRegistry(options);
  await registry.start();
  return registry;
}

class FileRegistry implements ModelRegistry {
  readonly #options: RegistryOptions;
  readonly #keep: number;
  #promotions: Promotion[] = [];
  #model: Model | undefined;
  readonly #problems: string[] = [];
  /** Changes happen one after the other. */
  #tail: Promise<unknown> = Promise.resolve();

  constructor(options: RegistryOptions) {
    this.#options = options;
    this.#keep = options.keep ?? 8;
  }

  async start(): Promise<void> {
    try {
      await mkdir(this.#options.directory, { recursive: true });
      this.#promotions = (await readPointer(this.#options.directory)) ?? [];
    } catch (error) {
      this.#note(`the record of promotions cannot be read: ${messageOf(error)}`);
    }
    while (this.#model === undefined && this.#promotions.length > 0) {
      const { id } = this.#promotions.at(-1)!;
      this.#model = await this.#tryLoad(id);
      if (this.#model === undefined) this.#promotions.pop();
    }
    this.#model ??= await this.#tryBaseline();
  }

  async list(): Promise<readonly ListedModel[]> {
    const listed: ListedModel[] = [];
    for (const folder of await this.#folders()) {
      try {
        const { card } = await readModel(folder, { onnx: false });
        listed.push({ card, inUse: card.id === this.#model?.card.id });
      } catch {
        // Not a model, or one of another version: load() says why to whoever asks for it.
      }
    }
    return listed.sort((a, b) => b.card.trainedMs - a.card.trainedMs);
  }

  inUse(): Model | undefined {
    return this.#model;
  }

  async load(id: string): Promise<Model> {
    const { card, onnx } = await readModel(await this.folder(id), { onnx: true });
    if (card.id !== id) throw modelInvalid(id, [`its card says ${card.id}`]);
    return openModel(card, onnx, this.#options.createSession);
  }

  async folder(id: string): Promise<string> {
    checkModelId(id);
    if ((await listModelIds(this.#options.directory)).includes(id)) return join(this.#options.directory, id);
    if ((await this.#baselineId()) === id) return this.#options.baseline;
    throw new CorecastError('NOT_FOUND', `there is no model ${id}; \`corecast models\` lists them`, {
      metadata: { model: id },
    });
  }

  install(card: ModelCard, onnx: Uint8Array, weights?: Uint8Array): Promise<void> {
    return this.#exclusive(async () => {
      checkModelCard(card, card.id);
      if ((await this.#baselineId()) === card.id) throw modelInvalid(card.id, ['the baseline has this id']);
      if (this.#model?.card.id === card.id)
        throw modelInvalid(card.id, ['a model in use cannot be replaced']);
      const model = await openModel(card, onnx, this.#options.createSession);
      model.retire();
      await writeModel(this.#options.directory, card, onnx, weights);
      await this.#prune(card.id);
    });
  }

  promote(id: string, reason = 'asked for'): Promise<ModelCard> {
    return this.#exclusive(async () => {
      if (this.#model?.card.id === id) return this.#model.card;
      const model = await this.load(id);
      const promotion = { id, atMs: this.#options.clock.nowMs(), reason: reason.slice(0, 500) };
      // What is in use without a promotion (the baseline) becomes the first entry, so that a rollback finds it.
      const before =
        this.#promotions.length === 0 && this.#model !== undefined
          ? [{ id: this.#model.card.id, atMs: promotion.atMs, reason: 'in use from the start' }]
          : this.#promotions;
      return this.#use(model, [...before, promotion]);
    });
  }

  rollback(): Promise<ModelCard> {
    return this.#exclusive(async () => {
      const rest = this.#promotions.slice(0, -1);
      while (rest.length > 0) {
        const { id } = rest.at(-1)!;
        const model = id === this.#model?.card.id ? undefined : await this.#tryLoad(id);
        if (model !== undefined) return this.#use(model, rest);
        rest.pop();
      }
      const baseline = this.#model?.card.origin === 'baseline' ? undefined : await this.#tryBaseline();
      if (baseline !== undefined) return this.#use(baseline, []);
      throw new CorecastError('WRONG_STATE', 'no model was in use before this one');
    });
  }

  promotions(): readonly Promotion[] {
    return this.#promotions;
  }

  problems(): readonly string[] {
    return this.#problems;
  }

  close(): void {
    this.#model?.retire();
    this.#model = undefined;
  }

  /** Durable first: a crash in between leaves the record ahead of the memory that is gone anyway. */
  async #use(model: Model, promotions: Promotion[]): Promise<ModelCard> {
    const kept = promotions.slice(-MOST_PROMOTIONS);
    try {
      await writePointer(this.#options.directory, kept);
    } catch (error) {
      model.retire();
      throw new CorecastError('STORE_FAILED', `cannot record the model in use: ${messageOf(error)}`, {
        cause: error,
      });
    }
    const old = this.#model;
    this.#model = model;
    this.#promotions = kept;
    old?.retire();
    return model.card;
  }

  async #tryLoad(id: string): Promise<Model | undefined> {
    try {
      return await this.load(id);
    } catch (error) {
      this.#note(messageOf(error));
      return undefined;
    }
  }

  async #tryBaseline(): Promise<Model | undefined> {
    try {
      const { card, onnx } = await readModel(this.#options.baseline, { onnx: true });
      return await openModel(card, onnx, this.#options.createSession);
    } catch (error) {
      this.#note(`baseline: ${messageOf(error)}`);
      return undefined;
    }
  }

  async #baselineId(): Promise<string | undefined> {
    try {
      return (await readModel(this.#options.baseline, { onnx: false })).card.id;
    } catch {
      return undefined;
    }
  }

  async #folders(): Promise<string[]> {
    const ids = await listModelIds(this.#options.directory);
    return [...ids.map((id) => join(this.#options.directory, id)), this.#options.baseline];
  }

  async #prune(newest: string): Promise<void> {
    const needed = new Set([newest, this.#model?.card.id, this.#promotions.at(-2)?.id]);
    const installed = (await this.list()).map(({ card }) => card.id);
    const ids = await listModelIds(this.#options.directory);
    // Unreadable ones are not in the list and count as the oldest.
    const ordered = [
      ...installed.filter((id) => ids.includes(id)),
      ...ids.filter((id) => !installed.includes(id)),
    ];
    const spare = ordered.filter((id) => !needed.has(id));
    const room = Math.max(0, this.#keep - (ordered.length - spare.length));
    for (const id of spare.slice(room)) await removeModel(this.#options.directory, id);
  }

  #note(problem: string): void {
    this.#problems.push(problem);
    if (this.#problems.length > MOST_PROBLEMS) this.#problems.shift();
  }

  #exclusive<T>(change: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(change);
    this.#tail = result.catch(() => undefined);
    return result;
  }
}
