/**
 * What a container cannot show (docs/virtual-host.md): boots a Debian under QEMU and runs the scenarios in it. Prints a
 * table; with --json the last line is one object. Skips, with the reason, where it cannot run.
 *
 *   npm run test:vm -- [--only TEXT] [--json] [--project DIRECTORY]
 *
 * --only, repeatable: the scenarios whose names contain the text, and the first two, which they need.
 */
import { execFileSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { SCENARIOS } from './scenarios.mjs';
import { VirtualHost } from './virtual-host.mjs';

const HERE = import.meta.dirname;
const NEEDED_FIRST = 2;
const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true, default: [] },
    project: { type: 'string', default: resolve(HERE, '../..') },
  },
});
const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'corecast', 'vm');

const reason = missing();
if (reason === undefined) await run();
else finish(SCENARIOS.map(({ name }) => ({ name, result: 'skipped', figures: { reason } })));

function missing() {
  for (const program of ['qemu-system-x86_64', 'debootstrap', 'mke2fs']) {
    if (!onPath(program)) return `${program} is not installed`;
  }
  if (process.getuid() !== 0) return 'the image can only be made by root (debootstrap)';
  if (process.arch !== 'x64') return `the virtual host is x86-64, this machine ${process.arch}`;
  if (!existsSync(join(values.project, 'dist/main.js'))) return 'dist/ is not built: npm run build';
  return undefined;
}

async function run() {
  execFileSync(join(HERE, 'build-image'), [cache], { stdio: 'inherit' });
  const project = join(cache, `project-${process.pid}.img`);
  execFileSync(join(HERE, 'build-project-disk'), [project, values.project], { stdio: 'inherit' });
  const results = [];
  let host;
  try {
    host = await VirtualHost.boot({ cache, project });
    for (const [i, { name, run }] of SCENARIOS.entries()) {
      if (i >= NEEDED_FIRST && !wanted(name)) continue;
      results.push(await outcome(host, name, run));
      if (i < NEEDED_FIRST && results.at(-1).result === 'failed') break;
    }
  } finally {
    await host?.close();
    execFileSync('rm', ['-f', project]);
  }
  finish(results);
}

function wanted(name) {
  return values.only.length === 0 || values.only.some((text) => name.includes(text));
}

async function outcome(host, name, run) {
  const began = Date.now();
  const seconds = () => (Date.now() - began) / 1000;
  try {
    const figures = await run(host);
    process.stderr.write(`[vm] ${name}: ok, ${seconds().toFixed(0)} s ${JSON.stringify(figures)}\n`);
    return { name, result: 'passed', seconds: seconds(), figures };
  } catch (error) {
    process.stderr.write(`[vm] ${name}: FAILED\n${error.stack}\n`);
    const log = await host
      .run('journalctl -b -u corecastd -o cat --no-pager | tail -15')
      .catch(() => undefined);
    process.stderr.write(`${log?.output ?? ''}\n`);
    return { name, result: 'failed', seconds: seconds(), figures: { error: error.message } };
  }
}

function finish(results) {
  console.table(
    results.map(({ name, result, seconds, figures }) => ({
      scenario: name,
      result,
      seconds: seconds === undefined ? '' : Math.round(seconds),
      reason: figures.reason ?? '',
    })),
  );
  const count = (wanted) => results.filter(({ result }) => result === wanted).length;
  console.log(`${count('passed')} passed, ${count('failed')} failed, ${count('skipped')} skipped`);
  if (values.json) {
    const scenarios = Object.fromEntries(results.map(({ name, ...rest }) => [name, rest]));
    console.log(
      JSON.stringify({
        bench: 'vm',
        figures: { passed: count('passed'), failed: count('failed') },
        scenarios,
      }),
    );
  }
  process.exitCode = count('failed') > 0 ? 1 : 0;
}

function onPath(program) {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
