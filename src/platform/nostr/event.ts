import { createHash } from 'node:crypto';
import { schnorr } from '@noble/curves/secp256k1.js';

/** A signed event of Nostr (NIP-01). Times are unix seconds; id and keys 64 hex digits in lower case, the signature 128. */
export interface NostrEvent {
  id: string;
  pubkey: string;
  created_at: number;
  kind: number;
  tags: string[][];
  content: string;
  sig: string;
}

export type EventTemplate = Pick<NostrEvent, 'created_at' | 'kind' | 'tags' | 'content'>;

const HEX_32 = /^[0-9a-f]{64}$/;
const HEX_64 = /^[0-9a-f]{128}$/;
const MAX_TAGS = 2_000; // relays take fewer
const MAX_TIME = 2 ** 40; // far beyond every clock, and exact
const MAX_KIND = 65_535; // NIP-01

export const isHex32 = (value: unknown): value is string => typeof value === 'string' && HEX_32.test(value);

/**
 * The seven members of an event and nothing else, or `undefined` when it has not the shape of one. What is verified is
 * what is read here: libraries keep their verdict on the object, and a changed copy would pass.
 */
export function readEvent(value: unknown): NostrEvent | undefined {
  if (faultInShape(value) !== undefined) return undefined;
  const { id, pubkey, created_at, kind, tags, content, sig } = value as NostrEvent;
  return { id, pubkey, created_at, kind, tags: tags.map((tag) => [...tag]), content, sig };
}

/** Where a value is not shaped as an event, as a JSON pointer; `undefined` where it is. */
export function faultInShape(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return '';
  const { id, pubkey, created_at, kind, tags, content, sig } = value as Record<keyof NostrEvent, unknown>;
  if (!isHex32(id)) return '/id';
  if (!isHex32(pubkey)) return '/pubkey';
  if (!isWhole(created_at, MAX_TIME)) return '/created_at';
  if (!isWhole(kind, MAX_KIND)) return '/kind';
  if (!Array.isArray(tags) || tags.length > MAX_TAGS) return '/tags';
  const wrong = tags.findIndex((tag) => !isTag(tag));
  if (wrong !== -1) return `/tags/${wrong}`;
  if (!isText(content)) return '/content';
  return typeof sig === 'string' && HEX_64.test(sig) ? undefined : '/sig';
}

const isWhole = (value: unknown, max: number): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= max;
const isTag = (tag: unknown): tag is string[] => Array.isArray(tag) && tag.length > 0 && tag.every(isText);
/** NUL and halves of characters are no text: neither UTF-8 nor a column of ours can hold them. */
export const isText = (value: unknown): value is string =>
  typeof value === 'string' && value.isWellFormed() && !value.includes('\0');

/** SHA-256 of the canonical form (NIP-01, "Events and signatures"), in hex. */
const idOf = (event: Omit<NostrEvent, 'id' | 'sig'>): string =>
  createHash('sha256')
    .update(JSON.stringify([0, event.pubkey, event.created_at, event.kind, event.tags, event.content]))
    .digest('hex');

/** The id is that of the content. Cheap: a few microseconds. */
const hasOwnId = (event: NostrEvent): boolean => idOf(event) === event.id;

/** Id and signature are right (BIP-340). Costs milliseconds: cheaper questions come first. */
export function isGenuine(event: NostrEvent): boolean {
  if (!hasOwnId(event)) return false;
  try {
    return schnorr.verify(
      Uint8Array.fromHex(event.sig),
      Uint8Array.fromHex(event.id),
      Uint8Array.fromHex(event.pubkey),
    );
  } catch {
    return false; // a key that is no point
  }
}

/** Signs what is there, once: a second signature would be another event to whoever reads only ids of relays. */
export function signEvent({ created_at, kind, tags, content }: EventTemplate, key: Uint8Array): NostrEvent {
  const unsigned = { pubkey: publicKeyOf(key), created_at, kind, tags, content };
  const id = idOf(unsigned);
  return { ...unsigned, id, sig: schnorr.sign(Uint8Array.fromHex(id), key).toHex() };
}

export const publicKeyOf = (key: Uint8Array): string => schnorr.getPublicKey(key).toHex();

/** Values of all tags of a name, whatever follows the value; one without a value counts as an empty one. */
export const tagValues = ({ tags }: Pick<NostrEvent, 'tags'>, name: string): string[] =>
  tags.filter(([key]) => key === name).map(([, value = '']) => value);
