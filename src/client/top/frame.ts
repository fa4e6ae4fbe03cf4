import type { GetHostResponse__Output } from '../../rpc/generated/corecast/v1/GetHostResponse.js';
import { bytes, cores, percent, time } from '../print.js';
import { channelLines } from './channels.js';
import { cpuLines } from './cpus.js';
import type { Paint, Style } from './paint.js';
import { clip, printable, tail, toCells } from './text.js';
import type { Size, TopEvent, TopView } from './view.js';

/** Most of the rows that CPUs take. */
const CPU_SHARE = 0.4;
const MOST_EVENTS = 8;
/** A lower terminal shows no events. */
const LEAST_ROWS = 12;
/** Cells of a channel's name before its event. */
const MOST_NAME = 32;

/**
 * One screen: head, CPUs, channels from the `from`-th on, the newest events. No line is wider than the terminal, and there
 * are no more than it has; in a large one the channels get what is left.
 */
export function frame(view: TopView, size: Size, from: number, paint: Paint): string[] {
  const { columns, rows } = size;
  const head = headLines(view, columns, paint);
  const { host } = view;
  if (host === undefined) return head.slice(0, rows);
  const events = Math.min(view.events.length, MOST_EVENTS, rows < LEAST_ROWS ? 0 : Math.floor(rows / 5));
  const cpus = cpuLines(host.cpus, columns, Math.max(1, Math.floor(rows * CPU_SHARE)), paint);
  const above = [...head, '', ...cpus, ''];
  const below =
    events === 0 ? [] : ['', ...view.events.slice(-events).map((e) => eventLine(e, columns, paint))];
  const left = rows - above.length - below.length;
  const channels = channelLines(view.reservations, columns, left, from, paint);
  const fill = Array<string>(
    Math.max(0, Math.min(rows, MAX_ROWS) - above.length - channels.length - below.length),
  );
  return [...above, ...channels, ...(below.length > 0 ? fill.fill('') : []), ...below].slice(0, rows);
}

/** A frame of more rows than any terminal has is not filled up: --once. */
const MAX_ROWS = 1_000;

/** Text for a pipe: as long as it takes, every channel. */
export function wholeFrame(view: TopView, columns: number, paint: Paint): string[] {
  return frame(view, { columns, rows: MAX_ROWS + view.reservations.length }, 0, paint).map((line) =>
    line.trimEnd(),
  );
}

function headLines(view: TopView, columns: number, paint: Paint): string[] {
  const { host, trouble } = view;
  const clock = time(view.nowMs).slice(11);
  const name = host === undefined ? 'corecast' : `corecast  ${host.hostname}  ${host.cpuModel}`;
  const title = `${toCells(printable(name), Math.max(0, columns - clock.length - 1))} ${clock}`;
  const lines = [paint('bold', clip(title, columns))];
  if (trouble !== '') lines.push(paint('bad', clip(printable(trouble), columns)));
  if (host === undefined) return lines;
  lines.push(clip(loadLine(host), columns), clip(forecastLine(host), columns));
  if (host.admissionClosed)
    lines.push(paint('bad', clip(`admission closed: ${printable(host.admissionClosedReason)}`, columns)));
  return lines;
}

function loadLine({ load, cpus }: GetHostResponse__Output): string {
  const mine = cpus.filter(({ online, housekeeping }) => online && !housekeeping);
  const reserved = mine.reduce((sum, { reservedMilli }) => sum + reservedMilli, 0) / 1000;
  const shares = `reserved ${cores(reserved)} of ${mine.length} cores`;
  if (load === null) return shares;
  const memory = `${bytes(load.memoryAvailableBytes)} free`;
  return `load ${percent(load.busy)}  ${shares}  pressure ${percent(load.cpuPressure)}  memory ${memory}  channels ${load.channels}, ${load.queued} waiting`;
}

function forecastLine({ forecast }: GetHostResponse__Output): string {
  const spans = (forecast?.horizons ?? []).map(({ fromSeconds, toSeconds, hostLoad }) => {
    const { q50 = 0, q90 = 0 } = hostLoad ?? {};
    return `${fromSeconds}-${toSeconds} s ${percent(q50)}, 0.9: ${percent(q90)}`;
  });
  return spans.length === 0 ? 'no forecast of the load yet' : `load forecast  ${spans.join('   ')}`;
}

function eventLine({ atMs, event, channel, reason }: TopEvent, columns: number, paint: Paint): string {
  const what = toCells(printable(event), 9);
  const name = tail(printable(channel), MOST_NAME);
  const text = reason === '' ? name : `${name}: ${printable(reason)}`;
  const at = time(atMs).slice(11);
  return `${paint('dim', at)} ${paint(EVENTS[event] ?? 'plain', what)} ${clip(text, Math.max(1, columns - at.length - 11))}`;
}

const EVENTS: Readonly<Record<string, Style>> = {
  attached: 'good',
  grown: 'good',
  restored: 'good',
  resumed: 'good',
  degraded: 'warn',
  paused: 'warn',
  moved: 'warn',
  shrunk: 'warn',
  repaired: 'warn',
  gap: 'warn',
  expired: 'bad',
  orphaned: 'bad',
  squeezed: 'bad',
};
