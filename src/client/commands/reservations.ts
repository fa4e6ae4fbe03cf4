import type { Command } from 'commander';
import { cpuset, formatCpuset } from '../../lib/cpuset.js';
import type { Reservation__Output } from '../../rpc/generated/corecast/v1/Reservation.js';
import { cores, ingressOf, printJson, printLine, table, time, toJson, waitingOf, word } from '../print.js';
import { type DaemonOptions, withDaemon, withDaemonOptions } from './daemon-command.js';

interface Options extends DaemonOptions {
  readonly all?: true;
  readonly watch?: true;
}

export function addReservationsCommand(program: Command): void {
  withDaemonOptions(
    program
      .command('reservations')
      .summary('who holds which CPUs')
      .description('The reservations: state, CPUs, use against forecast, speed, lag, and what reaches them.'),
  )
    .option('--all', 'ended ones too, as long as they are kept')
    .option('--watch', 'then go on with every change; with --json, one object a line')
    .addHelpText('after', '\nExample:\n  corecast reservations --watch')
    .action(async (options: Options) => {
      await withDaemon(options, async (client) => {
        if (options.watch === true) {
          for await (const { reservation, event, reason } of client.watchReservations()) {
            if (options.json === true) printLine(toJson({ event, reason, reservation }));
            else if (reservation !== null) printLine(changeLine(reservation, event, reason));
          }
          return;
        }
        const { reservations } = await client.listReservations({ includeEnded: options.all === true });
        if (options.json === true) return printJson({ reservations });
        printLine(reservations.length === 0 ? 'no reservations' : table(COLUMNS, reservations));
      });
    });
}

const stateOf = (r: Reservation__Output) => word(r.state, 'RESERVATION_STATE');
const cpusOf = (r: Reservation__Output) => formatCpuset(cpuset(r.cpus.map(({ cpu }) => cpu))) || '-';

const COLUMNS = [
  { title: 'ID', value: (r: Reservation__Output) => r.id },
  { title: 'STATE', value: stateOf },
  { title: 'CLASS', value: (r: Reservation__Output) => word(r.channelClass, 'CHANNEL_CLASS') },
  { title: 'CPUS', value: cpusOf },
  { title: 'USE', value: (r: Reservation__Output) => cores(r.usageCores), right: true },
  { title: '0.9', value: (r: Reservation__Output) => cores(r.forecastQ90Cores), right: true },
  {
    title: 'SPEED',
    value: (r: Reservation__Output) => (r.speed === undefined ? '-' : `${r.speed.toFixed(2)}x`),
    right: true,
  },
  {
    title: 'LAG',
    value: (r: Reservation__Output) => (r.lagSeconds === undefined ? '-' : `${r.lagSeconds.toFixed(1)} s`),
    right: true,
  },
  { title: 'RUNG', value: (r: Reservation__Output) => String(r.rung), right: true },
  { title: 'IN', value: ingressOf, right: true },
  { title: 'WAITS', value: waitingOf, right: true },
  { title: 'NAME', value: (r: Reservation__Output) => r.name },
];

function changeLine(r: Reservation__Output, event: string, reason: string): string {
  const what = event === '' ? stateOf(r) : event;
  return `${time(r.changedMs)}  ${r.id}  ${what.padEnd(9)} CPUs ${cpusOf(r)}  ${r.name}${reason === '' ? '' : `: ${reason}`}`;
}
