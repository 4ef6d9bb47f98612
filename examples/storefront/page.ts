import { createHash } from 'node:crypto';

/** Pages that are safe to send: every value is escaped, in text and in quoted attributes alike. */

/** Only `html` makes it. */
export class Markup {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

type Piece = string | number | Markup | readonly Markup[];

export const html = (strings: TemplateStringsArray, ...values: Piece[]): Markup =>
  new Markup(strings.reduce((out, literal, n) => out + render(values[n - 1] ?? '') + literal));

function render(value: Piece): string {
  if (value instanceof Markup) return value.text;
  if (typeof value === 'object') return value.map(render).join('');
  return String(value).replace(/[&<>"'`]/g, (c) => `&#${c.charCodeAt(0)};`);
}

const STYLE = `
:root { color-scheme: light dark; --ground: #fff; --ink: #1b1b1f; --soft: #5b5b66; --line: #d9d9e0; --accent: #0b57d0; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #131316; --ink: #ececf1; --soft: #a9a9b6; --line: #35353d; --accent: #a8c7fa; }
}
body { margin: 0; background: var(--ground); color: var(--ink); font: 1rem/1.6 system-ui, sans-serif; }
main { max-width: 34rem; margin: 0 auto; padding: 24px 16px 48px; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.3; margin: 0 0 12px; }
a { color: var(--accent); }
li { list-style: none; padding: 12px 0; border-bottom: 1px solid var(--line); }
ul { padding: 0; }
.soft { color: var(--soft); }
`;

/** Nothing from elsewhere, and no script. */
export const POLICY = `default-src 'none'; img-src 'self' data:; style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'`;

export const pageOf = (title: string, body: Markup): string =>
  html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>${title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<style>${new Markup(STYLE)}</style>
</head>
<body><main>${body}</main></body>
</html>`.text;
