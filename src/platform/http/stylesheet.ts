/**
 * The one stylesheet of all pages. Tokens first; one column; hairlines instead of shadows; status by word and colour.
 * Contrast of every pair of text and ground is at least 4.5 : 1 (WCAG 2.2 AA) in both schemes.
 */
export const stylesheet = `
:root {
  --ground: #ffffff; --panel: #f7f7f8; --ink: #1b1b1f; --soft: #5b5b66; --line: #d9d9e0;
  --accent: #0b57d0; --on-accent: #ffffff; --good: #146c2e; --bad: #b3261e; --wait: #7a4d00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #131316; --panel: #1c1c21; --ink: #ececf1; --soft: #a9a9b6; --line: #35353d;
    --accent: #a8c7fa; --on-accent: #062e6f; --good: #7fd694; --bad: #f2b8b5; --wait: #f0c36d;
  }
}
* { box-sizing: border-box; }
html { color-scheme: light dark; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
main { max-width: 34rem; margin: 0 auto; padding: 24px 16px 48px; }
main.wide { max-width: 72rem; }
main.wide > form, main.wide > .status, main.wide > .actions, main.wide > dl, main.wide > p { max-width: 34rem; }
h1 { font-size: 1.25rem; font-weight: 600; margin: 0 0 4px; line-height: 1.3; }
h2 { font-size: 1rem; font-weight: 600; margin: 24px 0 4px; }
p { margin: 0 0 12px; }
a { color: var(--accent); }
small, .soft { color: var(--soft); font-size: .875rem; font-weight: 400; }
code, .mono { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .875em; overflow-wrap: anywhere; }
.amount { font-size: 2.5rem; font-weight: 650; line-height: 1.15; margin: 4px 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.status { display: flex; gap: 8px; align-items: baseline; margin: 16px 0; padding: 12px 16px; border: 1px solid var(--line); border-left: 4px solid currentColor; }
.status strong { font-weight: 600; }
.status span { color: var(--ink); }
.good { color: var(--good); } .bad { color: var(--bad); } .wait { color: var(--wait); }
.qr { display: block; width: 100%; max-width: 304px; margin: 16px auto; padding: 8px; background: #ffffff; border: 1px solid var(--line); }
.qr img { display: block; width: 100%; height: auto; image-rendering: pixelated; }
dl { display: grid; grid-template-columns: auto 1fr; gap: 4px 16px; margin: 16px 0; }
dt { color: var(--soft); } dd { margin: 0; text-align: right; overflow-wrap: anywhere; }
form { margin: 0 0 8px; }
label { display: block; margin: 16px 0 4px; }
input { font: inherit; width: 100%; min-height: 44px; padding: 8px 12px; color: inherit; background: var(--ground); border: 1px solid var(--soft); border-radius: 4px; }
button, .button {
  display: block; width: 100%; min-height: 44px; padding: 10px 16px; font: inherit; font-weight: 600; text-align: center; text-decoration: none;
  color: var(--on-accent); background: var(--accent); border: 1px solid var(--accent); border-radius: 4px; cursor: pointer;
}
.quiet { color: var(--ink); background: transparent; border-color: var(--soft); font-weight: 400; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
summary { list-style: none; }
summary::-webkit-details-marker { display: none; }
details { margin: 0 0 8px; } details[open] > summary { margin-bottom: 8px; }
table { width: 100%; border-collapse: collapse; table-layout: fixed; margin: 0 0 16px; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 400; font-size: .875rem; color: var(--soft); }
th, td { padding: 8px 16px 8px 0; border-bottom: 1px solid var(--line); vertical-align: middle; overflow-wrap: anywhere; }
th:nth-child(1) { width: 8rem; } th:nth-child(2) { width: 11rem; } th:nth-child(5), td:last-child { width: 12rem; padding-right: 0; }
.number { text-align: right; }
@media (max-width: 48rem) {
  table, tbody, tr, td { display: block; width: auto; }
  thead { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; }
  tr { padding: 12px 0; border-bottom: 1px solid var(--line); }
  td, td:last-child { border: 0; padding: 2px 0; width: auto; text-align: left; }
  td[data-label], td.number { text-align: left; }
  td[data-label] { display: grid; grid-template-columns: 5rem 1fr; align-items: baseline; }
  td[data-label]::before { content: attr(data-label); color: var(--soft); font-size: .875rem; }
  td:last-child { padding-top: 8px; }
}
.unseen { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; }
.bar, .bar form { display: flex; flex-wrap: wrap; gap: 8px 16px; align-items: center; justify-content: space-between; margin: 0 0 16px; }
.bar form { margin: 0; } .bar button { width: auto; padding: 4px 16px; }
.bar a { display: inline-flex; align-items: center; min-height: 44px; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); gap: 16px; margin: 8px 0 24px; padding: 0; list-style: none; }
.figures li { display: flex; flex-direction: column; padding: 12px 0 0; border-top: 1px solid var(--line); }
.figures strong { font-size: 1.25rem; font-weight: 600; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.figures svg { width: 100%; height: 28px; margin: auto 0 0; padding-top: 8px; box-sizing: content-box; }
.some { fill: var(--accent); } .none { fill: var(--line); }
.actions { display: grid; gap: 8px; margin: 16px 0; }
.steps { padding-left: 24px; } .steps li { margin: 0 0 8px; overflow-wrap: anywhere; }
hr { border: 0; border-top: 1px solid var(--line); margin: 24px 0; }
footer { margin-top: 32px; color: var(--soft); font-size: .875rem; }
[hidden] { display: none; }
@media print { button, .button, form { display: none; } }
`;
