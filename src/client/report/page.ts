import type { DataPart__Output } from '../../rpc/generated/corecast/v1/DataPart.js';
import type { GetModelReportResponse__Output } from '../../rpc/generated/corecast/v1/GetModelReportResponse.js';
import type { Model__Output } from '../../rpc/generated/corecast/v1/Model.js';
import type { ModelEvidence__Output } from '../../rpc/generated/corecast/v1/ModelEvidence.js';
import type { ModelScore__Output } from '../../rpc/generated/corecast/v1/ModelScore.js';
import type { ModelStep__Output } from '../../rpc/generated/corecast/v1/ModelStep.js';
import { time } from '../print.js';
import { html, Markup } from './html.js';
import { coverageBySpan, errorByEncoder, forecastAgainstActual, trainingCurve } from './plots.js';
import { STYLE } from './style.js';
import { summarise } from './summary.js';

/** One self-contained page about one model: no script, no network, light and dark. */
export function reportPage(report: GetModelReportResponse__Output, madeMs: number): string {
  const { model, evidence, steps } = report;
  if (model === null) throw new Error('the daemon told nothing of the model');
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>corecast model ${model.id}</title>
<style>${new Markup(STYLE)}</style>
</head>
<body>
<main>
${heading(model)}
${figures(model, evidence)}
${plots(report)}
${methods(model)}
${evidence === null ? '' : data(evidence)}
${history(steps)}
<footer>Made by corecast models report on ${time(madeMs)} UTC.</footer>
</main>
</body>
</html>
`.text;
}

const STATE_WORDS: Readonly<Record<string, string>> = {
  in_use: 'in use',
  shadow: 'in shadow',
  retired: 'retired',
  barred: 'taken back by the alarm',
  candidate: 'never in use',
};

function heading({ id, state, origin, trainedMs, seed, why }: Model__Output): Markup {
  return html`<header>
<p class="kind">Forecast model</p>
<h1>${id} <span class="state ${state}">${STATE_WORDS[state] ?? state}</span></h1>
<p class="lead">${origin === 'baseline' ? 'The baseline that ships with corecast' : 'Trained on this host’s history'}, ${time(trainedMs)} UTC, seed ${seed}.</p>
${why === '' ? '' : html`<p class="why">${why}</p>`}
</header>`;
}

function figures(model: Model__Output, evidence: ModelEvidence__Output | null): Markup {
  const own = model.scores.find(({ method }) => method === 'lstm');
  const card = (title: string, value: string, note: string) =>
    html`<div class="figure"><p class="title">${title}</p><p class="value">${value}</p><p class="note">${note}</p></div>`;
  const test = 'on sources it had not seen';
  const live = `on ${model.liveOutcomes} live outcomes`;
  return html`<section class="figures">
${card('Mean error of the median', percentOf(own?.mapePercent), test)}
${card('Pinball loss at 0.9', lossOf(own), `over mean demand, ${test}`)}
${card('Covered by the 0.9 quantile', shareOf(own), test)}
${card('Runs it was made from', evidence === null ? String(model.trainingRuns + model.validationRuns) : String(evidence.data?.runs ?? 0), evidence === null ? '' : `of ${evidence.data?.sources ?? 0} sources`)}
${model.live === null ? '' : card('Mean error, live', percentOf(model.live.mapePercent), live)}
${model.live === null ? '' : card('Pinball loss, live', lossOf(model.live), live)}
${model.live === null ? '' : card('Covered, live', shareOf(model.live), live)}
</section>`;
}

function plots(report: GetModelReportResponse__Output): Markup {
  const { dots, coverage, errors, spans } = summarise(report);
  const { evidence } = report;
  const section = (title: string, text: string, plot: string) =>
    html`<section><h2>${title}</h2><p>${text}</p><div class="plot">${new Markup(plot)}</div></section>`;
  return html`${
    dots.length === 0
      ? html`<section><p>No answers of this model are kept: it came without evidence and has answered no live channel yet.</p></section>`
      : [
          section(
            'Forecast against actual',
            'Each dot is one answer: what the model gave as the median, and what the channel used. On the line it was exact; above it the channel used more. Both axes are logarithmic.',
            forecastAgainstActual(dots),
          ),
          section(
            'Coverage by horizon',
            'Share of outcomes at or below the 0.9 quantile; the dashed line is the target. The bar is the 95 % binomial interval (Wilson), each run counted once, because rows of one run stand or fall together.',
            coverageBySpan(coverage, spans),
          ),
          section(
            'Error by encoder',
            'Mean absolute error of the median over the demand, all horizons, by the encoder that costs most in each channel; beside it the number of outcomes.',
            errorByEncoder(errors),
          ),
        ]
  }
${
  evidence === null || evidence.epochs.length === 0
    ? ''
    : section(
        'Training',
        `Mean pinball loss by epoch, begun from ${evidence.start}. The weights of the epoch with the least loss on the validation part were kept.${evidence.resumedAfter.length === 0 ? '' : ` Interrupted and taken up again after epoch ${evidence.resumedAfter.join(', ')}.`}`,
        trainingCurve(evidence.epochs, evidence.keptEpoch),
      )
}`;
}

const METHOD_WORDS: Readonly<Record<string, string>> = {
  lstm: 'this model',
  signature_lookup: 'what the same signature took before',
  cost_table: 'the static cost table',
  incumbent: 'the model then in use',
  lstm_running: 'this model, running channels',
  incumbent_running: 'the model then in use, running channels',
  last_value: 'repeating the last step, running channels',
  mean_12: 'mean of the last minute, running channels',
  ewma: 'fading mean, running channels',
};

function methods({ scores }: Model__Output): Markup {
  if (scores.length === 0) return html``;
  return html`<section><h2>Beside other methods</h2>
<p>The same unseen rows, first horizon. The simple methods get their quantiles from their own errors on the training part.</p>
<table><thead><tr><th>Method</th><th class="number">Mean error</th><th class="number">Pinball loss</th><th class="number">Covered</th></tr></thead>
<tbody>${scores.map(
    (score) =>
      html`<tr${score.method.startsWith('lstm') ? new Markup(' class="own"') : ''}><td>${METHOD_WORDS[score.method] ?? score.method}</td><td class="number">${percentOf(score.mapePercent)}</td><td class="number">${lossOf(score)}</td><td class="number">${shareOf(score)}</td></tr>`,
  )}</tbody></table></section>`;
}

function data(evidence: ModelEvidence__Output): Markup {
  const row = (name: string, part: DataPart__Output | null) =>
    part === null
      ? html``
      : html`<tr><td>${name}</td><td class="number">${part.runs}</td><td class="number">${part.rows}</td><td class="number">${part.sources}</td><td>${time(part.fromMs)}</td><td>${time(part.toMs)}</td></tr>`;
  const notes = [
    evidence.timeOrdered
      ? 'No source is in two parts, and of channels what teaches had ended before validation begins, and that before the test begins.'
      : 'No source is in two parts; the channels overlapped too much to be put in order of time.',
    ...(evidence.leftOut === 0
      ? []
      : [`${evidence.leftOut} runs lie outside the time of their part and are in none.`]),
    ...(evidence.unusable === 0 ? [] : [`${evidence.unusable} runs could not be used.`]),
  ];
  return html`<section><h2>Data</h2>
<table><thead><tr><th>Part</th><th class="number">Runs</th><th class="number">Rows</th><th class="number">Sources</th><th>From (UTC)</th><th>To (UTC)</th></tr></thead>
<tbody>${row('training', evidence.training)}${row('validation', evidence.validation)}${row('test', evidence.test)}</tbody></table>
<p>${notes.join(' ')}</p>
<p class="hash">SHA-256 of all rows: <code>${evidence.data?.hash ?? ''}</code></p></section>`;
}

function history(steps: readonly ModelStep__Output[]): Markup {
  if (steps.length === 0) return html``;
  return html`<section><h2>What happened to it</h2>
<table><thead><tr><th>When (UTC)</th><th>Step</th><th>By</th><th>Why</th></tr></thead>
<tbody>${steps.map(
    ({ atMs, kind, by, reason }) =>
      html`<tr><td class="when">${time(atMs)}</td><td class="word">${kind.replace('_', ' ')}</td><td class="word">${by}</td><td class="why-text">${reason}</td></tr>`,
  )}</tbody></table></section>`;
}

function percentOf(percent: number | undefined): string {
  return percent === undefined ? '–' : `${percent.toFixed(1)} %`;
}

function lossOf(score: ModelScore__Output | undefined): string {
  return score === undefined ? '–' : score.pinball90.toFixed(4);
}

function shareOf(score: ModelScore__Output | undefined): string {
  return score === undefined ? '–' : `${(100 * score.coverage90).toFixed(1)} %`;
}
