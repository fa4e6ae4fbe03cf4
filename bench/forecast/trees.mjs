/** scikit-learn's gradient-boosted trees on the same columns, in a process of their own. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SCRIPT = fileURLToPath(new URL('trees.py', import.meta.url));
const PYTHONS = ['/usr/bin/python3', 'python3'];
/** As the network's trainer. */
const ONE_THREAD = { ...process.env, OMP_NUM_THREADS: '1' };

/** Undefined, with a line that says why, where there is no scikit-learn. */
export function treesForecast(training, unseen, python) {
  const dir = mkdtempSync(join(tmpdir(), 'corecast-trees-'));
  try {
    for (const [name, rows] of Object.entries({ training, unseen })) {
      writeFileSync(join(dir, `${name}.csv`), csv(rows));
    }
    const tried = python === undefined ? PYTHONS : [python];
    let said = '';
    for (const program of tried) {
      const { status, stdout, stderr } = spawnSync(program, [SCRIPT, dir], {
        encoding: 'utf8',
        env: ONE_THREAD,
      });
      if (status === 0) {
        const quantile = (name) => {
          const { buffer, byteOffset, byteLength } = readFileSync(join(dir, name));
          return new Float64Array(buffer.slice(byteOffset, byteOffset + byteLength));
        };
        return { q50: quantile('q50'), q90: quantile('q90'), seconds: JSON.parse(stdout).seconds };
      }
      said = String(stderr ?? '')
        .trim()
        .split('\n')
        .at(-1);
    }
    process.stderr.write(`no gradient-boosted trees: ${tried.join(', ')}: ${said}\n`);
    return undefined;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Everything that the network is told, by column. */
function csv(rows) {
  const categories = numbered(rows.map(({ category }) => category));
  const lines = rows.map((row) => {
    const { ref, me, subme, trellis, bframes, rc_lookahead: lookahead } = row.options;
    return [
      ...[row.y, row.width, row.height, row.fps, row.spatial, row.temporal, row.chunkVar, row.config],
      ...[ref, MOTION.indexOf(me), subme, trellis, bframes, lookahead === 'None' ? -1 : lookahead],
      categories.get(row.category),
    ].join(',');
  });
  return `${lines.join('\n')}\n`;
}

const MOTION = ['dia', 'hex', 'umh', 'esa', 'tesa'];

/** In the order of the alphabet, so that both files number them alike. */
function numbered(words) {
  return new Map([...new Set(words)].sort().map((word, i) => [word, i]));
}
