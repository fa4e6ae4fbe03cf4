/**
 * Runs one benchmark: bench/NAME.mjs exports run(options) -> { rows, figures, peers? }. Prints its rows and figures;
 * with --json the last line is one object {bench, figures, peers}. Other options go to the benchmark (--name value).
 *
 *   npm run -s bench -- NAME [--json] [--OPTION VALUE ...]
 */
import { readdirSync } from 'node:fs';
import { parseArgs } from 'node:util';

const { values, positionals, tokens } = parseArgs({
  args: process.argv.slice(2),
  options: { json: { type: 'boolean', default: false } },
  allowPositionals: true,
  strict: false,
  tokens: true,
});
const names = readdirSync(import.meta.dirname)
  .filter((file) => file.endsWith('.mjs') && file !== 'run.mjs')
  .map((file) => file.slice(0, -'.mjs'.length));
const [name] = positionals;
if (name === undefined || !names.includes(name)) {
  process.stderr.write(`usage: npm run -s bench -- NAME [--json]\nbenchmarks: ${names.join(', ')}\n`);
  process.exit(2);
}

const { run } = await import(`./${name}.mjs`);
const {
  rows,
  figures,
  peers = {},
} = await run(optionsOf()).catch((error) => {
  // A file that is not there or an option that is wrong is said in a line; a fault of the benchmark's own shows where.
  const expected = error.code === 'ENOENT' || error.constructor === Error;
  process.stderr.write(`${name}: ${expected ? error.message : error.stack}\n`);
  process.exit(1);
});
if (rows !== undefined) console.table(rows.map((row) => mapValues(row, rounded)));
console.table(mapValues({ ...figures, ...peers }, (value) => ({ value: rounded(value) })));
if (values.json) process.stdout.write(`${JSON.stringify({ bench: name, figures, peers })}\n`);

/** `--name=value` and `--name value`. */
function optionsOf() {
  const options = {};
  tokens.forEach((token, i) => {
    if (token.kind !== 'option' || token.name === 'json') return;
    const next = tokens[i + 1];
    options[token.name] = token.value ?? (next?.kind === 'positional' ? next.value : true);
  });
  return options;
}

function mapValues(object, change) {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(value)]));
}

function rounded(value) {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value;
}
