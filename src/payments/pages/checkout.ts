import { html, type Markup } from '../../platform/http/html.ts';
import { count, money } from '../../platform/http/words.ts';
import { toWire } from '../../platform/ids.ts';
import type { Method } from '../capability.ts';
import type { PurchaseView } from '../purchases/read.ts';
import { cameTo, left, status } from './parts.ts';

/** The checkout page: what it is for, how much, what to do now, what happens next. Every state has its own words. */

export interface Checkout extends PurchaseView {
  /** Methods that can be chosen here; empty when one was chosen already. */
  methods: Exclude<Method, 'card'>[];
}

const methodNames: Record<Method, string> = {
  promptpay: 'PromptPay QR code',
  card: 'Card',
  truemoney: 'TrueMoney Wallet',
  mobile_banking_scb: 'SCB Easy',
  mobile_banking_kbank: 'K PLUS',
  mobile_banking_bay: 'KMA (Krungsri)',
  mobile_banking_bbl: 'Bualuang mBanking',
  mobile_banking_ktb: 'Krungthai NEXT',
};

export function checkoutPage(view: Checkout): Markup {
  const { purchase } = view;
  const id = toWire('purchase', purchase.id);
  return html`
    <h1>${purchase.packageName}: ${count(purchase.credits)}</h1>
    <p class="amount">${money(purchase.price, purchase.currency)}</p>
    <div id="live" aria-live="polite" data-state="${purchase.state}" data-over="${String(purchase.state !== 'pending')}" data-next="${nextOf(view)}">${stateOf(view)}</div>
    <footer>
      <p>Purchase <span class="mono" title="${id}">${id.slice(0, 8)}…${id.slice(-6)}</span>${purchase.livemode ? '' : ' · test mode, no real money'}</p>
    </footer>`;
}

/** The part of the page that changes while it is open. */
function stateOf(view: Checkout): Markup {
  const { purchase, attempt } = view;
  switch (purchase.state) {
    case 'completed':
      return done(view);
    case 'partially_refunded':
      return status('good', 'Paid, and refunded in part', 'A part of the money went back, and its credits with it.');
    case 'refunded':
      return status('wait', 'Refunded', 'The money went back, and the credits with it.');
    case 'failed':
      return status(
        'bad',
        'Payment failed',
        `${sentence(purchase.failureMessage) ?? 'The payment did not go through.'} Nothing was charged. Start a new purchase to try again.`,
      );
    case 'expired':
      return status(
        'wait',
        'No longer open',
        'This purchase was not paid in time. If you have paid after all, the credits will still arrive. Otherwise start a new one.',
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
      if (attempt?.state === 'creating')
        return status('wait', 'Preparing your payment', 'This takes a few seconds. The page goes on by itself.');
      if (attempt?.state !== 'pending') return choose(view);
      if (attempt.qrUri) return scan(view);
      if (attempt.authorizeUri) return goOn(attempt.authorizeUri, attempt.method as Method);
      return status(
        'wait',
        'Waiting for the payment',
        'We are told as soon as it arrives. The page goes on by itself.',
      );
  }
}

const sentence = (text: string | null) =>
  text ? `${text[0]?.toUpperCase()}${text.slice(1).replace(/\.$/, '')}.` : null;

/** What was bought for an order leads back to it, without being asked. */
const nextOf = ({ purchase }: Checkout): string | null =>
  purchase.state === 'completed' && purchase.orderId !== null ? purchase.returnUri : null;

function done({ purchase }: Checkout): Markup {
  return html`
    ${status('good', 'Paid', cameTo(purchase))}
    ${purchase.returnUri ? html`<p><a class="button" href="${purchase.returnUri}" rel="noreferrer">Continue</a></p>` : html`<p class="soft">You can close this page.</p>`}`;
}

function scan(view: Checkout): Markup {
  const { purchase, attempt } = view;
  return html`
    <p>Scan this code with your banking app and confirm the payment.</p>
    <div class="qr"><img src="/checkout/${purchase.pageToken}/qr" width="256" height="256" alt="PromptPay QR code for ${money(purchase.price, purchase.currency)}"></div>
    ${status('wait', 'Waiting for the payment', 'The page tells you as soon as it arrives.')}
    <p><a class="button quiet" href="/checkout/${purchase.pageToken}/qr" download="promptpay">Save the code</a></p>
    <p class="soft">On this phone? Save the code and open it in your banking app.</p>
    ${left(attempt?.expiresAt ?? purchase.expiresAt)}`;
}

const goOn = (uri: string, method: Method) => html`
  <p>You finish the payment at ${methodNames[method]}.</p>
  <p><a class="button" href="${uri}" rel="noreferrer">Continue to ${methodNames[method]}</a></p>
  ${status('wait', 'Waiting for the payment', 'Come back here afterwards; the page tells you when it has arrived.')}`;

function choose({ purchase, methods, attempt }: Checkout): Markup {
  if (purchase.method !== 'payment_link')
    return status(
      'bad',
      'Not ready',
      'The payment could not be prepared. Nothing was charged. Start it again where you came from.',
    );
  if (methods.length === 0)
    return status('bad', 'Not possible at the moment', 'No way to pay is available for this amount. Try again later.');
  const failed = attempt?.state === 'failed' || attempt?.state === 'expired';
  return html`
    ${failed ? status('bad', 'That did not work', `${sentence(attempt.failureMessage) ?? 'The payment did not go through.'} Nothing was charged.`) : null}
    <h2>How do you want to pay?</h2>
    ${methods.filter((method) => method !== 'truemoney').map((method) => button(purchase.pageToken, method))}
    ${methods.includes('truemoney') ? truemoney(purchase.pageToken) : null}
    ${left(purchase.expiresAt)}`;
}

const button = (token: string, method: Method) => html`
  <form method="post" action="/checkout/${token}/pay">
    <button name="method" value="${method}"${method === 'promptpay' ? '' : html` class="quiet"`}>${methodNames[method]}</button>
  </form>`;

/** It wants a phone number first, which is asked for only when it is chosen. */
const truemoney = (token: string) => html`
  <details>
    <summary class="button quiet">${methodNames.truemoney}</summary>
    <form method="post" action="/checkout/${token}/pay">
      <label for="phone">Phone number of the wallet</label>
      <input id="phone" name="phone_number" inputmode="tel" autocomplete="tel-national" pattern="0[0-9]{9}" required aria-describedby="phone-hint">
      <p class="soft" id="phone-hint">0 and nine digits</p>
      <button name="method" value="truemoney">Pay with ${methodNames.truemoney}</button>
    </form>
  </details>`;
