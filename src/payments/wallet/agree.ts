import { createHash } from 'node:crypto';
import { type Json, spell } from '../orders/contract.ts';
import { answerTo, type DeedOrder } from './deeds.ts';
import { refused } from './fault.ts';
import { priceOn } from './price.ts';
import type { Terms } from './purse.ts';
import { faultOf, talk } from './talk.ts';

/** Agrees to what is to be paid on chain: to the price of the contract, and to nothing that it has not worked out itself. */

const what = 'The order was not paid.';

/** What the service answers to a wallet that pays on chain. */
interface Asked {
  id: string;
  terms: Terms;
}

interface Agreed {
  id: string;
  termsHash: string;
  /** EIP-681, for what is still to be paid; null when all of it is on its way. */
  uri: string | null;
}

export async function agreeToPay(order: DeedOrder, contract: Terms, told: unknown): Promise<Agreed> {
  const { id, terms } = checkAsked(order, contract, told);
  const termsHash = createHash('sha256').update(spell(terms)).digest('hex');
  const path = `/v1/payment-requests/${id}`;
  const asked = await talk(order.base, `${path}/challenges`, { body: {} });
  if (asked.body['code'] === 'conflict') return { id, termsHash, uri: null };
  if (asked.status !== 201) throw faultOf(what, asked);
  const body = await answerTo(asked.body, order, { purpose: 'payment', termsHash }, what);
  const agreed = await talk(order.base, `${path}/authorizations`, { body });
  if (agreed.body['code'] === 'conflict') return { id, termsHash, uri: null };
  if (agreed.status !== 200) throw faultOf(what, agreed);
  return { id, termsHash, uri: paymentUri(terms, String(agreed.body['remaining'])) };
}

function checkAsked({ base, key }: DeedOrder, contract: Terms, told: unknown): Asked {
  const { id, terms } = (told ?? {}) as Partial<Asked>;
  const price = priceOn(contract, 'evm');
  const isAsAgreed =
    typeof id === 'string' &&
    /^[a-z]+_[0-9a-z]{26}$/.test(id) &&
    typeof terms === 'object' &&
    price !== undefined &&
    terms['request'] === id &&
    terms['payer'] === key.did &&
    terms['service'] === new URL(base).origin &&
    terms['asset'] === price['asset'] &&
    terms['amount'] === price['amount'];
  if (!isAsAgreed) throw untrue(base);
  return { id, terms };
}

/** Made here, of what was signed. */
function paymentUri(terms: Terms, remaining: string): string {
  const [, chain, token] =
    /^eip155:(\d+)\/(?:erc20:(0x[0-9a-fA-F]{40})|slip44:\d+)$/.exec(textOf(terms['asset'])) ?? [];
  const [, on, to] = /^eip155:(\d+):(0x[0-9a-fA-F]{40})$/.exec(textOf(terms['recipient'])) ?? [];
  const isLess = /^\d{1,78}$/.test(remaining) && BigInt(remaining) <= BigInt(textOf(terms['amount']));
  if (chain === undefined || to === undefined || on !== chain || !isLess) throw untrue(textOf(terms['service']));
  return token === undefined
    ? `ethereum:${to}@${chain}?value=${remaining}`
    : `ethereum:${token}@${chain}/transfer?address=${to}&uint256=${remaining}`;
}

const textOf = (value: Json | undefined): string => String(value);

const untrue = (base: string) =>
  refused(
    what,
    `${base} asked for another payment than the contract has.`,
    'Nothing was signed. Is this the address that the shop gave you?',
  );
