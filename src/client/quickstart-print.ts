import type { CpuShare__Output } from '../rpc/generated/corecast/v1/CpuShare.js';
import type { Decision__Output } from '../rpc/generated/corecast/v1/Decision.js';
import type { Forecast__Output } from '../rpc/generated/corecast/v1/Forecast.js';
import type { Quantiles__Output } from '../rpc/generated/corecast/v1/Quantiles.js';
import type { Signature__Output } from '../rpc/generated/corecast/v1/Signature.js';
import type { UsageSummary__Output } from '../rpc/generated/corecast/v1/UsageSummary.js';

export interface Mask {
  readonly tid: number;
  readonly name: string;
  /** Linux CPU list, as the kernel says. */
  readonly cpus: string;
  /** Lies within the reservation. */
  readonly verified: boolean;
}

/** Everything that the quickstart shows; also its --json. */
export interface Outcome {
  readonly exitCode: number;
  readonly command: string;
  readonly signature: Signature__Output | null;
  readonly forecast: Forecast__Output | null;
  readonly decision: Decision__Output | null;
  readonly cpus: readonly CpuShare__Output[];
  readonly threads: readonly Mask[];
  readonly usage: UsageSummary__Output | null;
  readonly finalState: string;
}

const bold = (text: string) => (process.stdout.isTTY ? `\u001b[1m${text}\u001b[0m` : text);
const cores = (value: number) => value.toFixed(2);
const percent = (value: number) => `${Math.round(value * 100)} %`;
const span = (fromS: number, toS: number) => `${fromS}–${toS} s`.padEnd(9);

export function printOutcome(outcome: Outcome): void {
  const lines = [
    ...section('Command', [outcome.command]),
    ...section('Signature', signatureLines(outcome.signature)),
    ...section(forecastTitle(outcome.forecast), forecastLines(outcome.forecast)),
    ...section(`Decision: ${word(outcome.decision?.outcome)}`, decisionLines(outcome.decision)),
    ...section('Reserved', [outcome.cpus.map((c) => `CPU ${c.cpu}: ${c.shareMilli} ‰`).join('   ')]),
    ...section('Thread masks, read from the kernel', maskLines(outcome.threads)),
    ...section('Actual usage beside the forecast', usageLines(outcome.usage)),
    ...section('End', [`FFmpeg exit ${outcome.exitCode}, reservation ${word(outcome.finalState)}`]),
  ];
  console.log(lines.join('\n'));
}

function section(title: string, lines: readonly string[]): string[] {
  return ['', bold(title), ...lines.map((line) => `  ${line}`)];
}

function signatureLines(signature: Signature__Output | null): string[] {
  const input = signature?.input;
  if (!signature || !input) return ['none'];
  const rate = input.bitrateBps > 0 ? `, ${Math.round(input.bitrateBps / 1000)} kbit/s` : '';
  const lines = [
    `in   ${input.codec} ${input.width}×${input.height} ${input.fps} fps${rate}, ${input.bitDepth} bit`,
  ];
  for (const out of signature.outputs) {
    const target =
      out.rate === 'crf' ? `crf ${out.crf}` : `${Math.round((out.bitrateBps ?? 0) / 1000)} kbit/s`;
    const preset = out.preset === '' ? 'default preset' : `preset ${out.preset}`;
    lines.push(`out  ${out.encoder} ${preset}, ${out.width}×${out.height} ${out.fps} fps, ${target}`);
  }
  const known = Object.entries(signature.complexity ?? {}).filter(
    (entry): entry is [string, number] => typeof entry[1] === 'number',
  );
  if (known.length > 0) {
    lines.push(`complexity  ${known.map(([name, value]) => `${name} ${value.toPrecision(3)}`).join(', ')}`);
  }
  return lines;
}

function forecastTitle(forecast: Forecast__Output | null): string {
  if (!forecast) return 'Forecast: none';
  const model = forecast.modelId === '' ? '' : ` (${forecast.modelId})`;
  return `Forecast by ${word(forecast.source)}${model} on ${forecast.cpuCount} CPU${forecast.cpuCount === 1 ? '' : 's'}`;
}

function forecastLines(forecast: Forecast__Output | null): string[] {
  if (!forecast) return [];
  const lines = ['span      demand in cores       per core, busiest first (0.5/0.9)     host load'];
  for (const horizon of forecast.horizons) {
    const perCore = horizon.coreUsage.map((q) => `${percent(q.q50)}/${percent(q.q90)}`).join('  ');
    const load = horizon.hostLoad;
    lines.push(
      `${span(horizon.fromSeconds, horizon.toSeconds)} ${quantiles(horizon.demandCores).padEnd(21)} ${perCore.padEnd(37)} ` +
        (load ? `${percent(load.q50)}/${percent(load.q90)}/${percent(load.q99)}` : ''),
    );
  }
  return [...lines, '(quantiles 0.5/0.9/0.99)', ...forecast.notes.map((note) => `note: ${note}`)];
}

function decisionLines(decision: Decision__Output | null): string[] {
  return (decision?.reasons ?? []).map(
    ({ passed, code, text }) => `${passed ? '✓' : '✗'} ${code.padEnd(14)} ${text}`,
  );
}

function maskLines(masks: readonly Mask[]): string[] {
  if (masks.length === 0) return ['none were read: FFmpeg ended too soon'];
  const kept = masks.filter((mask) => mask.verified).length;
  const lines = masks.map(
    ({ tid, name, cpus, verified }) =>
      `${String(tid).padStart(8)}  ${name.padEnd(16)} CPUs ${cpus.padEnd(10)} ${verified ? '✓' : '✗ outside'}`,
  );
  return [...lines, `${kept} of ${masks.length} threads within the reservation`];
}

function usageLines(usage: UsageSummary__Output | null): string[] {
  if (!usage) return ['not recorded: FFmpeg ended too soon'];
  const lines = [
    `${usage.cpuSeconds.toFixed(2)} CPU s over ${usage.mediaSeconds.toFixed(1)} s of media: ${cores(usage.meanCores)} cores`,
    `per core, busiest first: ${usage.coreUsage.map(percent).join('  ')}`,
  ];
  for (const h of usage.horizons) {
    lines.push(
      `${span(h.fromSeconds, h.toSeconds)} mean ${cores(h.meanCores)}, max ${cores(h.maxCores)}; forecast ` +
        `${quantiles(h.forecastCores)}; ${percent(h.coveredQ90)} of the steps within its 0.9 quantile`,
    );
  }
  return lines;
}

function quantiles(value: Quantiles__Output | null): string {
  return value ? `${cores(value.q50)}/${cores(value.q90)}/${cores(value.q99)}` : '';
}

/** "FORECAST_SOURCE_LSTM" reads "lstm". */
function word(value: string | undefined): string {
  return (value ?? 'none')
    .replace(/^(FORECAST_SOURCE|OUTCOME|RESERVATION_STATE)_/, '')
    .toLowerCase()
    .replace('_', ' ');
}
