/** System fonts and colours of its own for light and dark: the page loads nothing. */
export const STYLE = `
:root { color-scheme: light dark; --page: #ffffff; --text: #1c2024; --soft: #5d666f; --line: #dde1e5; --card: #f5f7f9; --good: #1a7f4b; --warn: #a15c00; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --page: #14171a; --text: #e6e9ec; --soft: #98a2ac; --line: #2f363d; --card: #1d2227; --good: #55c58a; --warn: #e0a33e; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 780px; margin: 0 auto; padding: 32px 20px 48px; }
h1 { font-size: 28px; line-height: 1.2; margin: 0; display: flex; flex-wrap: wrap; gap: 12px; align-items: center; }
h2 { font-size: 18px; margin: 0 0 4px; }
p { margin: 0 0 10px; }
section { margin-top: 36px; }
section > p { color: var(--soft); }
.kind { color: var(--soft); margin: 0 0 2px; }
.lead { margin: 8px 0 0; color: var(--soft); }
.why { margin: 8px 0 0; overflow-wrap: anywhere; }
.state { font-size: 13px; font-weight: 600; padding: 3px 10px; border-radius: 999px; border: 1px solid currentColor; color: var(--soft); }
.state.in_use { color: var(--good); } .state.shadow { color: var(--warn); } .state.barred { color: var(--bad); }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(172px, 1fr)); gap: 12px; margin-top: 24px; }
.figure { background: var(--card); border-radius: 8px; padding: 12px 14px; }
.figure p { margin: 0; color: var(--soft); font-size: 13px; }
.figure .value { color: var(--text); font-size: 24px; font-weight: 600; font-variant-numeric: tabular-nums; }
.plot { overflow-x: auto; --plot-background: var(--page); }
.plot figure { margin: 0; }
.plot svg { max-width: 100%; height: auto; }
.plot [class*="swatches"] { font-size: 13px !important; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; font-weight: 600; color: var(--soft); }
th, td { padding: 5px 10px 5px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.why-text { overflow-wrap: anywhere; padding-right: 0; }
.when, .word { white-space: nowrap; font-variant-numeric: tabular-nums; }
tr.own td { font-weight: 600; }
.hash code { font-size: 12px; overflow-wrap: anywhere; }
section table + p { margin-top: 10px; }
footer { margin-top: 40px; color: var(--soft); font-size: 13px; }
`;
