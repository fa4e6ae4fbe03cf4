import { type Comparison, LATE_LIMIT, type PolicyResult, type Scenario } from '../../simulate/compare.js';
import { html, Markup } from './html.js';
import { carriedAgainstLate, reservedAgainstUsed, utilisationOverTime } from './simulation-plots.js';
import { STYLE } from './style.js';

/** One self-contained page about a comparison of policies: no script, no network, light and dark. */
export function simulationPage(
  { cpus, arrivals, hours, seed, workloads }: Scenario,
  comparison: Comparison,
): string {
  const { results } = comparison;
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>corecast simulation, ${cpus} CPUs</title>
<style>${new Markup(STYLE)}</style>
</head>
<body>
<main>
<header>
<p class="kind">Simulation</p>
<h1>${cpus} CPUs, admission policies side by side</h1>
<p class="lead">${arrivals.join(', ')} arrivals, seed ${seed}; of each kind ${workloads} × ${hours} hours. Settings were chosen on as many others.</p>
</header>
${figures(comparison)}
${table(results)}
${section(
  'Channels carried against lateness',
  `Each dot is one setting on the workloads for tuning; the ring is what the chosen one came to on those reported. The dashed line is the limit of ${100 * LATE_LIMIT} %. What is later than 1 % is not shown.`,
  carriedAgainstLate(results),
)}
${section('Utilisation over time', 'Of the first reported workload, means of five minutes.', utilisationOverTime(results))}
${section('Reservations against use', 'What each policy counts as taken, and what its channels used.', reservedAgainstUsed(results))}
<footer>Made by corecast simulate; docs/simulation.md defines lateness, sharing and each policy.</footer>
</main>
</body>
</html>
`.text;
}

function section(title: string, text: string, plot: string): Markup {
  return html`<section><h2>${title}</h2><p>${text}</p><div class="plot">${new Markup(plot)}</div></section>`;
}

function figures(comparison: Comparison): Markup {
  const card = (title: string, value: string, note: string) =>
    html`<div class="figure"><p class="title">${title}</p><p class="value">${value}</p><p class="note">${note}</p></div>`;
  const share = (of: number) => (of === 0 ? 'late' : `${(100 * of).toFixed(1)} %`);
  const ratio = (of: number) => (of === 0 ? 'late' : of.toFixed(3));
  const peer = `channels, over ${comparison.bestPeer || 'no peer'}`;
  return html`<section class="figures">
${card('Share of the oracle', share(comparison.shareOfOracle), 'corecast as it ships')}
${card('To the best peer', ratio(comparison.ratioToBestPeer), peer)}
${card('Share of the oracle', share(comparison.shareOfOracleTuned), 'corecast, headroom tuned')}
${card('To the best peer, tuned', ratio(comparison.ratioToBestPeerTuned), peer)}
</section>`;
}

function table(results: readonly PolicyResult[]): Markup {
  return html`<section><h2>Policies</h2>
<table><thead><tr><th>Policy</th><th class="number">Setting</th><th class="number">Channels</th><th class="number">Late</th><th class="number">CPUs used</th><th class="number">Refused</th></tr></thead>
<tbody>${results.map(
    (one) =>
      html`<tr${one.policy.startsWith('corecast') ? new Markup(' class="own"') : ''}><td>${one.policy}</td><td class="number" title="${one.settingMeans}">${one.setting ?? '–'}</td><td class="number">${one.channels.toFixed(1)}</td><td class="number">${(100 * one.lateShare).toFixed(3)} %</td><td class="number">${(100 * one.utilisation).toFixed(1)} %</td><td class="number">${(100 * one.refusedShare).toFixed(1)} %</td></tr>`,
  )}</tbody></table></section>`;
}
