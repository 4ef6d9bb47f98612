import { secp256k1 } from '@noble/curves/secp256k1.js';
import { bytesToHex, getAddress, publicKeyToAddress } from 'viem/utils';
import { Problem } from '../../platform/http/problem.ts';
import { type KeyType, parseDidKey } from './did-key.ts';

/** A DID that may open an account: one spelling of `did` for each key and each wallet. */
export type Did = KeyDid | WalletDid;

/** Its holder signs JSON Web Tokens. */
export interface KeyDid {
  method: 'key';
  did: string;
  keyType: KeyType;
  /** The Ethereum address of a secp256k1 key, lower-case. */
  wallet: string | null;
}

/** Its holder signs text (EIP-191). */
export interface WalletDid extends Wallet {
  method: 'pkh';
  did: string;
}

export interface Wallet {
  /** Address, lower-case. */
  wallet: string;
  /** EIP-155. */
  chainId: number;
}

export const MAX_DID = 1000; // characters; ours have at most 73, but whoever comes with a long RSA key is told so

/** Reads a DID; a 400 with a code of its own for each reason why it is none of ours. */
export function parseDid(text: string): Did {
  if (text.length > MAX_DID) throw new Problem('did_invalid');
  const [, method, rest = ''] = /^did:([a-z0-9]+):(.*)$/s.exec(text) ?? [];
  // DID Core §3.2: a path, a query or a fragment makes a DID URL of it, which names something else.
  if (method !== undefined && /[/?#]/.test(rest)) throw new Problem('did_noncanonical');
  if (method === 'key') return keyDid(rest);
  if (method === 'pkh') return walletDid(rest);
  if (method !== undefined) throw new Problem('did_method_unsupported');
  throw new Problem(/^did:(key|pkh):/i.test(text) ? 'did_noncanonical' : 'did_invalid');
}

function keyDid(rest: string): KeyDid {
  const { keyType, publicKey } = parseDidKey(rest);
  return {
    method: 'key',
    did: `did:key:${rest}`,
    keyType,
    wallet: keyType === 'secp256k1' ? addressOf(publicKey) : null,
  };
}

const addressOf = (publicKey: Uint8Array): string =>
  publicKeyToAddress(bytesToHex(secp256k1.Point.fromBytes(publicKey).toBytes(false))).toLowerCase();

/**
 * did:pkh is verified by the key behind the address, and that key is the same on every chain: so is the holder. Hence
 * one spelling, on chain 1 and in lower case, whichever chain and case it came with.
 */
function walletDid(rest: string): WalletDid {
  if (!rest.startsWith('eip155:')) throw new Problem('did_method_unsupported');
  const wallet = parseWallet(rest);
  return { method: 'pkh', did: `did:pkh:eip155:1:${wallet.wallet}`, ...wallet };
}

/** CAIP-10 of an Ethereum account: `eip155:<chain>:<address>`, the address in lower case or with its checksum (ERC-55). */
export function parseWallet(text: string): Wallet {
  const [, chain, address = ''] = /^eip155:([1-9]\d{0,14}):(0x[0-9a-fA-F]{40})$/.exec(text) ?? [];
  const wallet = address.toLowerCase();
  if (chain === undefined || (address !== wallet && address !== checksummed(wallet))) {
    throw new Problem(
      'did_invalid',
      'eip155, a chain and an address are expected, in lower case or with its checksum.',
    );
  }
  return { wallet, chainId: Number(chain) };
}

/** An address as people compare it (ERC-55). */
export const checksummed = (wallet: string): string => getAddress(wallet);
