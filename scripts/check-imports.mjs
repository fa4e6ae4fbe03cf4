// Enforces the import rules of ARCHITECTURE.md: who may import whom, and which folders are pure.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

const src = join(dirname(fileURLToPath(import.meta.url)), '..', 'src');

/** Files whose results depend on their arguments alone: nothing of Node, no clock, no store, no network. */
const PURE = [
  /^balancer\//,
  /^reservation\/(allocator|cpu-shares|lease|occupancy|reservation)/,
  /^adjuster\/(plan|deviation|ingress|rank)/,
  /^topology\/(topology|parse)/,
  /^feedback\/promotion/,
  /^simulate\//,
  /^lib\/(assert|cpuset|errors)/,
];
const PURE_FORBIDDEN_MODULES =
  /^(node:|@grpc|level|classic-level|onnxruntime|systeminformation|pino|prom-client)/;
const PURE_FORBIDDEN_FILES =
  /^(history\/(?!history|records)|rpc\/(?!control)|monitor\/(?!sample)|http|client|config\/load|pinning\/(?!pinning)|lib\/native)/;
const PURE_FORBIDDEN_CALLS = /\b(Date\.now|new Date\(\)|Math\.random|performance\.now|process\.(?!exitCode))/;

/** Folders that may be imported only by themselves and the composition root; types of rpc/control are for everyone. */
const ENDS = ['rpc', 'http', 'client'];

const problems = [];
for (const file of readdirSync(src, { recursive: true, encoding: 'utf8' }).map((name) =>
  name.split(sep).join('/'),
)) {
  if (!file.endsWith('.ts') || file.startsWith('rpc/generated/')) continue;
  const text = readFileSync(join(src, file), 'utf8');
  const folder = file.includes('/') ? file.split('/')[0] : '';
  const pure = PURE.some((pattern) => pattern.test(file));
  if (pure && PURE_FORBIDDEN_CALLS.test(text.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, ''))) {
    problems.push(`${file}: is pure, yet asks the clock, chance or the process`);
  }
  for (const match of text.matchAll(
    /(import|export)\s+(type\s+)?[^;]*?from\s+'([^']+)'|import\('([^']+)'\)/g,
  )) {
    const typeOnly = match[2] !== undefined;
    const target = match[3] ?? match[4];
    if (!target.startsWith('.')) {
      if (pure && !typeOnly && PURE_FORBIDDEN_MODULES.test(target))
        problems.push(`${file}: is pure, yet imports ${target}`);
      continue;
    }
    const to = relative(src, resolve(src, dirname(file), target))
      .split(sep)
      .join('/')
      .replace(/\.js$/, '.ts');
    const toFolder = to.split('/')[0];
    if (folder === 'lib' && toFolder !== 'lib')
      problems.push(`${file}: lib/ imports nothing of the others, yet imports ${to}`);
    if (pure && !typeOnly && PURE_FORBIDDEN_FILES.test(to))
      problems.push(`${file}: is pure, yet imports ${to}`);
    const root = folder === '';
    if (
      ENDS.includes(toFolder) &&
      toFolder !== folder &&
      !root &&
      to !== 'rpc/control.ts' &&
      !to.startsWith('rpc/generated/')
    ) {
      const shared =
        folder === 'client' && /^rpc\/(status-details|proto|convert|google-rpc|load-proto|validate)/.test(to);
      if (!shared)
        problems.push(`${file}: only main.ts and daemon.ts may import ${toFolder}/, yet it imports ${to}`);
    }
    if (toFolder === 'simulate' && folder !== 'simulate' && folder !== 'client')
      problems.push(`${file}: only client/ may import simulate/, yet it imports ${to}`);
    if (to === 'daemon.ts' && file !== 'main.ts') problems.push(`${file}: only main.ts may import daemon.ts`);
  }
}
for (const problem of problems) console.error(problem);
if (problems.length > 0) process.exit(1);
