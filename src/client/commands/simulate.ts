import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { type Command, Option } from 'commander';
import type { PolicyResult, Scenario } from '../../simulate/compare.js';
import { ARRIVALS, type Arrivals } from '../../simulate/workload.js';
import { integer } from '../arguments.js';
import { printJson, printLine, table } from '../print.js';

interface Options {
  readonly cpus: number;
  readonly arrivals?: Arrivals;
  readonly hours: number;
  readonly workloads: number;
  readonly seed: number;
  readonly json?: true;
  readonly html?: string;
}

const POPULATION = fileURLToPath(new URL('../../../models/simulation/channels.json', import.meta.url));

export function addSimulateCommand(program: Command): void {
  program
    .command('simulate')
    .summary('how many channels a host would carry under several admission policies')
    .description(
      'Simulates a host and channels that were measured under corecast, what operators do today, and an oracle. Needs no daemon.',
    )
    .option('--cpus <n>', 'CPUs of the host', integer(2, 256), 64)
    .addOption(new Option('--arrivals <kind>', 'how channels come (default: all of them)').choices(ARRIVALS))
    .option('--hours <n>', 'simulated hours that count, of each workload', integer(1, 240), 24)
    .option('--workloads <n>', 'for each kind of arrivals, and as many for tuning', integer(1, 20), 2)
    .option('--seed <n>', 'the same seed, the same channels', integer(0, 1_000_000), 1)
    .option('--html <file>', 'write a page with plots')
    .option('--json', 'one JSON object')
    .addHelpText('after', '\nExample:\n  corecast simulate --cpus 16 --arrivals flash --html simulation.html')
    .action(simulateAll);
}

async function simulateAll({ json, html, arrivals, ...of }: Options): Promise<void> {
  const { compare } = await import('../../simulate/compare.js');
  const { parsePopulation } = await import('../../simulate/population.js');
  const population = parsePopulation(await readFile(POPULATION, 'utf8'), POPULATION);
  const scenario: Scenario = { ...of, arrivals: arrivals === undefined ? ARRIVALS : [arrivals], population };
  const comparison = compare(scenario);
  if (html !== undefined) {
    const { simulationPage } = await import('../report/simulation-page.js');
    await writeFile(html, simulationPage(scenario, comparison));
  }
  if (json === true) return printJson({ ...of, arrivals: scenario.arrivals, ...comparison });
  printLine(resultTable(comparison.results));
  printLine();
  const { shareOfOracle, ratioToBestPeer, shareOfOracleTuned, ratioToBestPeerTuned, bestPeer } = comparison;
  const line = (name: string, share: number, ratio: number) =>
    printLine(
      share === 0
        ? `${name}: late, so it carries nothing`
        : `${name}: ${(100 * share).toFixed(1)} % of the oracle, ${ratio.toFixed(3)} times ${bestPeer || 'no peer'}`,
    );
  line('corecast as it ships', shareOfOracle, ratioToBestPeer);
  line('corecast, headroom tuned', shareOfOracleTuned, ratioToBestPeerTuned);
  if (html !== undefined) printLine(`written: ${html}`);
}

function resultTable(results: readonly PolicyResult[]): string {
  return table(
    [
      { title: 'POLICY', value: ({ policy }) => policy },
      { title: 'SETTING', value: ({ setting }) => String(setting ?? '-'), right: true },
      { title: 'CHANNELS', value: ({ channels }) => channels.toFixed(1), right: true },
      { title: 'LATE %', value: ({ lateShare }) => (100 * lateShare).toFixed(3), right: true },
      { title: 'ON TIME', value: ({ onTime }) => (onTime ? 'yes' : 'no') },
      { title: 'USED %', value: ({ utilisation }) => (100 * utilisation).toFixed(1), right: true },
      { title: 'PROMISED %', value: ({ reserved }) => (100 * reserved).toFixed(1), right: true },
      { title: 'REFUSED %', value: ({ refusedShare }) => (100 * refusedShare).toFixed(1), right: true },
    ],
    results,
  );
}
