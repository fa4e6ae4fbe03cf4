import type { Reservation__Output } from '../rpc/generated/corecast/v1/Reservation.js';

/** How subcommands write: lines for people, or one JSON object as the last line of standard output. */

export function printJson(value: unknown): void {
  process.stdout.write(`${toJson(value)}\n`);
}

/** Generated messages mark their optional fields with keys such as "_speed"; those are of no use to anyone. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, (key, v) => (key.startsWith('_') ? undefined : v));
}

export function printLine(text = ''): void {
  process.stdout.write(`${text}\n`);
}

const WIDTH = 100;
const GAP = '  ';

export interface Column<Row> {
  readonly title: string;
  readonly value: (row: Row) => string;
  readonly right?: boolean;
  /** For the last column: goes on below itself instead of being cut. */
  readonly wrap?: boolean;
}

/** A table that fits 100 columns: where it would not, the last column is cut or wrapped. */
export function table<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string {
  const cells = rows.map((row) => columns.map((column) => column.value(row)));
  const widths = columns.map((column, i) =>
    Math.max(column.title.length, ...cells.map((row) => row[i]!.length)),
  );
  const others = widths.slice(0, -1).reduce((sum, width) => sum + width + GAP.length, 0);
  const last = widths.length - 1;
  widths[last] = Math.max(8, Math.min(widths[last]!, WIDTH - others));
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => {
        const shown = cell.length > widths[i]! ? `${cell.slice(0, widths[i]! - 1)}…` : cell;
        return columns[i]!.right === true ? shown.padStart(widths[i]!) : shown.padEnd(widths[i]!);
      })
      .join(GAP)
      .trimEnd();
  const lines = (row: readonly string[]) => {
    if (columns[last]?.wrap !== true) return line(row);
    const [head = '', ...more] = wrapText(row[last]!, widths[last]!);
    const below = row.slice(0, last).map(() => '');
    return [line([...row.slice(0, last), head]), ...more.map((text) => line([...below, text]))].join('\n');
  };
  return [line(columns.map((column) => column.title)), ...cells.map(lines)].join('\n');
}

function wrapText(text: string, width: number): string[] {
  const lines: string[] = [];
  let rest = text;
  while (rest.length > width) {
    const space = rest.lastIndexOf(' ', width);
    const at = space > 0 ? space : width;
    lines.push(rest.slice(0, at));
    rest = rest.slice(at).trimStart();
  }
  return [...lines, rest];
}

export function percent(share: number): string {
  return `${(share * 100).toFixed(0)} %`;
}

export function cores(value: number | undefined): string {
  return value === undefined ? '-' : value.toFixed(value < 10 ? 2 : 1);
}

export function bytes(value: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, value)) / 10));
  return `${(value / 1024 ** power).toFixed(power === 0 ? 0 : 1)} ${units[power]}`;
}

export function bitsPerSecond(value: number): string {
  if (value >= 1e9) return `${(value / 1e9).toFixed(1)} Gbit/s`;
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)} Mbit/s`;
  return `${Math.round(value / 1e3)} kbit/s`;
}

type WithIngress = Pick<Reservation__Output, 'ingress'>;

/** What reaches a channel; "-" where nobody counts it. */
export function ingressOf({ ingress }: WithIngress): string {
  return ingress?.bps === undefined ? '-' : bitsPerSecond(ingress.bps);
}

/** What waits at its sockets for FFmpeg, and the datagrams that did not find room there: "1.2 MiB", "8 pkt", "-17 pkt". */
export function waitingOf({ ingress }: WithIngress): string {
  const { waitingBytes = 0, waitingDatagrams = 0, droppedDatagrams = 0 } = ingress ?? {};
  const parts = [
    ...(waitingBytes > 0 ? [bytes(waitingBytes)] : []),
    ...(waitingDatagrams > 0 ? [`${waitingDatagrams} pkt`] : []),
    ...(droppedDatagrams > 0 ? [`-${droppedDatagrams} pkt`] : []),
  ];
  return parts.join(' ') || '-';
}

export function time(unixMs: number): string {
  return unixMs === 0 ? '-' : new Date(unixMs).toISOString().replace('T', ' ').slice(0, 19);
}

/** "45 s", "12 min", "3.5 h". */
export function duration(seconds: number): string {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5_400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

/** How long ago something was, in its largest unit: "3 d". */
export function ago(ms: number): string {
  const minutes = Math.max(0, ms) / 60_000;
  if (minutes < 90) return `${Math.round(minutes)} min`;
  return minutes < 48 * 60 ? `${Math.round(minutes / 60)} h` : `${Math.round(minutes / 1440)} d`;
}

/** "RESERVATION_STATE_ACTIVE" without its prefix, in lower case. */
export function word(value: string, prefix: string): string {
  return value.replace(`${prefix}_`, '').toLowerCase();
}
