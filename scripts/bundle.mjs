#!/usr/bin/env node
// Bundles the two programs, corecastd and corecast, into dist/program, with what starts them (src/lib/launch.ts), and writes
// dist/main.js and dist/client/cli.js: a start then reads a few files instead of several hundred. What is imported late stays
// in files of its own. Paths to what lies beside the code (package.json, models, the addons, the trainer's child) hold:
// `import.meta.url` of each module stays that of its file in dist/.
//
//   node scripts/bundle.mjs [DIST]
import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const src = join(root, 'src');
const dist = resolve(process.argv[2] ?? join(root, 'dist'));
const PROGRAMS = { corecastd: 'main', corecast: 'client/cli' };
/** As the systemd unit starts it. */
const NODE = {
  corecastd: '/usr/bin/env -S node --max-semi-space-size=4 --max-old-space-size=1024',
  corecast: '/usr/bin/env node',
};

const moduleUrls = {
  name: 'module-urls',
  transform(code, id) {
    if (!id.startsWith(src) || id.endsWith('launch.ts') || !code.includes('import.meta.url')) return null;
    const module = JSON.stringify(relative(src, id).replace(/\.ts$/, '.js'));
    // Lines stay, so the source map does.
    return { code: code.replaceAll('import.meta.url', `moduleUrl(${module})`), map: null };
  },
};

/** classic-level looks for its addon beside its own file. */
const levelAddon = {
  name: 'level-addon',
  resolveId: (source, importer) =>
    source === './binding' && /[\\/]classic-level[\\/]/.test(importer ?? '')
      ? { id: 'classic-level/binding.js', external: true }
      : null,
};

rmSync(join(dist, 'program'), { recursive: true, force: true });
await bundle(join(src, 'lib/launch.ts'), { dir: 'program', format: 'esm', entryFileNames: 'launch.js' });
for (const [name, entry] of Object.entries(PROGRAMS)) {
  await bundle(join(src, `${entry}.ts`), {
    dir: `program/${name}`,
    format: 'cjs',
    entryFileNames: `${name}.cjs`,
    chunkFileNames: '[name]-[hash].cjs',
    sourcemap: true,
    dynamicImportInCjs: false,
  });
  const start = join(dist, `${entry}.js`);
  const from = relative(dirname(start), join(dist, 'program/launch.js'));
  mkdirSync(dirname(start), { recursive: true });
  writeFileSync(
    start,
    `#!${NODE[name]}\nimport { launch } from '${from.startsWith('.') ? from : `./${from}`}';\n\nlaunch('${name}');\n`,
  );
  chmodSync(start, 0o755);
}

async function bundle(input, { dir, ...output }) {
  const made = await rolldown({
    input,
    platform: 'node',
    plugins: [moduleUrls, levelAddon],
    // protobufjs looks for what may be missing by a direct eval of require.
    checks: { eval: false, ineffectiveDynamicImport: false },
  });
  await made.write({ dir: join(dist, dir), comments: false, ...output });
  await made.close();
}
