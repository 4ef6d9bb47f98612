import { doDeed } from './deeds.ts';
import { notDone, refused } from './fault.ts';
import { keyOf, readKey, type WalletKey } from './keys.ts';
import type { Place } from './place.ts';
import type { Purchase, Purse } from './purse.ts';
import { talk } from './talk.ts';
import { shown } from './terminal.ts';
import type { Told, Wallet } from './wallet.ts';

/** Shows for the browser of an address that this wallet has paid; nothing is charged. */
export async function prove(wallet: Wallet, place: Place): Promise<Told> {
  const { sessionId } = place;
  if (sessionId === null)
    throw notDone(
      'No browser is named.',
      'The address has no session: it was not shown by a browser.',
      'Open the article in the browser that is to read it, and take the address that it shows.',
    );
  const purchase = wallet.purse.find(place) ?? (await findOpening(wallet.purse, place));
  if (!purchase || (await standingOf(purchase)) === 'unpaid')
    throw refused(
      'There is nothing to show.',
      'This wallet has not paid for what the address opens.',
      'Use the wallet that has paid, or pay: farebox wallet pay.',
    );
  await requireConsent(wallet, purchase, sessionId);
  if (!(await showPaid(wallet, purchase, sessionId)))
    throw refused(
      'It opens nothing any more.',
      `The money of the order ${purchase.orderId} went back.`,
      'Open the article again at the shop: it makes a new order.',
    );
  return toldOf(purchase, sessionId, 'proved');
}

/** As the service says, for the run that paid may not have lived to hear of it. */
export async function standingOf({ base, orderId, hContract }: Purchase): Promise<'unpaid' | 'paid' | 'given_back'> {
  if (hContract === undefined) return 'unpaid';
  const { status, body } = await talk(base, `/orders/${orderId}?h_contract=${encodeURIComponent(hContract)}`);
  if (status !== 200) return 'unpaid';
  return body['refunded'] === true ? 'given_back' : 'paid';
}

/** The address of a new order may open what an older one has paid. */
async function findOpening(purse: Purse, { base, orderId, ...shows }: Place): Promise<Purchase | undefined> {
  const told = { token: shows.token, h_contract: shows.hContract, session_id: shows.sessionId ?? undefined };
  const query = Object.entries(told).filter((pair): pair is [string, string] => pair[1] !== undefined);
  const { body } = await talk(base, `/orders/${orderId}?${new URLSearchParams(query)}`);
  return purse.findOpening(base, { fulfillmentUrl: body['fulfillment_url'] });
}

/** Somebody may show a code of their own to whoever has paid, and read at their cost. */
export async function requireConsent({ terminal, isSure }: Wallet, { terms, orderId }: Purchase, sessionId: string) {
  if (isSure) return;
  const question = [
    `You have paid for this: ${shown(terms?.['summary'] ?? orderId)} (order ${orderId}).`,
    `Unlock on another browser? The one that shows session ${sessionId} will read it, and one that reads it now may lose it.`,
    'Nothing is charged. Say no unless that browser is before you.',
  ].join('\n');
  if (!(await terminal.confirm(question)))
    throw refused('Nothing was unlocked.', 'You did not say yes.', 'Run it again, or with --yes.');
}

/** False when the money went back, which the wallet keeps in mind. */
export async function showPaid(wallet: Wallet, purchase: Purchase, sessionId: string): Promise<boolean> {
  const { base, orderId, hContract = '' } = purchase;
  const reply = await doDeed(
    { base, orderId, hContract, key: keyOfPurchase(wallet, purchase) },
    { action: 'prove', sessionId },
    { wish: { h_contract: hContract, session_id: sessionId }, to: 'paid', what: 'The payment was not shown.' },
  );
  const isOpen = reply['refunded'] === false;
  wallet.purse.keep({ ...purchase, state: isOpen ? 'paid' : 'given_back' });
  return isOpen;
}

export function keyOfPurchase({ key }: Wallet, { secret, keyFile, did, orderId }: Purchase): WalletKey {
  if (secret !== undefined) return keyOf(Buffer.from(secret, 'base64url'));
  const found = key ?? (keyFile === undefined ? undefined : readKey(keyFile));
  if (found?.did === did) return found;
  throw notDone(
    `The key of the order ${orderId} is not here.`,
    `It was taken by ${did}.`,
    'Name the file of that key with --key.',
  );
}

export const toldOf = (
  { orderId, terms, hContract, receipt }: Purchase,
  sessionId: string | null,
  result: string,
): Told => ({
  ...{ result, order_id: orderId, h_contract: hContract ?? null, receipt: receipt ?? null },
  ...{ amount: String(terms?.['amount'] ?? ''), summary: String(terms?.['summary'] ?? ''), session_id: sessionId },
  fulfillment_url: typeof terms?.['fulfillment_url'] === 'string' ? terms['fulfillment_url'] : null,
});
