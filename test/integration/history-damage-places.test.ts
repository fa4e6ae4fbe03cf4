import { mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Damage, filesOf, makeStore, samplesByTable, tryDamage } from '../support/damage-places.js';
import { seededRandom } from '../support/seeded-random.js';

/*
 * Each file of the store, cut or flipped at random places. The suite tries a few; `npm run test:damage` tries 1,000 a file.
 */
const PLACES = Number(process.env['DAMAGE_PLACES'] ?? 12);
const SEED = Number(process.env['DAMAGE_SEED'] ?? 1);

let parent: string;
let pristine: string;
beforeAll(async () => {
  parent = mkdtempSync(join(tmpdir(), 'corecast-places-'));
  pristine = join(parent, 'pristine');
  await makeStore(pristine);
});
afterAll(() => rmSync(parent, { recursive: true, force: true }));

test(`each file cut or flipped at ${PLACES} places: no crash, no wrong value, nothing lost but what was damaged`, {
  timeout: 60_000 + PLACES * 2_000,
}, async () => {
  const files = filesOf(pristine);
  const tables = samplesByTable(pristine);
  expect(tables.size).toBeGreaterThanOrEqual(2);
  expect(files.some((file) => file.endsWith('.log'))).toBe(true);
  const random = seededRandom(SEED);
  const lines: string[] = [];
  for (const file of files) {
    const { size } = statSync(join(pristine, file));
    let most = 0;
    for (let i = 0; i < PLACES; i++) {
      const damage: Damage = {
        file,
        kind: i % 2 === 0 ? 'flip' : 'cut',
        offset: Math.floor(random() * size),
        flip: 1 + Math.floor(random() * 255),
      };
      const box = join(parent, 'box');
      mkdirSync(box);
      most = Math.max(most, await tryDamage(pristine, join(box, 'damaged'), damage, tables));
      rmSync(box, { recursive: true });
    }
    lines.push(`${file} (${size} bytes): ${PLACES} places, at most ${most} samples lost`);
  }
  if (process.env['DAMAGE_PLACES'] !== undefined) console.log(`seed ${SEED}\n${lines.join('\n')}`);
});
