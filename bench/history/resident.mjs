/**
 * A process of its own with nothing but the history in it, fed with 100 channels: prints its resident memory in MB.
 *
 *   node bench/history/resident.mjs RECORDING DIR
 */
import { readFileSync } from 'node:fs';
import { openOurs } from './ours.mjs';
import { Stretched } from './stretched.mjs';

const SERIES = 600;
const HOUR_S = 3_600;
const [file, dir] = process.argv.slice(2);
const ticks = JSON.parse(readFileSync(file, 'utf8'));
const own = new Set(ticks.flatMap((tick) => tick.map(([name]) => name))).size;
const startMs = 1_760_000_400_000;
const data = new Stretched(ticks, { seconds: HOUR_S, copies: Math.ceil(SERIES / own), startMs });
const history = await openOurs(dir, startMs + HOUR_S * 1000);
let peak = 0;
let i = 0;
for (const points of data.ticks()) {
  history.append(points);
  if (++i % 5 !== 0) continue;
  await history.flush();
  peak = Math.max(peak, process.memoryUsage.rss());
}
await history.close();
process.stdout.write(`${JSON.stringify({ series: data.names.length, rssMb: peak / 1024 / 1024 })}\n`);
