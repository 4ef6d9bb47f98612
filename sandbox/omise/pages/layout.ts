import { createHash } from 'node:crypto';
import type { Answer } from '../http/answers.ts';
import { html, Markup } from './html.ts';

const STYLE = `
:root {
  color-scheme: light dark;
  --ground: #f6f6f4; --sheet: #fff; --ink: #1b1c1d; --quiet: #5c6064; --line: #d9dadb;
  --accent: #1a53d6; --on-accent: #fff; --good: #0b6b3a; --bad: #a3261b;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #131416; --sheet: #1c1e21; --ink: #ececec; --quiet: #a4a9ae; --line: #383b40;
    --accent: #8fb1ff; --on-accent: #0c1630; --good: #74d3a0; --bad: #ff9d92;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 26rem; margin: 0 auto; padding: 16px; }
.sheet { background: var(--sheet); border: 1px solid var(--line); border-radius: 12px; padding: 24px 20px; }
.bank { margin: 8px 4px 12px; color: var(--quiet); font-size: .875rem; }
h1 { margin: 0; font-size: 1.125rem; font-weight: 600; overflow-wrap: anywhere; }
.amount { margin: 4px 0 0; font-size: clamp(2rem, 12vw, 2.75rem); font-weight: 650; line-height: 1.15;
  font-variant-numeric: tabular-nums; letter-spacing: -.01em; overflow-wrap: anywhere; }
.lead { margin: 8px 0 0; color: var(--quiet); }
.state { margin: 0 0 12px; font-size: 1.375rem; font-weight: 650; line-height: 1.25; }
.good { color: var(--good); } .bad { color: var(--bad); }
.qr { width: min(100%, 264px); margin: 20px auto 0; padding: 4px; border: 1px solid var(--line); border-radius: 8px;
  background: #fff; }
.qr svg { display: block; width: 100%; height: auto; }
form { margin: 20px 0 0; display: grid; gap: 8px; }
button, .button { min-height: 48px; width: 100%; padding: 8px 16px; border: 1px solid var(--accent); border-radius: 8px;
  background: var(--accent); color: var(--on-accent); font: inherit; font-weight: 600; cursor: pointer; }
.button { display: grid; place-items: center; margin-top: 20px; text-decoration: none; }
.plain { background: transparent; color: var(--ink); border-color: var(--line); }
:is(button, a, summary, textarea):focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
dl { margin: 20px 0 0; padding-top: 12px; border-top: 1px solid var(--line); font-size: .875rem; }
dl div { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 16px; padding: 4px 0; }
dt { color: var(--quiet); } dd { margin: 0; overflow-wrap: anywhere; }
code, textarea { font: .8125rem/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
details { margin-top: 12px; font-size: .875rem; } summary { min-height: 44px; padding: 10px 0; cursor: pointer; }
label { font-weight: 600; } textarea { width: 100%; min-height: 96px; padding: 8px; color: inherit;
  background: transparent; border: 1px solid var(--line); border-radius: 8px; resize: vertical; }
.note { margin: 12px 4px; color: var(--quiet); font-size: .8125rem; }
@media print { body { background: #fff; } form { display: none; } }
`;

// No form-action here: the bank's page sends the browser back to the merchant, and browsers apply it to redirects.
const STYLE_HASH = createHash('sha256').update(STYLE).digest('base64');
const POLICY = `default-src 'none'; style-src 'sha256-${STYLE_HASH}'; base-uri 'none'; frame-ancestors 'none'`;

/** One question per page: what for, how much, what now. */
export function sandboxPage(status: number, title: string, content: Markup): Answer {
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>${title}</title>
<style>${new Markup(STYLE)}</style>
</head>
<body>
<main>
<p class="bank">Sandbox bank</p>
<div class="sheet">
${content}
</div>
<p class="note">This is a test bank. No real money moves.</p>
</main>
</body>
</html>
`;
  const headers = {
    'content-security-policy': POLICY,
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store',
  };
  return { status, type: 'text/html; charset=utf-8', body: page.text, headers };
}

export function money(amount: number, currency: string): string {
  const format = new Intl.NumberFormat('en', { style: 'currency', currency, currencyDisplay: 'narrowSymbol' });
  return format.format(amount / 10 ** (format.resolvedOptions().maximumFractionDigits ?? 2));
}

/** "24 hours", "90 minutes", "less than a minute". */
export function duration(ms: number): string {
  const minutes = Math.ceil(ms / 60_000);
  if (minutes <= 1) return 'less than a minute';
  return minutes < 120 ? `${minutes} minutes` : `${Math.round(minutes / 60)} hours`;
}

export function shortId(id: string): string {
  return id.length > 20 ? `${id.slice(0, 12)}…${id.slice(-4)}` : id;
}
