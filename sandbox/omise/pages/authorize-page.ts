import { type Charge, isAwaiting } from '../charges/charge.ts';
import { complete } from '../charges/outcome.ts';
import { type Answer, seeOther } from '../http/answers.ts';
import { textField } from '../http/fields.ts';
import { type Call, idOf } from '../http/router.ts';
import { CHALLENGE_FAILURE } from '../objects/cards.ts';
import type { World } from '../state.ts';
import { html } from './html.ts';
import { money, sandboxPage } from './layout.ts';

/** What the card's bank (3-D Secure) or the wallet shows before it lets the money go. */
export function showAuthorization(call: Call): Answer {
  const { world } = call;
  const charge = paymentOf(world, idOf(call));
  if (charge === undefined)
    return sandboxPage(404, 'There is no such payment', html`<h1>There is no such payment</h1>`);
  if (!isAwaiting(charge)) return donePage(charge);
  const asks =
    charge.card === null ? 'Confirm in your bank' : `Confirm with your card ending in ${charge.card.lastDigits}`;
  const content = html`<h1>${world.merchant}</h1>
<p class="amount">${money(charge.amount, charge.currency)}</p>
<p class="lead">${asks} that you want to pay this.</p>
<form method="post"><button name="decision" value="complete">Complete</button></form>
<form method="post"><button class="plain" name="decision" value="fail">Fail</button></form>`;
  return sandboxPage(200, `Confirm ${money(charge.amount, charge.currency)}`, content);
}

/** Decides and sends the browser back to the merchant, as the provider does: without saying how it went. */
export function decideAuthorization(call: Call): Answer {
  const { world, input } = call;
  const charge = paymentOf(world, idOf(call));
  if (charge === undefined) return showAuthorization(call);
  if (isAwaiting(charge)) complete(world, charge, failureOf(charge, textField(input, 'decision') === 'complete'));
  return charge.returnUri === null ? donePage(charge) : seeOther(charge.returnUri);
}

function failureOf(charge: Charge, confirmed: boolean): string | null {
  if (charge.card === null) return confirmed ? null : 'payment_cancelled';
  if (!confirmed || charge.card.failsChallenge) return CHALLENGE_FAILURE;
  return charge.card.declines;
}

function donePage(charge: Charge): Answer {
  const link =
    charge.returnUri === null ? null : html`<a class="button" href="${charge.returnUri}">Return to the shop</a>`;
  const content = html`<h1 role="status">This payment is already decided</h1>
<p class="lead">Its state is ${charge.status}.</p>${link}`;
  return sandboxPage(200, 'Already decided', content);
}

function paymentOf(world: World, id: string): Charge | undefined {
  return [...world.charges.values()].find((charge) => charge.payment === id);
}
