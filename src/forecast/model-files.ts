import { type FileHandle, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { messageOf } from '../lib/errors.js';
import { type ModelEvidence, parseEvidence } from './evidence.js';
import { modelInvalid, parseModelCard } from './model-card.js';
import type { ModelCard } from './network.js';

/**
 * The files of the model registry. A model's folder is written under another name, synced and renamed, so that it is
 * there whole or not at all; the record of what is in use likewise.
 */
const MOST_CARD_BYTES = 1 << 20;
const MOST_ONNX_BYTES = 64 << 20;
const MOST_POINTER_BYTES = 1 << 20;
const MOST_EVIDENCE_BYTES = 4 << 20;
/** Folders looked at; more than the registry ever keeps. */
const MOST_FOLDERS = 256;

const POINTER = 'in-use.json';
export const WEIGHTS_FILE = 'weights.bin';
const EVIDENCE_FILE = 'evidence.json';

export async function readModel(
  folder: string,
  { onnx }: { onnx: boolean },
): Promise<{ card: ModelCard; onnx: Uint8Array }> {
  const text = await readBounded(join(folder, 'model.json'), MOST_CARD_BYTES);
  const card = parseModelCard(text.toString('utf8'), folder);
  return {
    card,
    onnx: onnx ? await readBounded(join(folder, 'model.onnx'), MOST_ONNX_BYTES) : new Uint8Array(),
  };
}

/** Undefined where there is none, or none that can be read: it is for people only. */
export async function readEvidence(folder: string): Promise<ModelEvidence | undefined> {
  try {
    const text = await readBounded(join(folder, EVIDENCE_FILE), MOST_EVIDENCE_BYTES);
    return parseEvidence(JSON.parse(text.toString('utf8')));
  } catch {
    return undefined;
  }
}

export interface ModelParts {
  readonly card: ModelCard;
  readonly onnx: Uint8Array;
  readonly weights?: Uint8Array | undefined;
  readonly evidence?: ModelEvidence | undefined;
}

export async function writeModel(
  directory: string,
  { card, onnx, weights, evidence }: ModelParts,
): Promise<void> {
  const temporary = join(directory, `.new-${card.id}`);
  await rm(temporary, { recursive: true, force: true });
  await mkdir(temporary, { recursive: true });
  try {
    await writeSynced(join(temporary, 'model.onnx'), onnx);
    if (weights !== undefined) await writeSynced(join(temporary, card.weightsFile ?? WEIGHTS_FILE), weights);
    if (evidence !== undefined)
      await writeSynced(join(temporary, EVIDENCE_FILE), `${JSON.stringify(evidence)}\n`);
    await writeSynced(join(temporary, 'model.json'), `${JSON.stringify(card, null, 1)}\n`);
    await syncFolder(temporary);
    await removeModel(directory, card.id);
    await rename(temporary, join(directory, card.id));
    await syncFolder(directory);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true }).catch(() => undefined);
    throw error;
  }
}

/** Renamed first: a removal that is cut short leaves no half model behind. */
export async function removeModel(directory: string, id: string): Promise<void> {
  const doomed = join(directory, `.old-${id}`);
  await rm(doomed, { recursive: true, force: true });
  try {
    await rename(join(directory, id), doomed);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  await rm(doomed, { recursive: true, force: true });
}

export async function listModelIds(directory: string): Promise<string[]> {
  try {
    const entries = await readdir(directory, { withFileTypes: true });
    const folders = entries.filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'));
    return folders.map(({ name }) => name).slice(0, MOST_FOLDERS);
  } catch {
    return [];
  }
}

export type InUseRecord = z.infer<typeof inUseSchema>;

/** Undefined when nothing was ever promoted here. */
export async function readInUse(directory: string): Promise<InUseRecord | undefined> {
  let text: Buffer;
  try {
    text = await readBounded(join(directory, POINTER), MOST_POINTER_BYTES);
  } catch (error) {
    if (error instanceof Error && causeCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  return inUseSchema.parse(JSON.parse(text.toString('utf8')));
}

export async function writeInUse(directory: string, record: Omit<InUseRecord, 'format'>): Promise<void> {
  const temporary = join(directory, `.${POINTER}.new`);
  await writeSynced(temporary, `${JSON.stringify({ format: 1, ...record }, null, 1)}\n`);
  await rename(temporary, join(directory, POINTER));
  await syncFolder(directory);
}

async function readBounded(path: string, mostBytes: number): Promise<Buffer> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, 'r');
    const { size } = await file.stat();
    if (size > mostBytes) throw new Error(`it has ${size} bytes; at most ${mostBytes} are read`);
    return await file.readFile();
  } catch (error) {
    throw modelInvalid(path, [messageOf(error)], error);
  } finally {
    await file?.close();
  }
}

async function writeSynced(path: string, content: Uint8Array | string): Promise<void> {
  const file = await open(path, 'w', 0o644);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function causeCode(error: Error): string | undefined {
  return (error.cause as NodeJS.ErrnoException | undefined)?.code;
}

const id = z.string().min(1).max(64);
const inUseSchema = z.object({
  format: z.literal(1),
  promotions: z
    .array(
      z.object({
        id,
        atMs: z.number().min(0),
        reason: z.string().max(1000),
        by: z.string().max(64).default(''),
      }),
    )
    .max(1000),
  barred: z
    .array(z.object({ id, reason: z.string().max(1000) }))
    .max(1000)
    .default([]),
  trials: z
    .array(z.object({ kind: z.enum(['shadow', 'watch']), id, sinceMs: z.number().min(0) }))
    .max(8)
    .default([]),
});
