import { html, type Markup } from '../../platform/http/html.ts';
import { count } from '../../platform/http/words.ts';
import type { Purchase } from '../purchases/history.ts';

/** What the pages of payments have in common. */

export const status = (tone: 'good' | 'bad' | 'wait', headline: string, text: string) =>
  html`<p class="status ${tone}"><span><strong>${headline}.</strong> ${text}</span></p>`;

/** What a purchase has come to, for whoever has just paid it. */
export function cameTo({ orderId, forId, credits }: Purchase): string {
  if (orderId !== null) return 'The page goes on to what you have bought.';
  return forId === null
    ? `${count(credits)} have been added to the account.`
    : `${count(credits)} go to what asked for them.`;
}

/** In words, and exact on hover. It never says that a charge is dead: only the provider can. */
export function left(until: Date): Markup {
  const minutes = Math.max(0, Math.round((until.getTime() - Date.now()) / 60_000));
  const words =
    minutes >= 120 ? `${Math.round(minutes / 60)} hours` : minutes === 1 ? '1 minute' : `${minutes} minutes`;
  const text = minutes === 0 ? 'The time for this payment is running out.' : `${words} left`;
  return html`<p class="soft"><time datetime="${until.toISOString()}" title="${until.toUTCString()}" data-left>${text}</time></p>`;
}
