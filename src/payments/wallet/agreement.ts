import { decodeJWT, verifyJWT } from 'did-jwt';
import { Resolver } from 'did-resolver';
import { getResolver } from 'key-did-resolver';
import { hashContract } from '../orders/contract.ts';
import { refused } from './fault.ts';
import type { Terms } from './purse.ts';
import { talk } from './talk.ts';

/** Whether a contract is what was asked for, and whether the service has signed it. The wallet believes nothing else. */

const resolver = new Resolver(getResolver());

export interface Claimed {
  hContract: string;
  terms: Terms;
  signature: string;
}

/** Throws `WalletFault` (1) when anything about it is not right. */
export async function checkAgreement(
  told: Record<string, unknown>,
  asked: { base: string; orderId: string; did: string; nonce: string },
): Promise<Claimed> {
  const { contract_terms, h_contract, sig } = told;
  const terms = (typeof contract_terms === 'object' && contract_terms !== null ? contract_terms : {}) as Terms;
  const hContract = String(h_contract);
  const isAbout =
    terms['order_id'] === asked.orderId && terms['nonce'] === asked.nonce && terms['wallet'] === asked.did;
  if (!isAbout) throw untrue('The contract is not about this order and this wallet.');
  if (terms['merchant_base_url'] !== `${asked.base}/`)
    throw untrue(`The contract is of ${String(terms['merchant_base_url']).slice(0, 200)}, and not of ${asked.base}.`);
  if (!/^CREDITS:[1-9]\d{0,11}$/.test(String(terms['amount']))) throw untrue('The contract names no price in credits.');
  if (hashOf(terms) !== hContract) throw untrue('The hash is not that of the contract.');
  await checkSigned(asked.base, sig, { type: 'order-contract+jwt', orderId: asked.orderId, hContract });
  return { hContract, terms, signature: String(sig) };
}

/** A JWS by one of the DIDs that the service says are its own. */
export async function checkSigned(
  base: string,
  jws: unknown,
  { type, orderId, hContract }: { type: string; orderId: string; hContract: string },
): Promise<void> {
  const { body } = await talk(base, '/.well-known/did.json');
  const known = body['alsoKnownAs'];
  try {
    const { typ } = decodeJWT(String(jws), false).header;
    const { issuer, payload } = await verifyJWT(String(jws), { resolver, policies: { aud: false } });
    const isTheirs = Array.isArray(known) && known.includes(issuer);
    if (isTheirs && typ === type && payload['order_id'] === orderId && payload['h_contract'] === hContract) return;
  } catch {
    // as any other signature that is not theirs
  }
  throw untrue('The signature is not one of the service.');
}

function hashOf(terms: Terms): string | undefined {
  try {
    return hashContract(terms);
  } catch {
    return undefined;
  }
}

const untrue = (why: string) =>
  refused('The contract cannot be trusted.', why, 'Nothing was paid. Is this the address that the shop gave you?');
