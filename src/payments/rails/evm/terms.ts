import type { Address } from 'viem';
import { formatUnits, getAddress } from 'viem/utils';
import { readCaip2, readCaip10, readCaip19 } from './caip.ts';

/** What is asked of a payer on the chain. Frozen when the request is made: these strings are stored, hashed and signed. */
export interface Terms {
  /** CAIP-2. */
  chain: string;
  /** CAIP-19. */
  asset: string;
  /** CAIP-10. */
  recipient: string;
  /** Base units, as a decimal string: a uint256 fits no number. */
  amount: string;
}

export interface ReadTerms {
  chainId: number;
  /** `null`: the native coin. */
  token: Address | null;
  recipient: Address;
  amount: bigint;
}

const MAX_AMOUNT = 2n ** 256n - 1n;

/** A positive uint256 in its only spelling; `undefined` for everything else. */
export function readAmount(text: string): bigint | undefined {
  const amount = /^[1-9]\d{0,77}$/.test(text) ? BigInt(text) : 0n;
  return amount > 0n && amount <= MAX_AMOUNT ? amount : undefined;
}

/** Terms that were stored. Throws when they contradict themselves: nothing may be concluded from such. */
export function readTerms(terms: Terms): ReadTerms {
  const chainId = readCaip2(terms.chain);
  const asset = readCaip19(terms.asset);
  const account = readCaip10(terms.recipient);
  const amount = readAmount(terms.amount);
  if (!asset || !account || !amount || asset.chainId !== chainId || account.chainId !== chainId)
    throw new Error('these terms of payment are not coherent');
  return { chainId, token: asset.token, recipient: account.address, amount };
}

/** EIP-681: what wallets open, and what the QR code holds. For a top-up, pass the terms with what is still missing. */
export function paymentUri(terms: Terms): string {
  const { chainId, token, recipient, amount } = readTerms(terms);
  const to = getAddress(recipient);
  return token === null
    ? `ethereum:${to}@${chainId}?value=${amount}`
    : `ethereum:${getAddress(token)}@${chainId}/transfer?address=${to}&uint256=${amount}`;
}

/** `1500000` with 6 decimals is `1.5`. Exact: no floating point is involved. */
export const displayAmount = (amount: string, decimals: number): string => formatUnits(BigInt(amount), decimals);
