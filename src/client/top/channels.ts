import { cpuset, formatCpuset } from '../../lib/cpuset.js';
import type { Reservation__Output } from '../../rpc/generated/corecast/v1/Reservation.js';
import { cores, ingressOf, waitingOf, word } from '../print.js';
import type { Paint, Style } from './paint.js';
import { printable, tail, toCells } from './text.js';

/** As the adjuster sees it (adjuster/deviation.ts): a live channel slower, or further behind, is late. */
const LATE_SPEED = 0.97;
const LATE_LAG_S = 1;
const BAR = 10;
/** Least cells for the name; columns are left out, the least important first, until it has them. */
const LEAST_NAME = 16;

interface Column {
  readonly title: string;
  readonly width: number;
  readonly right?: true;
  /** 0 is the most important. */
  readonly rank: number;
  readonly text: (r: Reservation__Output) => string;
  readonly style?: (r: Reservation__Output) => Style;
}

const lateStyle = (r: Reservation__Output): Style => (isLate(r) ? 'bad' : 'plain');
const rungStyle = (r: Reservation__Output): Style => (r.rung > 0 ? 'warn' : 'plain');

const COLUMNS: readonly Column[] = [
  { title: 'STATE', width: 8, rank: 0, text: stateOf, style: stateStyle },
  { title: 'CLASS', width: 5, rank: 7, text: (r) => word(r.channelClass, 'CHANNEL_CLASS') },
  { title: 'PRI', width: 3, right: true, rank: 8, text: (r) => String(r.priority) },
  {
    title: 'CPUS',
    width: 9,
    rank: 4,
    text: (r) => formatCpuset(cpuset(r.cpus.map(({ cpu }) => cpu))) || '-',
  },
  { title: 'RES', width: 5, right: true, rank: 6, text: (r) => cores(reservedCores(r)) },
  { title: 'USE', width: 5, right: true, rank: 2, text: (r) => cores(r.usageCores), style: useStyle },
  { title: 'FCST', width: 5, right: true, rank: 5, text: (r) => cores(r.forecastQ90Cores) },
  { title: 'USE OF RES', width: BAR, rank: 9, text: useBar, style: useStyle },
  { title: 'SPEED', width: 6, right: true, rank: 1, text: speedOf, style: lateStyle },
  { title: 'LAG', width: 6, right: true, rank: 3, text: lagOf, style: lateStyle },
  { title: 'RG', width: 2, right: true, rank: 3, text: rungOf, style: rungStyle },
  { title: 'IN', width: 6, right: true, rank: 10, text: rateOf },
  { title: 'WAITS', width: 9, right: true, rank: 11, text: waitingOf, style: waitingStyle },
  { title: 'ID', width: 13, rank: 12, text: (r) => r.id },
];

/** A header and at most `rows` - 1 channels from the `from`-th on; those in trouble come first. */
export function channelLines(
  reservations: readonly Reservation__Output[],
  columns: number,
  rows: number,
  from: number,
  paint: Paint,
): string[] {
  if (rows < 1) return [];
  const shown = columnsFor(columns);
  const rest = columns - widthOf(shown);
  const sorted = [...reservations].sort((a, b) => trouble(b) - trouble(a) || a.createdMs - b.createdMs);
  const window = sorted.slice(from, from + rows - 1);
  const header = [
    ...shown.map((c) => toCells(c.title, c.width, side(c))),
    toCells(count(sorted, from, window), rest),
  ];
  return [
    paint('title', toCells(header.join(' '), columns)),
    ...window.map((r) => line(r, shown, rest, paint)),
  ];
}

function columnsFor(columns: number): readonly Column[] {
  for (let rank = MOST_RANK; rank > 0; rank--) {
    const shown = COLUMNS.filter((column) => column.rank <= rank);
    if (columns - widthOf(shown) >= LEAST_NAME) return shown;
  }
  return [];
}

const MOST_RANK = Math.max(...COLUMNS.map(({ rank }) => rank));

function widthOf(shown: readonly Column[]): number {
  return shown.reduce((sum, { width }) => sum + width + 1, 0);
}

function line(r: Reservation__Output, shown: readonly Column[], rest: number, paint: Paint): string {
  const cells = shown.map((column) =>
    paint(column.style?.(r) ?? 'plain', toCells(column.text(r), column.width, side(column))),
  );
  return [...cells, tail(printable(r.name), rest)].join(' ');
}

function count(all: readonly unknown[], from: number, window: readonly unknown[]): string {
  if (window.length === all.length) return 'NAME';
  const span = window.length === 0 ? 'none' : `${from + 1}-${from + window.length}`;
  return `NAME (${span} of ${all.length})`;
}

function side({ right }: Column): 'left' | 'right' {
  return right === true ? 'right' : 'left';
}

export function isLate(r: Reservation__Output): boolean {
  if (r.channelClass !== 'CHANNEL_CLASS_LIVE') return false;
  return (r.speed !== undefined && r.speed < LATE_SPEED) || (r.lagSeconds ?? 0) > LATE_LAG_S;
}

function trouble(r: Reservation__Output): number {
  if (isLate(r)) return 3;
  if (r.rung > 0 || r.state === 'RESERVATION_STATE_ORPHANED') return 2;
  return r.state === 'RESERVATION_STATE_ACTIVE' || r.state === 'RESERVATION_STATE_PENDING' ? 1 : 0;
}

export function reservedCores(r: Reservation__Output): number {
  return r.cpus.reduce((sum, { shareMilli }) => sum + shareMilli, 0) / 1000;
}

/** What is used of what is reserved; the forecast's 0.9 quantile is where the bar changes. */
function useBar(r: Reservation__Output): string {
  const whole = reservedCores(r);
  if (whole === 0 || r.usageCores === undefined) return '';
  const cells = (value: number) => Math.min(BAR, Math.round((BAR * value) / whole));
  const used = cells(r.usageCores);
  const forecast = Math.max(used, cells(r.forecastQ90Cores ?? 0));
  return '█'.repeat(used) + '░'.repeat(forecast - used) + '·'.repeat(BAR - forecast);
}

function useStyle(r: Reservation__Output): Style {
  const { usageCores = 0, forecastQ90Cores = Number.POSITIVE_INFINITY } = r;
  if (usageCores > reservedCores(r)) return 'bad';
  return usageCores > forecastQ90Cores ? 'warn' : 'good';
}

/** "4.2M", in bits per second. */
function rateOf(r: Reservation__Output): string {
  return ingressOf(r).replace(/ ([kMG])bit\/s$/, '$1');
}

/** Datagrams that are lost are frames that are broken. */
function waitingStyle({ ingress }: Reservation__Output): Style {
  return (ingress?.droppedDatagrams ?? 0) > 0 ? 'warn' : 'plain';
}

function speedOf({ speed }: Reservation__Output): string {
  return speed === undefined ? '-' : `${speed.toFixed(2)}x`;
}

/** Light mode has no ladder. */
function rungOf({ selfHeld, rung }: Reservation__Output): string {
  return selfHeld ? '-' : String(rung);
}

function lagOf({ lagSeconds }: Reservation__Output): string {
  return lagSeconds === undefined ? '-' : `${lagSeconds.toFixed(1)} s`;
}

function stateOf(r: Reservation__Output): string {
  return word(r.state, 'RESERVATION_STATE');
}

function stateStyle(r: Reservation__Output): Style {
  if (r.state === 'RESERVATION_STATE_ACTIVE') return 'good';
  return r.state === 'RESERVATION_STATE_ORPHANED' ? 'bad' : 'warn';
}
