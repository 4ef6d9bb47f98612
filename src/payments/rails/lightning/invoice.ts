import { createHash } from 'node:crypto';
import { secp256k1 } from '@noble/curves/secp256k1.js';
import { bech32 } from '@scure/base';

/** `bc`: bitcoin. The others are for trying out: testnet, signet, regtest. */
export type Network = 'bc' | 'tb' | 'tbs' | 'bcrt';

/** What a BOLT 11 invoice says, its signature verified. Hashes and keys in hex. */
export interface Invoice {
  network: Network;
  /** Millisatoshi; `null`: the payer decides. */
  amountMsat: bigint | null;
  /** Says "once" about money on every rail. */
  paymentHash: string;
  /** SHA-256 of a description that lies elsewhere. */
  descriptionHash: string | null;
  /** The node that is paid. */
  payee: string;
  createdAt: Date;
  expiresAt: Date;
}

/** Not to be read with certainty: whoever sent it may be honest, so it is set aside and not counted as a fraud. */
export interface Unreadable {
  unreadable: string;
}

class Fault extends Error {}

const MAX_LENGTH = 4_096; // with routing hints an invoice has a thousand
const SIGNATURE_WORDS = 104; // 520 bits
const TIMESTAMP_WORDS = 7; // 35 bits
const DEFAULT_EXPIRY_S = 3_600;
const MAX_EXPIRY_WORDS = 8; // 40 bits, some ten thousand years
const MAX_MSAT = 2_100_000_000_000_000_000n; // all the bitcoin there will ever be
/** Millisatoshi in one of a unit (BOLT 11, "Human-Readable Part"); `p` is a tenth of one. */
const UNITS: Record<string, bigint> = { '': 10n ** 11n, m: 10n ** 8n, u: 10n ** 5n, n: 10n ** 2n };
/** Features that may be compulsory (BOLT 9, context `9`): onion, secret, parts, blinding, AMP, attribution, metadata, trampoline. */
const KNOWN_FEATURES = new Set([8, 14, 16, 24, 30, 36, 48, 56]);
/** Tagged fields by their type, as the specification writes it. */
const FIELD = { paymentHash: 1, features: 5, expiry: 6, secret: 16, payee: 19, descriptionHash: 23 } as const;
/** Fields of another length must be passed over (BOLT 11, "Tagged Fields"). */
const HASH_WORDS = 52;
const KEY_WORDS = 53;

/** Reads an invoice of any network, or says why it cannot be read. */
export function readInvoice(text: string): Invoice | Unreadable {
  try {
    return read(text);
  } catch (fault) {
    if (fault instanceof Fault) return { unreadable: fault.message };
    throw fault;
  }
}

function read(text: string): Invoice {
  const { prefix, words } = decodeBech32(text);
  const { network, amountMsat } = readPrefix(prefix);
  const end = words.length - SIGNATURE_WORDS;
  if (end < TIMESTAMP_WORDS) throw new Fault('too_short');
  const fields = readFields(words.slice(TIMESTAMP_WORDS, end));
  checkFeatures(fields.get(FIELD.features)?.[0] ?? []);
  const only = (type: number, length: number) =>
    onlyOne((fields.get(type) ?? []).filter((field) => field.length === length));
  const paymentHash = only(FIELD.paymentHash, HASH_WORDS);
  if (!paymentHash) throw new Fault('no_payment_hash');
  if (!only(FIELD.secret, HASH_WORDS)) throw new Fault('no_payment_secret');
  const descriptionHash = only(FIELD.descriptionHash, HASH_WORDS);
  const payee = only(FIELD.payee, KEY_WORDS);
  const createdAt = numberOf(words.slice(0, TIMESTAMP_WORDS));
  return {
    ...{ network, amountMsat, paymentHash: hexOf(paymentHash) },
    descriptionHash: descriptionHash ? hexOf(descriptionHash) : null,
    payee: verifiedPayee(prefix, words, payee ? bytesOf(payee) : undefined),
    createdAt: new Date(createdAt * 1000),
    expiresAt: new Date((createdAt + expiryOf(onlyOne(fields.get(FIELD.expiry) ?? []))) * 1000),
  };
}

function decodeBech32(text: string): { prefix: string; words: number[] } {
  if (text.length > MAX_LENGTH) throw new Fault('too_long');
  try {
    return bech32.decode(text as `${string}1${string}`, false);
  } catch {
    throw new Fault('not_bech32');
  }
}

function readPrefix(prefix: string): { network: Network; amountMsat: bigint | null } {
  const [, network, digits, unit = ''] = /^ln(bcrt|bc|tbs|tb)(?:(\d+)([a-z]?))?$/.exec(prefix) ?? [];
  if (network === undefined) throw new Fault('unknown_prefix');
  if (digits === undefined) return { network: network as Network, amountMsat: null };
  if (!/^[1-9]\d{0,19}$/.test(digits)) throw new Fault('bad_amount');
  const amountMsat = unit === 'p' ? tenth(BigInt(digits)) : BigInt(digits) * (UNITS[unit] ?? 0n);
  if (amountMsat <= 0n || amountMsat > MAX_MSAT) throw new Fault('bad_amount');
  return { network: network as Network, amountMsat };
}

function tenth(pico: bigint): bigint {
  if (pico % 10n !== 0n) throw new Fault('bad_amount'); // less than a millisatoshi
  return pico / 10n;
}

/** Fields by type, in their order. */
function readFields(words: number[]): Map<number, number[][]> {
  const fields = new Map<number, number[][]>();
  for (let at = 0; at < words.length; ) {
    const [type, high, low] = words.slice(at, at + 3);
    if (type === undefined || high === undefined || low === undefined) throw new Fault('bad_field');
    const from = at + 3;
    at = from + high * 32 + low;
    if (at > words.length) throw new Fault('bad_field');
    fields.set(type, [...(fields.get(type) ?? []), words.slice(from, at)]);
  }
  return fields;
}

/** Two where one is allowed are read differently by different readers. */
function onlyOne(found: number[][]): number[] | undefined {
  if (found.length > 1) throw new Fault('field_twice');
  return found[0];
}

const numberOf = (words: number[]) => words.reduce((total, word) => total * 32 + word, 0);

function expiryOf(words: number[] | undefined): number {
  if (words === undefined) return DEFAULT_EXPIRY_S;
  if (words.length > MAX_EXPIRY_WORDS) throw new Fault('bad_expiry');
  return numberOf(words);
}

/** An unknown even bit asks for something that we do not know (BOLT 9). Bit 0 is the last one. */
function checkFeatures(words: number[]): void {
  words.forEach((word, at) => {
    for (let bit = 0; bit < 5; bit += 1) {
      const feature = (words.length - 1 - at) * 5 + bit;
      if (((word >> bit) & 1) === 1 && feature % 2 === 0 && !KNOWN_FEATURES.has(feature))
        throw new Fault('unknown_feature');
    }
  });
}

function bytesOf(words: number[]): Uint8Array {
  try {
    return bech32.fromWords(words);
  } catch {
    throw new Fault('bad_padding');
  }
}
const hexOf = (words: number[]) => bytesOf(words).toHex();

/** A field that names the payee must fit, and then no second form of the signature does; else the payee is recovered from it. */
function verifiedPayee(prefix: string, words: number[], named: Uint8Array | undefined): string {
  const signature = bytesOf(words.slice(-SIGNATURE_WORDS));
  const recovery = signature[64] ?? 0;
  const digest = createHash('sha256')
    .update(prefix)
    .update(paddedBytes(words.slice(0, -SIGNATURE_WORDS)))
    .digest();
  try {
    if (!named) {
      const parsed = secp256k1.Signature.fromBytes(signature.slice(0, 64), 'compact').addRecoveryBit(recovery);
      return parsed.recoverPublicKey(digest).toHex(true);
    }
    if (secp256k1.verify(signature.slice(0, 64), digest, named, { prehash: false, lowS: true })) return named.toHex();
  } catch {
    // not a point of the curve, or no signature at all
  }
  throw new Fault('bad_signature');
}

/** What is signed ends on a whole byte, filled up with zeroes. */
function paddedBytes(words: number[]): Uint8Array {
  const bytes = new Uint8Array(Math.ceil((words.length * 5) / 8));
  words.forEach((word, at) => {
    for (let bit = 0; bit < 5; bit += 1) {
      if (((word >> (4 - bit)) & 1) === 0) continue;
      const place = at * 5 + bit;
      bytes[place >> 3] = (bytes[place >> 3] ?? 0) | (0x80 >> (place & 7));
    }
  });
  return bytes;
}
