import type { Cpu__Output } from '../../rpc/generated/corecast/v1/Cpu.js';
import { cores, percent } from '../print.js';
import type { Paint, Style } from './paint.js';
import { clip, toCells } from './text.js';

/*
 * Few CPUs are drawn as a bar each: █ busy, ░ reserved beyond that, · free. Many are a character each, by the cache they
 * share, its height the busy share; what is reserved stands beside it as a sum.
 */
const MOST_BARS = 32;
const LEAST_BAR = 8;
const MOST_BAR = 40;
const GAP = '  ';
/** "CPU  12 " before a bar, " 100 %  100 %" after it. */
const LABEL = 4;
const NUMBERS = 13;
const MOST_SPARKS = 64;
const LEAST_SPARKS = 8;
/** "L3 12  " before the characters of a group, its sums after them. */
const GROUP_LABEL = 7;
const SUMS = 28;
const LEAST_GROUPS = GROUP_LABEL + LEAST_SPARKS + SUMS;
const SPARKS = '▁▂▃▄▅▆▇█';
const BUSY = 0.9;

/** At most `rows` lines of at most `columns` cells. */
export function cpuLines(
  cpus: readonly Cpu__Output[],
  columns: number,
  rows: number,
  paint: Paint,
): string[] {
  const bars = barLines(cpus, columns, paint);
  if (cpus.length <= MOST_BARS && bars.length <= rows) return bars;
  const groups = groupLines(cpus, columns, paint);
  return groups.length <= rows && columns >= LEAST_GROUPS
    ? groups
    : [summaryLine(cpus, columns, paint)].slice(0, rows);
}

function barLines(cpus: readonly Cpu__Output[], columns: number, paint: Paint): string[] {
  const beside = LABEL + 1 + NUMBERS + GAP.length;
  const across = Math.max(
    1,
    Math.min(cpus.length, Math.floor((columns + GAP.length) / (beside + LEAST_BAR))),
  );
  const width = Math.min(MOST_BAR, Math.floor((columns + GAP.length) / across) - beside);
  const header =
    toCells('CPU', LABEL) + toCells('', width + 1) + toCells('BUSY', 6, 'right') + toCells('RES', 7, 'right');
  const lines = [paint('dim', Array(across).fill(header).join(GAP))];
  const down = Math.ceil(cpus.length / across);
  // Down, then across, as the numbers are read.
  for (let row = 0; row < down; row++) {
    const line: string[] = [];
    for (let i = row; i < cpus.length; i += down) line.push(barOf(cpus[i]!, Math.max(0, width), paint));
    lines.push(line.join(GAP));
  }
  return lines;
}

function barOf(cpu: Cpu__Output, width: number, paint: Paint): string {
  const label = toCells(String(cpu.cpu), 3, 'right').padEnd(LABEL);
  if (!cpu.online) return paint('dim', label + toCells('offline', width + 1 + NUMBERS));
  const reservedShare = cpu.reservedMilli / 1000;
  const busy = Math.round(width * Math.min(1, cpu.busy));
  const reserved = Math.max(0, Math.round(width * Math.min(1, reservedShare)) - busy);
  const bar =
    paint(cpu.busy > BUSY ? 'bad' : 'good', '█'.repeat(busy)) +
    paint('warn', '░'.repeat(reserved)) +
    paint('dim', '·'.repeat(width - busy - reserved));
  const beside = cpu.housekeeping ? 'keep' : percent(reservedShare);
  return `${label}${bar} ${toCells(percent(cpu.busy), 6, 'right')}${toCells(beside, 7, 'right')}`;
}

function groupLines(cpus: readonly Cpu__Output[], columns: number, paint: Paint): string[] {
  const groups = groupsOf(cpus);
  const largest = Math.max(...[...groups.values()].map((group) => group.length));
  const sparks = Math.max(LEAST_SPARKS, Math.min(MOST_SPARKS, largest, columns - GROUP_LABEL - SUMS));
  const cell = GROUP_LABEL + sparks + SUMS;
  const across = Math.max(1, Math.floor((columns + GAP.length) / (cell + GAP.length)));
  const cells = [...groups].flatMap(([l3, group]) => {
    const parts: string[] = [];
    for (let from = 0; from < group.length; from += sparks) {
      const name = toCells(from === 0 ? `L3 ${l3}` : '', GROUP_LABEL);
      const drawn = group
        .slice(from, from + sparks)
        .map((cpu) => sparkOf(cpu, paint))
        .join('');
      const fill = ' '.repeat(sparks - Math.min(sparks, group.length - from));
      parts.push(name + drawn + fill + toCells(from === 0 ? sumsOf(group) : '', SUMS));
    }
    return parts;
  });
  const down = Math.ceil(cells.length / across);
  return Array.from({ length: down }, (_, row) => cells.filter((_, i) => i % down === row).join(GAP));
}

function sumsOf(group: readonly Cpu__Output[]): string {
  const online = group.filter((cpu) => cpu.online);
  const busy = online.reduce((sum, cpu) => sum + cpu.busy, 0);
  const reserved = online.reduce((sum, cpu) => sum + cpu.reservedMilli, 0) / 1000;
  return ` ${cores(busy)} busy ${cores(reserved)} res /${online.length}`;
}

function sparkOf(cpu: Cpu__Output, paint: Paint): string {
  if (!cpu.online) return paint('dim', '×');
  return paint(styleOf(cpu), SPARKS[levelOf(cpu.busy)]!);
}

function styleOf(cpu: Cpu__Output): Style {
  if (cpu.busy > BUSY) return 'bad';
  if (cpu.reservedMilli > 0) return 'good';
  return cpu.housekeeping ? 'dim' : 'plain';
}

/** Where there is no room for CPUs: a character for each group that shares a cache. */
function summaryLine(cpus: readonly Cpu__Output[], columns: number, paint: Paint): string {
  const sparks = [...groupsOf(cpus).values()].map((group) => {
    const online = group.filter((cpu) => cpu.online);
    const busy = online.reduce((sum, cpu) => sum + cpu.busy, 0) / Math.max(1, online.length);
    return paint(busy > BUSY ? 'bad' : 'good', SPARKS[levelOf(busy)]!);
  });
  const sums = sumsOf(cpus);
  const shown = sparks.slice(0, Math.max(0, columns - 4 - sums.length));
  return clip('L3  ', columns) + shown.join('') + clip(sums, Math.max(0, columns - 4 - shown.length));
}

function groupsOf(cpus: readonly Cpu__Output[]): ReadonlyMap<number, Cpu__Output[]> {
  const groups = new Map<number, Cpu__Output[]>();
  for (const cpu of cpus) groups.set(cpu.l3, [...(groups.get(cpu.l3) ?? []), cpu]);
  return groups;
}

function levelOf(busy: number): number {
  return Math.min(SPARKS.length - 1, Math.floor(busy * SPARKS.length));
}
