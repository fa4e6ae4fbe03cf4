import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { Script } from 'node:vm';

/**
 * Flags that the systemd unit starts a program with. Set here they come too late to do anything, but V8 refuses code that was
 * compiled under other flags, and so takes it with them and without.
 */
const V8_FLAGS: Readonly<Record<string, string>> = {
  corecastd: '--max-semi-space-size=4 --max-old-space-size=1024',
};

/** From dist/program. */
const DIST = new URL('..', import.meta.url);

type Factory = (
  exports: object,
  require: (id: string) => unknown,
  module: { exports: object },
  filename: string,
  dirname: string,
  moduleUrl: (module: string) => string,
) => void;

/**
 * Runs a program that scripts/bundle.mjs made, as node would run its CommonJS files, but with the code that V8 compiled when
 * corecast was built (scripts/code-cache.mjs). Another version of node refuses that code, and compiles as it always does.
 * Returns the scripts by file, those that are loaded later included once they are.
 */
export function launch(program: string): ReadonlyMap<string, Script> {
  const flags = V8_FLAGS[program];
  if (flags !== undefined) setFlagsFromString(flags);
  const folder = new URL(`program/${program}/`, DIST);
  const outside = createRequire(folder);
  const scripts = new Map<string, Script>();
  const modules = new Map<string, { exports: object }>();
  const moduleUrl = (path: string) => new URL(path, DIST).href;

  const require = Object.assign(
    (id: string): unknown => {
      if (!id.startsWith('./')) return outside(id);
      return load(id.slice(2));
    },
    { resolve: outside.resolve, cache: outside.cache, main: undefined },
  );
  const load = (name: string): object => {
    const known = modules.get(name);
    if (known !== undefined) return known.exports;
    const file = outside.resolve(`./${name}`);
    const cachedData = readIfThere(`${file}.cache`);
    const script = new Script(wrapped(readFileSync(file, 'utf8')), {
      filename: file,
      ...(cachedData === undefined ? {} : { cachedData }),
    });
    scripts.set(file, script);
    const module = { exports: {} };
    modules.set(name, module);
    const factory = script.runInThisContext() as Factory;
    factory(module.exports, require, module, file, dirname(file), moduleUrl);
    return module.exports;
  };
  load(`${program}.cjs`);
  return scripts;
}

/** On one line with what it wraps, so that lines are those of the file. */
function wrapped(code: string): string {
  return `(function (exports, require, module, __filename, __dirname, moduleUrl) { ${code}\n})`;
}

function readIfThere(file: string): Buffer | undefined {
  try {
    return readFileSync(file);
  } catch {
    return undefined;
  }
}
