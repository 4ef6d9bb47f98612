import { ed25519 } from '@noble/curves/ed25519.js';
import { p256 } from '@noble/curves/nist.js';
import { secp256k1 } from '@noble/curves/secp256k1.js';
import { base58ToBytes, bytesToBase58 } from 'did-jwt';
import { Problem } from '../../platform/http/problem.ts';

/**
 * did:key (W3C CCG, "The did:key Method"), read strictly: one key has one DID. Libraries also accept long forms of
 * points and padded varints, which would be further accounts of one person, and keys that anybody can sign for.
 */

export type KeyType = 'Ed25519' | 'secp256k1' | 'P-256';

/** Multicodec, length of the public key, and what more must hold of it. */
const kinds: Record<KeyType, { code: number; bytes: number; check(key: Uint8Array): void }> = {
  Ed25519: { code: 0xed, bytes: 32, check: checkEd25519 },
  secp256k1: { code: 0xe7, bytes: 33, check: (key) => secp256k1.Point.fromBytes(key) },
  'P-256': { code: 0x1200, bytes: 33, check: (key) => p256.Point.fromBytes(key) },
};

/** SEC 1 §2.3.3: the same point uncompressed, with its leading byte or without. */
const LONG_FORMS = [64, 65];

/** A public key, from what follows `did:key:`. A 400 for everything that is not the canonical spelling of a good key. */
export function parseDidKey(text: string): { keyType: KeyType; publicKey: Uint8Array } {
  const bytes = decode(text);
  const { code, length } = readVarint(bytes);
  const publicKey = bytes.subarray(length);
  const [keyType, kind] = Object.entries(kinds).find(([, one]) => one.code === code) ?? [];
  if (!keyType || !kind) throw new Problem('did_key_type_unsupported');
  if (kind.bytes === 33 && LONG_FORMS.includes(publicKey.length)) throw new Problem('did_noncanonical');
  if (publicKey.length !== kind.bytes) throw new Problem('did_invalid');
  try {
    kind.check(publicKey);
  } catch {
    throw new Problem('did_invalid', 'The key is not a safe point of its curve.');
  }
  return { keyType: keyType as KeyType, publicKey };
}

/** Multibase base58btc, which is the only one that did:key knows. */
function decode(text: string): Uint8Array {
  if (!/^z[1-9A-HJ-NP-Za-km-z]+$/.test(text)) throw new Problem('did_invalid');
  const bytes = base58ToBytes(text.slice(1));
  if (`z${bytesToBase58(bytes)}` !== text) throw new Problem('did_noncanonical');
  return bytes;
}

const MAX_VARINT = 4; // bytes; all registered codes of keys are shorter

/** The multicodec: unsigned varint, 7 bits a byte, the lowest first; a padded one is another spelling of the same. */
function readVarint(bytes: Uint8Array): { code: number; length: number } {
  let code = 0;
  for (const [at, byte] of bytes.subarray(0, MAX_VARINT).entries()) {
    code += (byte & 0x7f) * 2 ** (7 * at);
    if (byte >= 0x80) continue;
    if (at > 0 && byte === 0) throw new Problem('did_noncanonical');
    return { code, length: at + 1 };
  }
  throw new Problem('did_invalid');
}

/** RFC 8032 §5.1.3, and no point of small or mixed order: for some of those one signature is good for every message. */
function checkEd25519(key: Uint8Array): void {
  const point = ed25519.Point.fromBytes(key);
  if (point.isSmallOrder() || !point.isTorsionFree()) throw new RangeError('not in the prime-order group');
}
