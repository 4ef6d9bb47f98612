import { html, type Markup } from '../../platform/http/html.ts';
import { count } from '../../platform/http/words.ts';
import { toWire } from '../../platform/ids.ts';
import { cameTo, left, status } from '../pages/parts.ts';
import { liveScript } from '../pages/scripts.ts';
import type { PurchaseView } from '../purchases/read.ts';
import { displayMsat } from './prices.ts';

/** The page of a purchase by Lightning: what it is for, how much, the invoice, what happens next. */

export interface InvoicePage extends PurchaseView {
  /** The invoice as an image, while it can be paid. */
  qr: string | null;
}

/** The button is there only where it can do something. */
const copyScript = `
(() => {
  const live = document.getElementById('live');
  const show = () => {
    for (const button of live.querySelectorAll('[data-copy]')) button.hidden = !navigator.clipboard;
  };
  live.addEventListener('click', ({ target }) => {
    if (target.matches?.('[data-copy]'))
      navigator.clipboard.writeText(target.dataset.copy).then(() => { target.textContent = 'Copied'; }, () => {});
  });
  new MutationObserver(show).observe(live, { childList: true });
  show();
})();
`;

export const invoiceScript = `${liveScript}\n${copyScript}`;

export function invoicePage(view: InvoicePage): Markup {
  const { purchase, invoice } = view;
  const id = toWire('purchase', purchase.id);
  return html`
    <h1>${purchase.packageName}: ${count(purchase.credits)}</h1>
    ${invoice ? html`<p class="amount">${displayMsat(invoice.amountMsat)}</p>` : null}
    <div id="live" aria-live="polite" data-state="${purchase.state}" data-over="${String(purchase.state !== 'pending')}">${stateOf(view)}</div>
    <footer>
      <p>Purchase <span class="mono" title="${id}">${id.slice(0, 8)}…${id.slice(-6)}</span>${purchase.livemode ? '' : ' · test mode, no real money'}</p>
    </footer>`;
}

/** The part of the page that changes while it is open. */
function stateOf(view: InvoicePage): Markup {
  const { purchase } = view;
  switch (purchase.state) {
    case 'completed':
      return html`
        ${status('good', 'Paid', cameTo(purchase))}
        ${purchase.returnUri ? html`<p><a class="button" href="${purchase.returnUri}" rel="noreferrer">Continue</a></p>` : html`<p class="soft">You can close this page.</p>`}`;
    case 'partially_refunded':
    case 'refunded':
      return status('wait', 'Refunded', 'The money went back, or a part of it, and its credits with it.');
    case 'failed':
      return status(
        'bad',
        'No invoice',
        'The wallet did not make one. Nothing was charged. Start a new purchase to try again.',
      );
    case 'expired':
      return status(
        'wait',
        'No longer open',
        'The invoice was not paid in time. If you have paid after all, the credits will still arrive. Otherwise start a new purchase.',
      );
    case 'cancelled':
      return status('wait', 'Cancelled', 'This purchase was cancelled, and nothing is owed.');
    case 'review':
      return status(
        'wait',
        'Being checked',
        'Your payment arrived, but not as expected. A person is looking at it; you need not do anything.',
      );
    case 'pending':
      return pay(view);
  }
}

function pay({ purchase, invoice, qr }: InvoicePage): Markup {
  if (!invoice?.bolt11 || invoice.state !== 'open' || qr === null)
    return status(
      'wait',
      'Preparing your invoice',
      'This takes a few seconds. If nothing comes, start again where you came from.',
    );
  return html`
    <p>Scan this code with your Lightning wallet and confirm the payment.</p>
    <div class="qr"><img src="${qr}" width="256" height="256" alt="QR code of the invoice below"></div>
    <p><a class="button" href="lightning:${invoice.bolt11}">Open in a wallet</a></p>
    <p><button type="button" class="quiet" data-copy="${invoice.bolt11}" hidden>Copy the invoice</button></p>
    <p class="soft mono">${invoice.bolt11}</p>
    ${status('wait', 'Waiting for the payment', 'The page tells you as soon as it arrives.')}
    ${left(invoice.expiresAt ?? purchase.expiresAt)}`;
}
