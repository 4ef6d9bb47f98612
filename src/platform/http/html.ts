import { createHash } from 'node:crypto';
import type { FastifyReply } from 'fastify';
import { stylesheet } from './stylesheet.ts';

/** Markup that is safe to send; only `html` makes it. */
export class Markup {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

type Piece = string | number | Markup | null | undefined | false | readonly Piece[];

/** Escapes every value, in text and in quoted attributes alike; nested `html` and lists pass as they are. */
export function html(strings: TemplateStringsArray, ...values: Piece[]): Markup {
  return new Markup(strings.reduce((out, literal, i) => out + render(values[i - 1]) + literal));
}

function render(value: Piece): string {
  if (value === null || value === undefined || value === false) return '';
  if (value instanceof Markup) return value.text;
  if (Array.isArray(value)) return value.map(render).join('');
  return String(value).replace(/[&<>"'`]/g, (c) => `&#${c.charCodeAt(0)};`);
}

export interface Page {
  title: string;
  body: Markup;
  /** Script of the page, allowed by its hash. The page must work without it. */
  script?: string;
  /** Seconds after which a browser without JavaScript looks again. */
  refreshS?: number;
  /** Where it looks then, when that is not where it is. */
  refreshTo?: string | undefined;
  status?: number;
  /** With tables: as wide as a desk. */
  isWide?: boolean;
}

const styleHash = hashOf(stylesheet);

/** Sends a page of ours: one column, our stylesheet, nothing from elsewhere. */
export function page(
  reply: FastifyReply,
  { title, body, script, refreshS, refreshTo, status = 200, isWide }: Page,
): FastifyReply {
  const text = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>${title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<link rel="icon" href="data:,">
${refreshS === undefined ? null : html`<noscript><meta http-equiv="refresh" content="${refreshS}${refreshTo ? `; url=${refreshTo}` : ''}"></noscript>`}
<style>${new Markup(stylesheet)}</style>
</head>
<body>
<main${isWide ? new Markup(' class="wide"') : null}>${body}</main>
${script === undefined ? null : html`<script>${new Markup(script)}</script>`}
</body>
</html>`.text;
  const scripts = script === undefined ? '' : `; script-src ${hashOf(script)}; connect-src 'self'`;
  return reply
    .code(status)
    .header(
      'Content-Security-Policy',
      `default-src 'none'; style-src ${styleHash}; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'${scripts}`,
    )
    .header('Referrer-Policy', 'no-referrer')
    .type('text/html; charset=utf-8')
    .serializer((payload: unknown) => String(payload))
    .send(text);
}

function hashOf(text: string): string {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
}
