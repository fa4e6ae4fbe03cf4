import { Level } from 'level';

export type StoreOperation =
  | { readonly type: 'put'; readonly key: string; readonly value: string }
  | { readonly type: 'del'; readonly key: string };

/** What the ledger needs of LevelDB. Passed in, so that tests can make writes fail. */
export interface LedgerStore {
  open(): Promise<void>;
  close(): Promise<void>;
  get(key: string): Promise<string | undefined>;
  batch(operations: StoreOperation[], options: { sync: boolean }): Promise<void>;
  /** In key order. */
  iterator(): AsyncIterable<[string, string]>;
}

export function levelStore(directory: string): LedgerStore {
  return new Level<string, string>(directory, {
    keyEncoding: 'utf8',
    valueEncoding: 'utf8',
    // The whole ledger is in memory; answers are read once in a blue moon.
    cacheSize: 256 * 1024,
  });
}
