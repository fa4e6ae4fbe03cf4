import { createHash } from 'node:crypto';
import { PAGE_SCRIPT } from './page-script.js';
import { PAGE_STYLE } from './page-style.js';

/** The status page: one document, nothing loaded from anywhere but /api/status. */
export const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>corecast</title>
<link rel="icon" href="data:,">
<style>${PAGE_STYLE}</style>
</head>
<body>
<header>
  <h1>corecast <span id="host"></span></h1>
  <p id="admission" class="badge" role="status">connecting…</p>
</header>
<p id="alert" role="alert" hidden></p>
<main>
  <section aria-label="Host" class="tiles" id="tiles"></section>
  <section aria-labelledby="trend-title" class="card">
    <h2 id="trend-title">Host load, last 10 minutes</h2>
    <svg id="trend" viewBox="0 0 600 100" preserveAspectRatio="none" role="img" aria-label="No samples yet"></svg>
  </section>
  <section aria-labelledby="cpus-title" class="card">
    <h2 id="cpus-title">CPUs</h2>
    <p class="legend"><span class="key busy"></span>busy now <span class="key reserved"></span>reserved
      <span class="key house"></span>housekeeping <span class="key off"></span>offline</p>
    <div id="cpus"></div>
  </section>
  <section aria-labelledby="channels-title" class="card">
    <h2 id="channels-title">Channels</h2>
    <div class="scroll"><table id="channels" hidden>
      <thead><tr><th>Name</th><th>State</th><th>CPUs</th><th class="n">Use / forecast</th><th class="n">Speed</th>
        <th class="n">Behind</th><th class="n">In</th><th class="n">Rung</th><th>Since</th></tr></thead>
      <tbody></tbody>
    </table></div>
    <p id="none" class="empty">Loading…</p>
  </section>
</main>
<footer><span id="version"></span> · <a href="/metrics">metrics</a> · <a href="/healthz">health</a> ·
  <a href="/api/status">JSON</a></footer>
<noscript><p class="empty">This page needs JavaScript; /api/status has the same facts.</p></noscript>
<script>${PAGE_SCRIPT}</script>
</body>
</html>
`;

/** Only this very style and script may run, and only this server be asked. */
export const PAGE_POLICY = [
  "default-src 'none'",
  `style-src ${hash(PAGE_STYLE)}`,
  `script-src ${hash(PAGE_SCRIPT)}`,
  "connect-src 'self'",
  'img-src data:',
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

function hash(text: string): string {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
}
