import type { Decision__Output } from '../rpc/generated/corecast/v1/Decision.js';
import type { HorizonForecast__Output } from '../rpc/generated/corecast/v1/HorizonForecast.js';
import type { Quantiles__Output } from '../rpc/generated/corecast/v1/Quantiles.js';
import type { Signature__Output } from '../rpc/generated/corecast/v1/Signature.js';
import type { UsageSummary__Output } from '../rpc/generated/corecast/v1/UsageSummary.js';
import { bitsPerSecond, cores, percent, printLine, table, time, word } from './print.js';

/** A decision with everything that it rests on. */
export function printDecision(decision: Decision__Output): void {
  printLine(`decision   ${decision.id || '(not kept)'}  ${time(decision.atMs)}`);
  printLine(`outcome    ${word(decision.outcome, 'OUTCOME')}${retry(decision)}`);
  if (decision.signature !== null) printLine(`channel    ${describeSignature(decision.signature)}`);
  if (decision.cpus.length > 0) {
    printLine(
      `CPUs       ${decision.cpus.map(({ cpu, shareMilli }) => `${cpu} (${(shareMilli / 10).toFixed(0)} %)`).join(', ')}`,
    );
  }
  const { forecast } = decision;
  if (forecast !== null) {
    const source = word(forecast.source, 'FORECAST_SOURCE');
    printLine(
      `forecast   ${source}${forecast.modelId === '' ? '' : ` ${forecast.modelId}`}, for ${forecast.cpuCount} CPUs`,
    );
    for (const note of forecast.notes) printLine(`           ${note}`);
    printLine();
    printLine(table(HORIZON_COLUMNS, forecast.horizons));
  }
  printLine();
  const reasons = table(
    [
      { title: 'CHECK', value: (r) => r.code },
      { title: '', value: (r) => (r.passed ? 'ok' : 'no') },
      { title: 'WHY', value: (r) => r.text, wrap: true },
    ],
    decision.reasons,
  );
  printLine(reasons);
}

/** What was used, beside what was forecast. */
export function printUsage(usage: UsageSummary__Output): void {
  const { cpuSeconds, wallSeconds, mediaSeconds, meanCores, coreUsage } = usage;
  printLine(
    `used       ${cpuSeconds.toFixed(1)} CPU s in ${wallSeconds.toFixed(1)} s for ${mediaSeconds.toFixed(1)} s of media: ${cores(meanCores)} cores`,
  );
  if (coreUsage.length > 0) printLine(`per CPU    ${coreUsage.map(percent).join(', ')}`);
  if (usage.horizons.length === 0) return;
  printLine();
  printLine(
    table(
      [
        { title: 'SPAN', value: (h) => `${h.fromSeconds}-${h.toSeconds} s` },
        { title: 'MEAN', value: (h) => cores(h.meanCores), right: true },
        { title: 'MOST', value: (h) => cores(h.maxCores), right: true },
        { title: 'FORECAST 0.5/0.9/0.99', value: (h) => quantiles(h.forecastCores) },
        { title: 'BELOW 0.9', value: (h) => percent(h.coveredQ90) },
      ],
      usage.horizons,
    ),
  );
}

export function describeSignature({ input, outputs }: Signature__Output): string {
  const from = input === null ? '?' : `${input.codec} ${input.width}x${input.height} ${rate(input.fps)} fps`;
  const to = outputs.map((o) => {
    const target = o.rate === 'crf' ? `crf ${o.crf}` : bitsPerSecond(o.bitrateBps ?? 0);
    return `${o.encoder}${o.preset === '' ? '' : ` ${o.preset}`} ${o.width}x${o.height} ${rate(o.fps)} fps ${target}`;
  });
  return `${from} -> ${to.join(' + ')}`;
}

const HORIZON_COLUMNS = [
  { title: 'SPAN', value: (h: HorizonForecast__Output) => `${h.fromSeconds}-${h.toSeconds} s` },
  { title: 'CORES 0.5/0.9/0.99', value: (h: HorizonForecast__Output) => quantiles(h.demandCores) },
  {
    title: 'HOST LOAD 0.9',
    value: (h: HorizonForecast__Output) => percent(h.hostLoad?.q90 ?? 0),
    right: true,
  },
  {
    title: 'PER CPU 0.9, BUSIEST FIRST',
    value: (h: HorizonForecast__Output) => h.coreUsage.map((q) => percent(q.q90)).join(' '),
  },
];

function quantiles(q: Quantiles__Output | null): string {
  return q === null ? '-' : `${cores(q.q50)} / ${cores(q.q90)} / ${cores(q.q99)}`;
}

function retry({ retryAfterMs, outcome }: Decision__Output): string {
  if (outcome === 'OUTCOME_ACCEPTED') return '';
  return retryAfterMs === 0
    ? '; waiting will not help'
    : `; ask again in ${(retryAfterMs / 1000).toFixed(1)} s`;
}

function rate(fps: number): string {
  return String(Number(fps.toFixed(3)));
}
