import { getAddress } from 'viem/utils';
import { html, type Markup } from '../../platform/http/html.ts';
import { count } from '../../platform/http/words.ts';
import { toWire } from '../../platform/ids.ts';
import { readCaip10 } from '../rails/evm/caip.ts';
import { displayAmount } from '../rails/evm/terms.ts';
import type { PaymentRequest } from '../requests/history.ts';
import type { RequestView } from '../requests/read.ts';
import { left, status } from './parts.ts';

/** The page of a payment request: what it is for, how much, what to do now. It shows; agreeing and paying are the wallet's. */

export interface RequestPage extends RequestView {
  /** For people. */
  chainName: string;
  /** While it can be paid: what a wallet opens, and the same as an image. */
  payment: { uri: string; qr: string } | null;
}

const OVER = new Set<PaymentRequest['state']>(['completed', 'late', 'expired', 'cancelled']);

export function requestPage(page: RequestPage): Markup {
  const { request, chainName } = page;
  const id = toWire('paymentRequest', request.id);
  return html`
    <h1>${request.description}</h1>
    <p class="amount">${displayAmount(request.amount, request.decimals)} ${request.symbol}</p>
    <p class="soft">on ${chainName}${request.purpose === 'credits' ? `, for ${count(request.credits ?? 0n)}` : `, for ${request.reference}`}</p>
    <div id="live" aria-live="polite" data-state="${request.state}" data-over="${String(OVER.has(request.state))}">${stateOf(page)}</div>
    <footer>
      <p>Asked of <span class="mono">${request.payerDid}</span></p>
      <p>Request <span class="mono">${id}</span></p>
    </footer>`;
}

/** The part of the page that changes while it is open. */
function stateOf(page: RequestPage): Markup {
  const { request, transactions } = page;
  switch (request.state) {
    case 'pending':
      return agree(request);
    case 'authenticated':
      return pay(page);
    case 'underpaid':
      return html`${status('wait', 'Not all of it has arrived', `${sum(request.received, request)} are here. Send the rest.`)}${pay(page)}`;
    case 'submitted':
      return status('wait', 'On its way', 'The transaction is not in the chain yet. The page goes on by itself.');
    case 'confirming':
      return status(
        'wait',
        'Seen, and being confirmed',
        `${Math.min(...transactions.filter(({ state }) => state === 'counted').map(({ confirmations }) => confirmations))} blocks lie on it so far. Nothing more is to be done.`,
      );
    case 'completed':
      return status('good', 'Paid', `${thanks(request)} You can close this page.`);
    case 'late':
      return status(
        'wait',
        'It came after the end',
        'The payment is in the chain, but it was late. Ask the merchant what to do.',
      );
    case 'expired':
      return status(
        'wait',
        'No longer open',
        'This request was not paid in time. What was sent in time still counts. Ask the merchant for a new one.',
      );
    case 'cancelled':
      return status('wait', 'Withdrawn', 'The merchant has withdrawn this request. Nothing is owed.');
  }
}

const sum = (units: string, { decimals, symbol }: PaymentRequest) => `${displayAmount(units, decimals)} ${symbol}`;

const thanks = ({ purpose, credits }: PaymentRequest) =>
  purpose === 'credits' ? `${count(credits ?? 0n)} have been added to the account.` : 'The merchant has been told.';

const agree = (request: PaymentRequest) => html`
  ${status('wait', 'Waiting for your agreement', 'First the holder of the DID signs the terms. Then the page shows how to pay.')}
  <ol>
    <li>Open this request with the wallet or the agent that holds the DID below.</li>
    <li>Compare the amount, and sign the terms <span class="mono">${request.termsHash.slice(0, 16)}…</span></li>
    <li>Come back: the page goes on by itself.</li>
  </ol>
  ${left(request.expiresAt)}`;

const pay = ({ request, payment, chainName }: RequestPage) => html`
  <p>Scan the code with your wallet, or send exactly this, from a wallet that belongs to your DID.</p>
  ${payment === null ? null : html`<div class="qr"><img src="${payment.qr}" width="256" height="256" alt="QR code of the payment address below"></div>`}
  <dl>
    <dt>Amount</dt><dd>${sum((BigInt(request.amount) - BigInt(request.received)).toString(), request)}</dd>
    <dt>Chain</dt><dd>${chainName}</dd>
    <dt>To</dt><dd class="mono">${addressOf(request)}</dd>
  </dl>
  ${payment === null ? null : html`<p><a class="button" href="${payment.uri}">Open in a wallet</a></p><p class="soft mono">${payment.uri}</p>`}
  ${left(request.expiresAt)}`;

function addressOf({ recipient }: PaymentRequest): string {
  const account = readCaip10(recipient);
  return account ? getAddress(account.address) : recipient;
}
