import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '../..');

/** Compiles ledger-writer.ts to plain JavaScript that node runs as a child; below build/, so that it finds its packages. */
export function buildLedgerWriter(): { script: string; remove(): void } {
  mkdirSync(join(ROOT, 'build'), { recursive: true });
  const out = mkdtempSync(join(ROOT, 'build', 'ledger-writer-'));
  writeFileSync(
    join(out, 'tsconfig.json'),
    JSON.stringify({
      extends: join(ROOT, 'tsconfig.json'),
      compilerOptions: { outDir: join(out, 'js'), rootDir: ROOT, sourceMap: false },
      include: [],
      files: [join(ROOT, 'test/support/ledger-writer.ts')],
    }),
  );
  writeFileSync(join(out, 'package.json'), JSON.stringify({ type: 'module' }));
  execFileSync(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', out], {
    stdio: 'pipe',
  });
  return {
    script: join(out, 'js/test/support/ledger-writer.js'),
    remove: () => rmSync(out, { recursive: true, force: true }),
  };
}
