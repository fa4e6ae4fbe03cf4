import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '../..');

/**
 * Compiles the trainer's process to plain JavaScript that node can fork, and what else is named. The addons and models
 * are where the compiled code looks for them, two folders up.
 */
export function buildTrainer(files: readonly string[] = ['feedback/trainer-child.ts']): {
  file(name: string): string;
  remove(): void;
} {
  mkdirSync(join(ROOT, 'build'), { recursive: true });
  const out = mkdtempSync(join(ROOT, 'build', 'trainer-'));
  writeFileSync(
    join(out, 'tsconfig.json'),
    JSON.stringify({
      extends: join(ROOT, 'tsconfig.json'),
      compilerOptions: { outDir: join(out, 'dist'), rootDir: join(ROOT, 'src'), sourceMap: false },
      include: [],
      files: files.map((file) => join(ROOT, 'src', file)),
    }),
  );
  writeFileSync(join(out, 'package.json'), JSON.stringify({ type: 'module' }));
  for (const folder of ['build', 'models']) symlinkSync(join(ROOT, folder), join(out, folder));
  execFileSync(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', out], {
    stdio: 'pipe',
  });
  return {
    file: (name) => join(out, 'dist', name),
    remove: () => rmSync(out, { recursive: true, force: true }),
  };
}
