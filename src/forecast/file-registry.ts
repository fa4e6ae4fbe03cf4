import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { CorecastError, messageOf } from '../lib/errors.js';
import type { ModelEvidence } from './evidence.js';
import { type Model, openModel } from './inference.js';
import { checkModelCard, checkModelId, modelInvalid } from './model-card.js';
import {
  type InUseRecord,
  listModelIds,
  type ModelParts,
  readEvidence,
  readInUse,
  readModel,
  removeModel,
  writeInUse,
  writeModel,
} from './model-files.js';
import type { ModelCard } from './network.js';
import type {
  ListedModel,
  ModelChange,
  ModelRegistry,
  Promotion,
  RegistryOptions,
  Trial,
} from './registry.js';

const MOST_PROMOTIONS = 32;
const MOST_BARRED = 256;
const NOTHING: Omit<InUseRecord, 'format'> = { promotions: [], barred: [], trials: [] };
const MOST_PROBLEMS = 32;

/** registry.ts says what it does; this does it, on files. */
export class FileRegistry implements ModelRegistry {
  readonly #options: RegistryOptions;
  readonly #keep: number;
  #record = NOTHING;
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
      this.#record = (await readInUse(this.#options.directory)) ?? NOTHING;
    } catch (error) {
      this.#note(`the record of promotions cannot be read: ${messageOf(error)}`);
    }
    const promotions = [...this.#record.promotions];
    while (this.#model === undefined && promotions.length > 0) {
      this.#model = await this.#tryLoad(promotions.at(-1)!.id);
      if (this.#model === undefined) promotions.pop();
    }
    // Trials beside a model that is gone have lost what they were compared with.
    const trials = promotions.length === this.#record.promotions.length ? this.#record.trials : [];
    this.#record = { ...this.#record, promotions, trials };
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

  async evidence(id: string): Promise<ModelEvidence | undefined> {
    return readEvidence(await this.folder(id));
  }

  install(parts: ModelParts): Promise<void> {
    const { card, onnx } = parts;
    return this.#exclusive(async () => {
      checkModelCard(card, card.id);
      if ((await this.#baselineId()) === card.id) throw modelInvalid(card.id, ['the baseline has this id']);
      if (this.#model?.card.id === card.id)
        throw modelInvalid(card.id, ['a model in use cannot be replaced']);
      const model = await openModel(card, onnx, this.#options.createSession);
      model.retire();
      await writeModel(this.#options.directory, parts);
      await this.#prune(card.id);
    });
  }

  promote(id: string, { reason = 'asked for', by = '', trials = [] }: ModelChange = {}): Promise<ModelCard> {
    return this.#exclusive(async () => {
      if (this.#model?.card.id === id) return this.#model.card;
      const model = await this.load(id);
      const atMs = this.#options.clock.nowMs();
      const { promotions } = this.#record;
      // What is in use without a promotion (the baseline) becomes the first entry, so that a rollback finds it.
      const before =
        promotions.length === 0 && this.#model !== undefined
          ? [{ id: this.#model.card.id, atMs, reason: 'in use from the start', by: '' }]
          : promotions;
      const promotion = { id, atMs, reason: reason.slice(0, 500), by };
      return this.#use(model, { ...this.#record, promotions: [...before, promotion], trials: [...trials] });
    });
  }

  rollback({ reason = 'asked for', trials = [], bar = false }: ModelChange = {}): Promise<ModelCard> {
    return this.#exclusive(async () => {
      const gone = this.#model?.card.id;
      const barred =
        bar && gone !== undefined
          ? [
              ...this.#record.barred.filter(({ id }) => id !== gone),
              { id: gone, reason: reason.slice(0, 500) },
            ]
          : this.#record.barred;
      const rest = this.#record.promotions.slice(0, -1);
      const record = { barred: barred.slice(-MOST_BARRED), trials: [...trials] };
      while (rest.length > 0) {
        const { id } = rest.at(-1)!;
        const model = id === gone ? undefined : await this.#tryLoad(id);
        if (model !== undefined) return this.#use(model, { ...record, promotions: rest });
        rest.pop();
      }
      const baseline = this.#model?.card.origin === 'baseline' ? undefined : await this.#tryBaseline();
      if (baseline !== undefined) return this.#use(baseline, { ...record, promotions: [] });
      throw new CorecastError('WRONG_STATE', 'no model was in use before this one');
    });
  }

  promotions(): readonly Promotion[] {
    return this.#record.promotions;
  }

  trials(): readonly Trial[] {
    return this.#record.trials;
  }

  setTrials(trials: readonly Trial[]): Promise<void> {
    return this.#exclusive(() => this.#write({ ...this.#record, trials: [...trials] }));
  }

  barred(id: string): string | undefined {
    return this.#record.barred.find((each) => each.id === id)?.reason;
  }

  problems(): readonly string[] {
    return this.#problems;
  }

  close(): void {
    this.#model?.retire();
    this.#model = undefined;
  }

  async #use(model: Model, record: Omit<InUseRecord, 'format'>): Promise<ModelCard> {
    try {
      await this.#write(record);
    } catch (error) {
      model.retire();
      throw error;
    }
    const old = this.#model;
    this.#model = model;
    old?.retire();
    return model.card;
  }

  /** Durable first: a crash in between leaves the record ahead of the memory that is gone anyway. */
  async #write(record: Omit<InUseRecord, 'format'>): Promise<void> {
    const kept = { ...record, promotions: record.promotions.slice(-MOST_PROMOTIONS) };
    try {
      await writeInUse(this.#options.directory, kept);
    } catch (error) {
      throw new CorecastError('STORE_FAILED', `cannot record the model in use: ${messageOf(error)}`, {
        cause: error,
      });
    }
    this.#record = kept;
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
    const { promotions, trials } = this.#record;
    const needed = new Set([
      newest,
      this.#model?.card.id,
      promotions.at(-2)?.id,
      ...trials.map(({ id }) => id),
    ]);
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
