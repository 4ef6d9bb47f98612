import { html, type Markup } from '../../platform/http/html.ts';
import { count } from '../../platform/http/words.ts';
import { toWire } from '../../platform/ids.ts';
import type { Outcome } from '../orders/outcome.ts';
import type { Order } from '../orders/read.ts';
import { left, status } from './parts.ts';

/**
 * The status page of an order: what it is for, how much, what to do now. As it is sent it shows the code for a wallet; what
 * the browser's own wallet can do lies in it hidden, until the page's script knows that there is one.
 */

export interface OrderView {
  outcome: Outcome;
  order?: Order;
  /** Of one that waits for a wallet. */
  ways?: WaysToPay;
}

export interface WaysToPay {
  /** Addresses of this page, and of the same in a wallet. */
  links: { page: string; wallet: string };
  /** The page's address, as an image. */
  qr: string;
  sessionId: string;
  /** The claim token, of an order that nobody has taken. */
  token: string | null;
  /** What the order costs by other rails, in words. */
  money: string | null;
  onChain: string | null;
}

export function orderPage(view: OrderView): Markup {
  const { outcome, order, ways } = view;
  // Who may not see an order is not told what it is.
  if (!order || outcome === 'forbidden' || outcome === 'unknown') return stateOf(view);
  const otherwise = [ways?.money, ways?.onChain].filter((price) => price);
  return html`
    <h1>${order.summary}</h1>
    <p class="amount">${count(order.price)}</p>
    ${otherwise.length > 0 && outcome !== 'to_prove' ? html`<p class="soft">or ${otherwise.join(' or ')}</p>` : null}
    <p class="status bad" id="fault" role="alert" hidden><span></span></p>
    <div id="live" aria-live="polite" data-state="${outcome}">${stateOf(view)}</div>
    <footer><p>Order <span class="mono">${order.orderId}</span></p></footer>`;
}

function stateOf(view: OrderView): Markup {
  const { outcome, order } = view;
  switch (outcome) {
    case 'unknown':
      return html`<h1>There is no such order</h1><p>The address is not complete, or it was never given out. Go back to the shop and start again.</p>`;
    case 'forbidden':
      return html`<h1>This link does not open the order</h1><p>It may belong to somebody else, or it is an old one. Go back to the shop: there you can buy for yourself.</p>${again(order, 'Make a new purchase')}`;
    case 'expired':
      return html`${status('bad', 'Not paid in time', 'Nothing was charged. A new order can be made at the shop.')}${again(order, 'Make a new purchase')}`;
    case 'to_claim':
    case 'to_pay':
    case 'to_prove':
      return view.ways && order ? waiting(outcome, order, view.ways) : html``;
    case 'bought_before':
      return status('good', 'Already paid', 'An earlier order opens the same. Nothing is charged.');
    case 'paid':
      return status('good', 'Paid', order?.fulfillmentMessage ?? 'Thank you. You can close this page.');
    case 'refunded':
      return html`${status('wait', 'Given back', 'The money went back, and the order opens nothing any more.')}${again(order, 'Make a new purchase')}`;
    case 'elsewhere':
      return html`${status('good', 'Sold', 'Somebody has paid this order.')}${again(order, 'Make a new purchase')}`;
  }
}

const waiting = (outcome: 'to_claim' | 'to_pay' | 'to_prove', order: Order, ways: WaysToPay): Markup => html`
  ${browserWallet(order, ways)}
  ${outcome === 'to_claim' ? withWallet(ways) : null}
  ${outcome === 'to_pay' ? takenByAnother(order, ways) : null}
  ${outcome === 'to_prove' ? paidByAnother(order, ways) : null}
  ${outcome === 'to_prove' ? null : html`<div data-part="with-wallet">${left(order.payDeadline)}</div>`}`;

/** What the browser's own wallet offers; each part is shown by the script when it is possible. */
const browserWallet = (order: Order, { sessionId, token, money }: WaysToPay): Markup => html`
  <section id="wallet" hidden data-order="${order.orderId}" data-merchant="${toWire('account', order.merchantId)}" data-opens="${order.fulfillmentUrl}"
    data-amount="CREDITS:${String(order.price)}" data-session="${sessionId}" ${token === null ? null : html`data-token="${token}"`}>
    <div data-part="open" hidden>
      ${status('good', 'You have paid for this', 'Open it for the page of the shop that led you here. Nothing is charged.')}
      <form data-deed="open" method="post"><button>Open it</button></form>
      <p class="soft">Did somebody else send you this address? Then close the page: it would open for them, and not for you.</p>
    </div>
    <div data-part="mine" hidden>${status('wait', 'Not paid yet', 'This browser has taken the order. Choose how to pay it.')}</div>
    <div data-part="pay" hidden>
      ${money === null ? null : html`<form data-deed="money" method="post"><button>Pay ${money}</button></form><p class="soft">No account is needed. You choose how on the next page.</p>`}
      ${money === null ? payWithCredits(order) : html`<details><summary class="button quiet">Pay ${count(order.price)} of my account</summary>${payWithCredits(order)}</details>`}
    </div>
    <div data-part="mine" hidden><form data-deed="give-up" method="post"><button class="quiet">Give the order up</button></form></div>
  </section>`;

const payWithCredits = ({ price }: Order): Markup => html`
  <form data-deed="credits" method="post">
    <label for="email">E-mail address</label>
    <input id="email" name="email" type="email" autocomplete="username" maxlength="254" required>
    <label for="password">Password</label>
    <input id="password" name="password" type="password" autocomplete="current-password" maxlength="1000" required>
    <p></p>
    <button>Pay ${count(price)}</button>
  </form>`;

const withWallet = (ways: WaysToPay): Markup => html`
  <div data-part="with-wallet">
    <h2>With a wallet</h2>
    <p>Scan the code with your wallet, or open it on this device.</p>
    ${codeOf(ways)}
  </div>`;

const takenByAnother = (order: Order, ways: WaysToPay): Markup => html`
  <div data-part="foreign">
    ${status('wait', 'A wallet has taken this order', 'It is to be paid there now. The page goes on by itself.')}
    ${codeOf(ways)}
    <p class="soft">Is it not your wallet? A new order is yours alone.</p>
    ${again(order, 'Start over')}
  </div>`;

/** For whoever has lost the wallet, too. */
const paidByAnother = (order: Order, ways: WaysToPay): Markup => html`
  <div data-part="with-wallet">
    ${status('good', 'Already paid', 'This code is for something that is paid: scan it with the wallet that paid, and it opens here. Nothing is charged.')}
    ${codeOf(ways)}
    ${again(order, 'Make a new purchase')}
  </div>`;

const codeOf = ({ links, qr }: WaysToPay): Markup => html`
  <div class="qr"><img src="${qr}" width="256" height="256" alt="QR code of the address of this page"></div>
  <p><a class="button quiet" href="${links.wallet}">Open in a wallet</a></p>
  <p data-part="copy" hidden><button type="button" class="quiet" data-copy="${links.page}">Copy the address</button></p>
  <p class="soft mono">${links.page}</p>`;

const again = (order: Order | undefined, words: string): Markup | null =>
  order?.publicReorderUrl ? html`<p><a class="button quiet" href="${order.publicReorderUrl}">${words}</a></p>` : null;
