import { announce } from '../charges/announce.ts';
import { type Charge, isAwaiting } from '../charges/charge.ts';
import { complete } from '../charges/outcome.ts';
import { stamp } from '../clock.ts';
import { type Answer, seeOther } from '../http/answers.ts';
import { textField } from '../http/fields.ts';
import { type Call, idOf } from '../http/router.ts';
import { chargeOfLink, isPayable, type Link } from '../objects/links.ts';
import { refundedAmount } from '../objects/refunds.ts';
import { qrSvg, referenceOf, scannedReference } from '../promptpay.ts';
import type { World } from '../state.ts';
import { html, Markup } from './html.ts';
import { duration, money, sandboxPage, shortId } from './layout.ts';

// The person's banking app: no key, because it is not the merchant who looks at it.

/** `GET /pay?qr=<payload>`: what a phone does after it has read the code. */
export function scan({ world, query }: Call): Answer {
  const payload = textField(query, 'qr');
  if (payload === null) return scanForm(world);
  const reference = scannedReference(payload);
  const charge = [...world.charges.values()].find(({ id, qr }) => qr !== null && referenceOf(id) === reference);
  return charge === undefined ? unknownPage() : seeOther(`/pay/${charge.id}`);
}

function scanForm(world: World): Answer {
  const waiting = [...world.open].filter(isAwaiting).reverse().slice(0, 10);
  const content = html`<h1>Scan a QR code</h1>
<p class="lead">Paste what the code says. A phone would read it with its camera.</p>
<form method="get" action="/pay">
<label for="qr">Content of the code</label>
<textarea id="qr" name="qr" required spellcheck="false" autocomplete="off"></textarea>
<button>Continue</button>
</form>
${waiting.length === 0 ? null : html`<h2>Or take one that is waiting</h2>`}
${waiting.map((charge) => html`<p><a class="button plain" href="/pay/${charge.id}">${money(charge.amount, charge.currency)} to ${world.merchant}</a></p>`)}`;
  return sandboxPage(200, 'Scan a QR code', content);
}

export async function showPayment(call: Call): Promise<Answer> {
  const { world } = call;
  const link = world.links.get(idOf(call));
  if (link !== undefined) return linkPage(world, link);
  const charge = world.charges.get(idOf(call));
  if (charge === undefined) return unknownPage();
  if (!isAwaiting(charge)) return finishedPage(world, charge);
  return charge.payment === null ? waitingPage(world, charge) : seeOther(confirmationOf(charge.payment));
}

/** The two buttons. A page that was open too long is answered with the state as it is. */
export function decidePayment(call: Call): Answer {
  const { world, input } = call;
  const link = world.links.get(idOf(call));
  const charge = link === undefined ? world.charges.get(idOf(call)) : openedLink(world, link);
  if (charge === undefined) return link === undefined ? unknownPage() : seeOther(`/pay/${link.id}`);
  if (isAwaiting(charge)) {
    if (charge.payment !== null) return seeOther(confirmationOf(charge.payment));
    complete(world, charge, textField(input, 'decision') === 'pay' ? null : 'payment_cancelled');
  }
  return seeOther(`/pay/${charge.id}`);
}

function openedLink(world: World, link: Link): Charge | undefined {
  if (!isPayable(link)) return undefined;
  const charge = chargeOfLink(world, link);
  announce(world, 'charge.create', charge);
  return charge;
}

/** Cards and wallets are confirmed with their own bank, which may refuse. */
function confirmationOf(payment: string): string {
  return `/payments/${payment}/authorize`;
}

async function waitingPage(world: World, charge: Charge): Promise<Answer> {
  const left = duration(charge.expiresAt - world.clock.now());
  const content = html`${heading(world.merchant, charge)}
<p class="lead">Waiting for your payment. ${left} left, until <time datetime="${stamp(charge.expiresAt)}">${clockTime(charge)}</time>.</p>
${charge.qr === null ? null : await qrFigure(charge.qr.payload, charge)}
${decisions()}
${facts(charge)}`;
  return sandboxPage(200, `Pay ${money(charge.amount, charge.currency)} to ${world.merchant}`, content);
}

function clockTime(charge: Charge): string {
  return `${stamp(charge.expiresAt).slice(0, 16).replace('T', ' ')} UTC`;
}

async function qrFigure(payload: string, charge: Charge): Promise<Markup> {
  const svg = new Markup(await qrSvg(payload));
  const label = `PromptPay QR code for ${money(charge.amount, charge.currency)}`;
  return html`<div class="qr" role="img" aria-label="${label}">${svg}</div>
<details><summary>Content of the code</summary><code>${payload}</code></details>`;
}

function decisions(): Markup {
  return html`<form method="post"><button name="decision" value="pay">Pay</button></form>
<form method="post"><button class="plain" name="decision" value="decline">Decline</button></form>`;
}

function finishedPage(world: World, charge: Charge): Answer {
  const { headline, sentence, tone } = stateOf(charge);
  const content = html`<p class="state ${tone}" role="status">${headline}</p>
${heading(world.merchant, charge)}
<p class="lead">${sentence}</p>
${charge.returnUri === null ? null : html`<a class="button" href="${charge.returnUri}">Return to ${world.merchant}</a>`}
${facts(charge)}`;
  return sandboxPage(200, `${headline}: ${money(charge.amount, charge.currency)}`, content);
}

function stateOf(charge: Charge): { headline: string; sentence: string; tone: string } {
  if (charge.status === 'pending') return { headline: 'Reserved', sentence: 'The merchant may take it.', tone: 'good' };
  if (charge.status === 'expired') return { headline: 'Expired', sentence: 'Ask for a new code.', tone: 'bad' };
  if (charge.status === 'reversed') return { headline: 'Released', sentence: 'Nothing was taken.', tone: '' };
  if (charge.status === 'failed') return { headline: 'Declined', sentence: 'Nothing was paid.', tone: 'bad' };
  const returned = refundedAmount(charge);
  if (returned > 0) {
    return { headline: 'Refunded', sentence: `${money(returned, charge.currency)} came back.`, tone: '' };
  }
  return { headline: 'Paid', sentence: 'You can close this page.', tone: 'good' };
}

function linkPage(world: World, link: Link): Answer {
  const payable = isPayable(link);
  const content = html`${payable ? null : html`<p class="state" role="status">Already paid</p>`}
<h1>${link.title}</h1>
<p class="amount">${money(link.amount, link.currency)}</p>
<p class="lead">${link.description === '' ? `to ${world.merchant}` : link.description}</p>
${payable ? decisions() : null}`;
  return sandboxPage(200, `${link.title}: ${money(link.amount, link.currency)}`, content);
}

function unknownPage(): Answer {
  const content = html`<h1>There is no such payment</h1>
<p class="lead">The address is incomplete, or the code was not made here. <a href="/pay">Scan another code</a></p>`;
  return sandboxPage(404, 'There is no such payment', content);
}

function heading(merchant: string, charge: Charge): Markup {
  return html`<h1>${merchant}</h1>
<p class="amount">${money(charge.amount, charge.currency)}</p>`;
}

const METHOD_NAMES: Record<string, string> = { card: 'Card', promptpay: 'PromptPay', truemoney: 'TrueMoney' };

function methodName(type: string): string {
  return METHOD_NAMES[type] ?? type.replace('mobile_banking_', 'Mobile banking, ').replaceAll('_', ' ');
}

function facts(charge: Charge): Markup {
  const row = (name: string, value: string | Markup) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`;
  return html`<dl>
${charge.description === null ? null : row('For', charge.description)}
${row('Method', methodName(charge.source?.type ?? 'card'))}
${row('Reference', html`<code title="${charge.id}">${shortId(charge.id)}</code>`)}
</dl>`;
}
