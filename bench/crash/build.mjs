/**
 * Compiles the simulator (test/simulation/reservation) and the sources it runs to plain JavaScript, below build/.
 * `sources` names them: what a seed does is the same again for the same sources only.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '../..');

export function buildSimulator() {
  mkdirSync(join(ROOT, 'build'), { recursive: true });
  const out = mkdtempSync(join(ROOT, 'build', 'crash-'));
  const entry = 'test/simulation/reservation/run-seed';
  writeFileSync(
    join(out, 'tsconfig.json'),
    JSON.stringify({
      extends: join(ROOT, 'tsconfig.json'),
      compilerOptions: { outDir: join(out, 'js'), rootDir: ROOT },
      include: [],
      files: [join(ROOT, `${entry}.ts`)],
    }),
  );
  writeFileSync(join(out, 'package.json'), JSON.stringify({ type: 'module' }));
  execFileSync(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', out], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  return {
    module: join(out, 'js', `${entry}.js`),
    sources: digestOf(join(out, 'js')),
    remove: () => rmSync(out, { recursive: true, force: true }),
  };
}

function digestOf(directory) {
  const hash = createHash('sha256');
  const files = readdirSync(directory, { recursive: true }).filter((file) => file.endsWith('.js'));
  for (const file of files.sort()) hash.update(file).update(readFileSync(join(directory, file)));
  return hash.digest('hex').slice(0, 12);
}
