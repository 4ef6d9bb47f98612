import { html, type Markup } from '../../platform/http/html.ts';
import { count } from '../../platform/http/words.ts';
import type { Outcome } from '../orders/outcome.ts';
import type { Order } from '../orders/read.ts';
import { left, status } from './parts.ts';

/** The status page of an order: what it is for, how much, what to do now. It opens nothing by itself: that the wallet does. */

export interface OrderView {
  outcome: Outcome;
  order?: Order;
  /** Of one that waits for a wallet. */
  links?: { page: string; wallet: string };
  qr?: string;
}

export function orderPage(view: OrderView): Markup {
  const { outcome, order } = view;
  // Who may not see an order is not told what it is.
  if (!order || outcome === 'forbidden' || outcome === 'unknown') return stateOf(view);
  return html`
    <h1>${order.summary}</h1>
    <p class="amount">${count(order.price)}</p>
    <div id="live" aria-live="polite" data-state="${outcome}">${stateOf(view)}</div>
    <footer><p>Order <span class="mono">${order.orderId}</span></p></footer>`;
}

function stateOf(view: OrderView): Markup {
  const { outcome, order } = view;
  switch (outcome) {
    case 'unknown':
      return html`<h1>There is no such order</h1><p>The address is not complete, or it was never given out. Go back to the shop and start again.</p>`;
    case 'forbidden':
      return html`<h1>This link does not open the order</h1><p>It may belong to somebody else, or it is an old one. Go back to the shop: there you can buy for yourself.</p>${again(order)}`;
    case 'expired':
      return html`${status('bad', 'Not paid in time', 'Nothing was charged. A new order can be made at the shop.')}${again(order)}`;
    case 'to_claim':
      return html`<p>Scan the code with your wallet, or open it on this device.</p>${waysToPay(view)}${order && left(order.payDeadline)}`;
    case 'to_pay':
      return html`${status('wait', 'A wallet has taken this order', 'It is to be paid there now. The page goes on by itself.')}${waysToPay(view)}${order && left(order.payDeadline)}`;
    case 'to_prove':
      return html`${status('good', 'Already paid', 'This code is for something that is paid: scan it with the wallet that paid, and it opens here. Nothing is charged.')}${waysToPay(view)}${again(order)}`;
    case 'bought_before':
      return status('good', 'Already paid', 'An earlier order opens the same. Nothing is charged.');
    case 'paid':
      return status('good', 'Paid', order?.fulfillmentMessage ?? 'Thank you. You can close this page.');
    case 'refunded':
      return html`${status('wait', 'Given back', 'The money went back, and the order opens nothing any more.')}${again(order)}`;
    case 'elsewhere':
      return html`${status('good', 'Sold', 'Somebody has paid this order.')}${again(order)}`;
  }
}

const waysToPay = ({ links, qr }: OrderView): Markup | null =>
  links === undefined || qr === undefined
    ? null
    : html`
  <div class="qr"><img src="${qr}" width="256" height="256" alt="QR code of the address of this page"></div>
  <p><a class="button" href="${links.wallet}">Open in a wallet</a></p>
  <p class="soft mono">${links.page}</p>`;

/** For whoever has lost the wallet, too. */
const again = (order: Order | undefined): Markup | null =>
  order?.publicReorderUrl
    ? html`<p><a class="button quiet" href="${order.publicReorderUrl}">Make a new purchase</a></p>`
    : null;

/**
 * Waits for news by long poll, and puts them in place or goes where the order leads. Plain JavaScript, allowed by its
 * hash; without it the page refreshes itself.
 */
export const orderScript = `
'use strict';
const live = document.getElementById('live');
let tag = '';
async function look(waitMs) {
  const here = new URL(location.href);
  if (waitMs) here.searchParams.set('timeout_ms', String(waitMs));
  const reply = await fetch(here, { headers: { accept: 'application/json', ...(tag ? { 'if-none-match': tag } : {}) } });
  if (reply.status === 304) return;
  const isNews = tag !== '';
  tag = reply.headers.get('etag') || tag;
  if (!isNews) return;
  const told = await reply.json();
  const address = (reply.status === 200 || told.already_paid_order_id) && told.fulfillment_url || told.public_reorder_url;
  if (reply.status < 400 && address || told.already_paid_order_id && address) { location.replace(address); return; }
  const fresh = await fetch(location.href, { headers: { accept: 'text/html' } });
  const next = new DOMParser().parseFromString(await fresh.text(), 'text/html').getElementById('live');
  if (!next) { location.reload(); return; }
  live.replaceChildren(...next.childNodes);
  live.dataset.state = next.dataset.state;
}
async function follow() {
  for (let wait = 0; ; ) {
    try { await look(tag ? 30000 : 0); wait = 0; } catch { wait = Math.min(15000, wait * 2 || 1000); }
    await new Promise((resolve) => setTimeout(resolve, wait || 250));
  }
}
follow();
`;
