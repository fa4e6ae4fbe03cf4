/**
 * The stores that ours is measured against are no dependencies of the project: they are fetched when the bench runs, into a
 * cache outside of it. Each gives undefined, and says why, where it cannot be had.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const CACHE = join(process.env.XDG_CACHE_HOME ?? join(os.homedir(), '.cache'), 'corecast-bench');
/** Majors that support Node 20. */
const SQLITE = 'better-sqlite3@12';

export function betterSqlite() {
  return attempt('better-sqlite3', () => {
    const dir = join(CACHE, 'sqlite');
    const addon = join(dir, 'node_modules/better-sqlite3/build/Release/better_sqlite3.node');
    if (!existsSync(addon)) {
      mkdirSync(dir, { recursive: true });
      writeFileSync(join(dir, 'package.json'), '{"private":true}\n');
      run('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', SQLITE], dir);
      const gyp = join(ROOT, 'node_modules/node-gyp/bin/node-gyp.js');
      run(
        process.execPath,
        [gyp, 'rebuild', '--release', '--jobs', '2', ...headers()],
        join(dir, 'node_modules/better-sqlite3'),
      );
    }
    return createRequire(join(dir, 'package.json'))('better-sqlite3');
  });
}

/** Paths of Debian's prometheus and promtool. */
export function prometheus() {
  return attempt('prometheus', () => {
    const dir = join(CACHE, 'prometheus');
    const promtool = join(dir, 'usr/bin/promtool');
    if (!existsSync(promtool)) {
      mkdirSync(dir, { recursive: true });
      run('apt-get', ['download', 'prometheus'], dir);
      const [deb] = readdirSync(dir).filter((name) => name.endsWith('.deb'));
      run('dpkg', ['-x', deb, '.'], dir);
    }
    return { promtool, prometheus: join(dir, 'usr/bin/prometheus') };
  });
}

/** Headers that came with node, so that nothing is downloaded. */
function headers() {
  const prefix = join(process.execPath, '../..');
  return existsSync(join(prefix, 'include/node/node_api.h')) ? [`--nodedir=${prefix}`] : [];
}

function run(program, args, cwd) {
  execFileSync(program, args, { cwd, stdio: ['ignore', 'ignore', 'pipe'] });
}

function attempt(name, get) {
  try {
    return get();
  } catch (error) {
    const why =
      String(error.stderr ?? '')
        .trim()
        .split('\n')
        .at(-1) || error.message;
    process.stderr.write(`${name} is left out: ${why}\n`);
    return undefined;
  }
}
