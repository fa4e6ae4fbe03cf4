/** Colours are never the only sign: every state also has its word. */
export const PAGE_STYLE = `
:root {
  --bg: #f6f7f9; --card: #fff; --text: #16191d; --dim: #5b6470; --line: #dde1e6;
  --busy: #2563c9; --reserved: #a9c7f5; --good: #1b7f4b; --warn: #a35a00; --bad: #b3261e;
  --good-bg: #e3f4ea; --warn-bg: #fdefd9; --bad-bg: #fbe4e2;
}
@media (prefers-color-scheme: dark) {
  :root {
    --bg: #101317; --card: #191d23; --text: #e8ebef; --dim: #9aa4b1; --line: #2b323b;
    --busy: #6ea2f5; --reserved: #2c4670; --good: #6fd39d; --warn: #f0b35b; --bad: #ff8f86;
    --good-bg: #14301f; --warn-bg: #36280f; --bad-bg: #3b1b19;
  }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 75rem; background: var(--bg); color: var(--text);
  font: 15px/1.45 system-ui, sans-serif; }
header { display: flex; flex-wrap: wrap; gap: .25rem 1rem; align-items: baseline; justify-content: space-between; }
h1 { font-size: 1.25rem; margin: 0; }
h1 span { color: var(--dim); font-weight: 400; }
h2 { font-size: .8rem; margin: 0 0 .6rem; color: var(--dim); font-weight: 600; }
.badge { margin: 0; padding: .15rem .6rem; border-radius: 1rem; background: var(--line); font-size: .85rem; }
.badge.good, td.good span { background: var(--good-bg); color: var(--good); }
.badge.bad, td.bad span { background: var(--bad-bg); color: var(--bad); }
td.warn span { background: var(--warn-bg); color: var(--warn); }
#alert { padding: .6rem .8rem; border-radius: .5rem; background: var(--bad-bg); color: var(--bad); margin: .8rem 0 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem; margin: 1rem 0 .75rem; }
.tile, .card { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .75rem .9rem; }
.tile b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; font-weight: 600; }
.tile.warn b { color: var(--warn); }
.tile span { color: var(--dim); font-size: .8rem; }
.card { margin-bottom: .75rem; }
#trend { display: block; width: 100%; height: 6rem; }
#trend path { fill: none; stroke: var(--busy); stroke-width: 2; vector-effect: non-scaling-stroke; }
#trend line { stroke: var(--line); vector-effect: non-scaling-stroke; }
.legend { margin: 0 0 .6rem; color: var(--dim); font-size: .8rem; }
.key { display: inline-block; width: .7rem; height: .7rem; border-radius: .15rem; margin: 0 .25rem 0 .6rem; }
.key:first-child { margin-left: 0; }
.key.busy { background: var(--busy); } .key.reserved { background: var(--reserved); }
.key.house { background: var(--line); } .key.off { border: 1px dashed var(--dim); }
.group { margin: 0 0 .5rem; }
.group > span { color: var(--dim); font-size: .75rem; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(2.6rem, 1fr)); gap: .3rem; }
.cpu { position: relative; height: 2.6rem; border: 1px solid var(--line); border-radius: .3rem; overflow: hidden;
  font-size: .7rem; text-align: center; }
.cpu.house { background: var(--line); } .cpu.off { border-style: dashed; opacity: .5; }
.cpu i { position: absolute; bottom: 0; left: 0; width: 50%; background: var(--busy); }
.cpu i + i { left: 50%; background: var(--reserved); }
.cpu span { position: absolute; inset: .15rem 0 auto; }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { text-align: left; color: var(--dim); font-size: .75rem; font-weight: 600; }
th, td { padding: .4rem .5rem; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; }
th.n, td.n { text-align: right; }
td.good span, td.warn span, td.bad span { border-radius: .8rem; padding: 0 .45rem; }
td.name { overflow-wrap: anywhere; }
td small { display: block; color: var(--dim); }
.empty { color: var(--dim); margin: 0; }
footer { color: var(--dim); font-size: .8rem; }
footer a { color: inherit; }
body.stale main { opacity: .7; }
@media (max-width: 40rem) {
  thead { display: none; }
  tr { display: grid; grid-template-columns: 1fr 1fr; padding: .5rem 0; border-bottom: 1px solid var(--line); }
  tr:last-child { border-bottom: 0; }
  th, td, td.n { border: 0; padding: .1rem 0; text-align: left; }
  td[data-label]::before { content: attr(data-label) ' '; color: var(--dim); font-size: .75rem; }
  td.name { grid-column: 1 / -1; font-weight: 600; }
}
`;
