import type { Address } from 'viem';

/**
 * Names that mean the same to everybody: chains by CAIP-2 `eip155:8453`, accounts by CAIP-10 `eip155:8453:0x…`, assets by
 * CAIP-19 `eip155:8453/erc20:0x…`, or `eip155:1/slip44:60` for the native coin. Addresses in them are lower case: what is
 * stored, signed and compared has one spelling. People are shown the checksum (ERC-55).
 */

export const caip2 = (chainId: number): string => `eip155:${chainId}`;
export const caip10 = (chainId: number, address: Address): string => `eip155:${chainId}:${address.toLowerCase()}`;
/** `native` is the coin's SLIP-44 type. */
export const caip19 = (chainId: number, of: { token: Address } | { native: number }): string =>
  'token' in of ? `eip155:${chainId}/erc20:${of.token.toLowerCase()}` : `eip155:${chainId}/slip44:${of.native}`;

const CHAIN = 'eip155:([1-9]\\d{0,15})'; // the id fits a JavaScript integer
const ADDRESS = '(0x[0-9a-f]{40})';
const chain = new RegExp(`^${CHAIN}$`);
const account = new RegExp(`^${CHAIN}:${ADDRESS}$`);
const asset = new RegExp(`^${CHAIN}/(?:erc20:${ADDRESS}|slip44:\\d{1,10})$`);

/** Only the spelling above is understood; everything else is `undefined`. */
export function readCaip2(text: string): number | undefined {
  const id = chain.exec(text)?.[1];
  return id === undefined ? undefined : Number(id);
}

export function readCaip10(text: string): { chainId: number; address: Address } | undefined {
  const [, id, address] = account.exec(text) ?? [];
  return address === undefined ? undefined : { chainId: Number(id), address: address as Address };
}

/** `token` is `null` for the native coin. */
export function readCaip19(text: string): { chainId: number; token: Address | null } | undefined {
  const [, id, token] = asset.exec(text) ?? [];
  return id === undefined ? undefined : { chainId: Number(id), token: (token as Address | undefined) ?? null };
}
