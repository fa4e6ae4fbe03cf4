import { once } from 'node:events';
import type { Writable } from 'node:stream';

/** Writes, and waits while the reader is slower: what is read from the daemon does not pile up here. */
export async function writeTo(out: Writable, text: string): Promise<void> {
  if (text === '' || out.destroyed) return;
  if (!out.write(text)) await Promise.race([once(out, 'drain'), once(out, 'close')]);
}
