import { createHash, createHmac } from 'node:crypto';
import canonicalize from 'canonicalize';

/**
 * The hash of contract terms as GNU Taler merchants compute it, so that wallets and shops can check ours with their own
 * code: members named in `$forgettable` are replaced by a salted hash of themselves, the rest is written in its one
 * spelling (RFC 8785), ended by a NUL, hashed by SHA-512, and written in Crockford's base 32.
 */

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
type JsonObject = { [name: string]: Json };

/** 103 characters. Throws for numbers that are not whole: amounts are strings or integers in a contract. */
export const hashContract = (terms: JsonObject): string => {
  requireIntegers(terms);
  return crockford(
    createHash('sha512')
      .update(`${spell(forget(terms))}\0`)
      .digest(),
  );
};

/** The one spelling of terms, to be kept as text: nothing is ever hashed from a parsed copy. */
export function spell(value: Json): string {
  const text = canonicalize(value);
  if (text === undefined) throw new Error('terms that cannot be written');
  return text;
}

function requireIntegers(value: Json): void {
  if (typeof value === 'number' && !Number.isSafeInteger(value))
    throw new RangeError('a contract carries whole numbers only');
  if (value !== null && typeof value === 'object') for (const one of Object.values(value)) requireIntegers(one);
}

/** Every forgettable member by its hash under `$forgotten`; everything else as it is. */
function forget(value: Json): Json {
  if (Array.isArray(value)) return value.map(forget);
  if (value === null || typeof value !== 'object') return value;
  const salts = (value['$forgettable'] ?? {}) as Record<string, string>;
  const kept: JsonObject = {};
  const forgotten: JsonObject = { ...((value['$forgotten'] ?? {}) as JsonObject) };
  for (const [name, member] of Object.entries(value)) {
    if (name === '$forgettable' || name === '$forgotten') continue;
    const salt = salts[name];
    if (salt === undefined) kept[name] = forget(member);
    else forgotten[name] = saltedHash(forget(member), salt);
  }
  return Object.keys(forgotten).length === 0 ? kept : { ...kept, $forgotten: forgotten };
}

/** HKDF: extract by HMAC-SHA512 under the salt, expand by HMAC-SHA256 to 64 bytes; not node's, which takes one hash for both. */
function saltedHash(value: Json, salt: string): string {
  const key = createHmac('sha512', `${salt}\0`)
    .update(`${spell(value)}\0`)
    .digest();
  let block = Buffer.alloc(0);
  const blocks: Buffer[] = [];
  for (let n = 1; n <= 2; n += 1) {
    block = createHmac('sha256', key)
      .update(Buffer.concat([block, Buffer.from([n])]))
      .digest();
    blocks.push(block);
  }
  return crockford(Buffer.concat(blocks));
}

const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

/** Five bits a character, the last one filled up with zeros. */
export function crockford(bytes: Buffer): string {
  let [text, bits, value] = ['', 0, 0];
  for (const byte of bytes) {
    value = (value << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) text += ALPHABET[(value >>> (bits - 5)) & 31];
    value &= (1 << bits) - 1;
  }
  return bits > 0 ? text + ALPHABET[(value << (5 - bits)) & 31] : text;
}
