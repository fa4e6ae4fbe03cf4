import type { Command } from 'commander';
import { sum } from '../../lib/sum.js';
import type { Calibration__Output } from '../../rpc/generated/corecast/v1/Calibration.js';
import type { Cpu__Output } from '../../rpc/generated/corecast/v1/Cpu.js';
import type { GetHostResponse__Output } from '../../rpc/generated/corecast/v1/GetHostResponse.js';
import { bitsPerSecond, bytes, cores, percent, printJson, printLine, table } from '../print.js';
import { type DaemonOptions, withDaemon, withDaemonOptions } from './daemon-command.js';

export function addStatusCommand(program: Command): void {
  withDaemonOptions(
    program
      .command('status')
      .summary('the host: load, CPUs, what is reserved')
      .description(
        "The host's CPUs, their load and what is reserved of them, now and over the coming minutes.",
      ),
  )
    .addHelpText('after', '\nExample:\n  corecast status')
    .action(async (options: DaemonOptions) => {
      const host = await withDaemon(options, (client) => client.getHost({}));
      if (options.json === true) return printJson(host);
      printHost(host);
    });
}

/** Above this many CPUs a table of groups that share a cache says more than one of CPUs. */
const MOST_CPUS_LISTED = 32;

function printHost(host: GetHostResponse__Output): void {
  const { load, forecast } = host;
  printLine(`host       ${host.hostname}, ${host.cpuModel}, speed factor ${host.speedFactor.toFixed(2)}`);
  printLine(
    `daemon     ${host.daemonVersion}${host.admissionClosed ? `, admission closed: ${host.admissionClosedReason}` : ''}`,
  );
  if (load !== null) {
    printLine(
      `load       ${percent(load.busy)} busy, load ${load.load_1m.toFixed(2)}, CPU pressure ${percent(load.cpuPressure)}, disk ${percent(load.diskBusy)}`,
    );
    printLine(
      `memory     ${bytes(load.memoryAvailableBytes)} of ${bytes(load.memoryTotalBytes)} available; ingress ${bitsPerSecond(load.ingressBps)}`,
    );
    printLine(
      `pressure   memory ${percent(load.memoryPressure)}, disk ${percent(load.ioPressure)}; queue ${Math.round(load.queueLength)}; swap ${bytes(load.swapUsedBytes)}`,
    );
    for (const { name, receiveDropsPerS, sendDropsPerS } of load.interfaces) {
      const drops = receiveDropsPerS + sendDropsPerS;
      if (drops > 0) printLine(`network    ${name} drops ${drops.toFixed(1)} packets a second`);
    }
    for (const gpu of load.gpus) {
      const encoder = gpu.encoderBusy === undefined ? '' : `, encoder ${percent(gpu.encoderBusy)}`;
      printLine(
        `gpu        ${gpu.name}${gpu.busy === undefined ? '' : `: ${percent(gpu.busy)} busy`}${encoder}`,
      );
    }
    printLine(`channels   ${load.channels} running, ${load.queued} waiting`);
  }
  for (const horizon of forecast?.horizons ?? []) {
    const { q50 = 0, q90 = 0 } = horizon.hostLoad ?? {};
    printLine(
      `forecast   ${horizon.fromSeconds}-${horizon.toSeconds} s: load ${percent(q50)}, below ${percent(q90)} nine times in ten`,
    );
  }
  if (host.pinning !== null) printLine(`pinning    ${host.pinning.backend}: ${host.pinning.reason}`);
  printCalibration(host.calibration);
  printLine();
  printLine(host.cpus.length > MOST_CPUS_LISTED ? groupTable(host.cpus) : cpuTable(host.cpus));
}

function printCalibration(calibration: Calibration__Output | null): void {
  if (calibration === null || calibration.outcomes === 0) return;
  const { outcomes, coverage90, alarms } = calibration;
  const counted = outcomes === 1 ? 'the only outcome' : `the last ${outcomes} outcomes`;
  printLine(`coverage   ${percent(coverage90)} of ${counted} at or below the 0.9 quantile of the forecast`);
  for (const { level, family, source, reason } of alarms)
    printLine(`drift      ${family} by ${source} ${level === 2 ? 'left out' : 'widened'}: ${reason}`);
}

function cpuTable(cpus: readonly Cpu__Output[]): string {
  return table(
    [
      { title: 'CPU', value: (c) => String(c.cpu), right: true },
      { title: 'CORE', value: (c) => String(c.core), right: true },
      { title: 'L3', value: (c) => String(c.l3), right: true },
      { title: 'NODE', value: (c) => String(c.numaNode), right: true },
      { title: 'BUSY', value: (c) => percent(c.busy), right: true },
      { title: 'RESERVED', value: (c) => percent(c.reservedMilli / 1000), right: true },
      { title: 'STATE', value: stateOf },
    ],
    cpus,
  );
}

function groupTable(cpus: readonly Cpu__Output[]): string {
  const groups = new Map<number, Cpu__Output[]>();
  for (const cpu of cpus) groups.set(cpu.l3, [...(groups.get(cpu.l3) ?? []), cpu]);
  return table(
    [
      { title: 'L3', value: ([l3]) => String(l3), right: true },
      { title: 'NODE', value: ([, group]) => String(group[0]!.numaNode), right: true },
      { title: 'CPUS', value: ([, group]) => String(group.length), right: true },
      { title: 'OFFLINE', value: ([, group]) => String(group.filter((c) => !c.online).length), right: true },
      { title: 'BUSY CORES', value: ([, group]) => cores(sum(group.map((c) => c.busy))), right: true },
      {
        title: 'RESERVED',
        value: ([, group]) => cores(sum(group.map((c) => c.reservedMilli / 1000))),
        right: true,
      },
    ],
    [...groups],
  );
}

function stateOf(cpu: Cpu__Output): string {
  if (!cpu.online) return 'offline';
  if (cpu.housekeeping) return 'housekeeping';
  return cpu.kind === 'efficiency' ? 'efficiency core' : '';
}
