"""The style sheet of a report: narrow and wide, light and dark, on paper."""

STYLE = """
:root {
  --ink: #1b1f24; --quiet: #57606a; --paper: #ffffff; --card: #f6f7f9; --line: #d8dde3;
  --blue: #0067a5; --faint: #c3dcee; --grey: #8b949e; --faint-grey: #dfe3e8; --mark: #ffe08a;
  --good: #00734f; --bad: #a84300;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e4e8ec; --quiet: #9aa4ae; --paper: #121518; --card: #1b2026; --line: #343b43;
    --blue: #58b0e8; --faint: #1e3c52; --grey: #7b858f; --faint-grey: #333a42; --mark: #6b5400;
    --good: #3fc79a; --bad: #f0935a;
  }
  /* Drawn on white: light becomes dark, and the hues stay. */
  figure img { filter: invert(0.93) hue-rotate(180deg); }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 68rem; color: var(--ink);
  background: var(--paper); font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", sans-serif;
}
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0 0 0.3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 0.6rem; padding-top: 0.6rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.6rem 0 0.5rem; }
p { margin: 0.5rem 0; max-width: 46rem; }
a { color: var(--blue); }
nav { margin: 1rem 0; display: flex; flex-wrap: wrap; gap: 0.2rem 1.1rem; font-size: 0.92rem; }
.quiet, figcaption, caption { color: var(--quiet); font-size: 0.9rem; }
.summary { background: var(--card); border-left: 4px solid var(--blue); border-radius: 4px;
  padding: 0.6rem 1rem; margin: 1rem 0; }
.summary p { margin: 0.35rem 0; max-width: none; }
.wide { overflow-x: auto; margin: 0.8rem 0; }
table { border-collapse: collapse; font-size: 0.92rem; }
caption { text-align: left; caption-side: bottom; padding-top: 0.4rem; }
th, td { padding: 0.3rem 0.7rem; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: top; font-variant-numeric: tabular-nums; }
th { font-weight: 600; }
tbody th, thead th:first-child { text-align: left; }
tbody th { font-weight: 400; }
td small { display: block; color: var(--quiet); white-space: nowrap; }
.words td { text-align: left; overflow-wrap: anywhere; }
.words th { white-space: nowrap; }
figure { margin: 1rem 0; }
figure img { display: block; width: 100%; min-width: 44rem; height: auto; }
figcaption { max-width: 46rem; padding-top: 0.3rem; }
article { background: var(--card); border-radius: 6px; padding: 0.8rem 1rem; margin: 0.9rem 0; }
article p { max-width: none; }
blockquote { margin: 0 0 0.5rem; font-size: 1.05rem; overflow-wrap: anywhere; }
mark { background: var(--mark); color: inherit; border-radius: 3px; padding: 0 0.15em; }
.good { color: var(--good); } .bad { color: var(--bad); }
.mosaic { display: flex; height: 3.2rem; gap: 2px; margin: 0.6rem 0; }
.mosaic > div { position: relative; background: var(--faint); min-width: 1px; overflow: hidden; }
.mosaic > div > div { position: absolute; inset: auto 0 0; background: var(--blue); }
.mosaic > .null { background: var(--faint-grey); }
.mosaic > .null > div { background: var(--grey); }
.candidates { width: 100%; table-layout: fixed; }
.candidates th:first-child { width: auto; overflow-wrap: anywhere; }
.candidates th:not(:first-child) { width: 5.6rem; }
.candidates tbody th span { display: block; color: var(--quiet); }
.bar { display: block; height: 0.35rem; margin-top: 0.25rem; background: var(--faint);
  border-radius: 2px; overflow: hidden; }
.bar > span { display: block; height: 100%; background: var(--blue); }
details { margin: 0.5rem 0; }
summary { cursor: pointer; color: var(--blue); }
pre { overflow-x: auto; background: var(--card); border-radius: 6px; padding: 0.8rem 1rem;
  font-size: 0.82rem; line-height: 1.45; }
code { font-family: ui-monospace, SFMono-Regular, Menlo, monospace; font-size: 0.92em; }
@media (max-width: 36rem) {
  th, td { padding: 0.3rem 0.4rem; }
  article { padding: 0.7rem; }
  .candidates thead { display: none; }
  .candidates, .candidates tbody, .candidates caption { display: block; }
  .candidates tr { display: grid; grid-template-columns: repeat(3, 1fr); column-gap: 0.8rem;
    padding: 0.4rem 0; border-bottom: 1px solid var(--line); }
  .candidates th { grid-column: 1 / -1; }
  .candidates th, .candidates td { display: block; border: 0; padding: 0.1rem 0; text-align: left; }
  .candidates td::before { content: attr(data-label) " "; color: var(--quiet); }
  .words th { white-space: normal; }
}
@media print { nav { display: none; } article, figure { break-inside: avoid; } }
"""
