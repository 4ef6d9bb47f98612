import { decrypt as decrypt04, encrypt as encrypt04 } from 'nostr-tools/nip04';
import { decrypt as decrypt44, encrypt as encrypt44, getConversationKey } from 'nostr-tools/nip44';
import { depthOf, holdsCardNumber } from '../../platform/http/body.ts';
import { isText, type NostrEvent, tagValues } from '../../platform/nostr/event.ts';

/** A request for a job as it is meant (NIP-90): its tags, in clear or from what was encrypted for us. Pure. */

export interface JobRequest {
  input: Record<string, unknown>;
  /** Most that the customer will pay, in millisatoshi. */
  bidMsat: bigint | null;
  payment: 'upfront' | 'after' | undefined;
  /** Where answers are wanted, besides our own relays. */
  relays: string[];
  /** After it nobody wants the result any more. */
  until: Date | null;
  cipher: Cipher | null;
}

export type Cipher = 'nip04' | 'nip44';

/** Why a request cannot be read, for its author. */
export class Unreadable extends Error {}

/** It is not to be kept either (E6.1). */
export class CardNumberSent extends Unreadable {}

const MAX_TEXT = 100_000; // characters of the request's content, and of what is hidden in it
const MAX_RELAYS = 8;
const MAX_DEPTH = 32; // of JSON in a parameter, as in bodies over HTTP
const NO_TEXT = 'The request has characters that are no text (NUL, or half of a pair).';

/** Throws `Unreadable`. */
export function readRequest(event: NostrEvent, key: Uint8Array): JobRequest {
  const cipher = cipherOf(event);
  const tags = cipher === null ? event.tags : [...event.tags, ...hiddenTags(event, key, cipher)];
  if (![event.content, ...tags.flat()].every(isText)) throw new Unreadable(NO_TEXT);
  const all = (name: string) => tags.filter(([one]) => one === name);
  const input = inputOf(tags, cipher === null ? event.content : '');
  if (holdsCardNumber([input, Object.values(input).map(jsonIn), tags.filter(isOther).map(named)]))
    throw new CardNumberSent('Something in the request looks like a card number. Nothing of it was kept.');
  const payment = all('param').find(([, name]) => name === 'payment')?.[2];
  return {
    input,
    bidMsat: bidOf(tags),
    payment: payment === 'upfront' || payment === 'after' ? payment : undefined,
    relays: relaysIn(tags),
    until: expirationOf(event),
    cipher,
  };
}

/** How a request is answered that cannot be read: where and as its author wanted, as far as that can be read. */
export function envelopeOf(event: NostrEvent, key: Uint8Array): Pick<JobRequest, 'cipher' | 'relays'> {
  const cipher = cipherOf(event);
  if (cipher === null) return { cipher, relays: relaysIn(event.tags) };
  try {
    const hidden = hiddenTags(event, key, cipher);
    return { cipher, relays: relaysIn([...event.tags, ...hidden]).filter(isText) };
  } catch (fault) {
    if (fault instanceof Unreadable) return { cipher: null, relays: relaysIn(event.tags) };
    throw fault;
  }
}

const relaysIn = (tags: string[][]): string[] =>
  (tags.find(([name]) => name === 'relays') ?? []).slice(1, 1 + MAX_RELAYS);

/** Neither a part of the input nor a sum. */
const isOther = ([name = '']: string[]) => !['param', 'i', 'output', 'bid'].includes(name);
const named = ([name = '', ...values]: string[]) => ({ [name]: values });

/** What an executor may be given as an object came as text. */
function jsonIn(value: unknown): unknown {
  if (typeof value !== 'string' || !/^\s*[[{]/.test(value) || depthOf(value) > MAX_DEPTH) return null;
  try {
    return JSON.parse(value);
  } catch {
    return null;
  }
}

/** Most that it may cost: what cannot be read as that is no leave to take any price. Nothing at all is a bid, too. */
function bidOf(tags: string[][]): bigint | null {
  const [bid = ''] = tagValues({ tags }, 'bid');
  if (bid === '') return null;
  if (!/^\d{1,18}$/.test(bid)) throw new Unreadable('The bid is to be a whole number of millisatoshi.');
  return BigInt(bid);
}

/** NIP-40. */
function expirationOf(event: NostrEvent): Date | null {
  const [until] = tagValues(event, 'expiration');
  return until !== undefined && /^\d{1,12}$/.test(until) ? new Date(Number(until) * 1000) : null;
}

const cipherOf = ({ tags, content }: NostrEvent): Cipher | null =>
  tags.some(([name]) => name === 'encrypted') ? (content.includes('?iv=') ? 'nip04' : 'nip44') : null;

function hiddenTags({ pubkey, content }: NostrEvent, key: Uint8Array, cipher: Cipher): string[][] {
  if (content.length > MAX_TEXT) throw new Unreadable('The request is too long.');
  try {
    const text =
      cipher === 'nip04' ? decrypt04(key, pubkey, content) : decrypt44(content, getConversationKey(key, pubkey));
    const tags: unknown = JSON.parse(text);
    const isTags =
      Array.isArray(tags) &&
      tags.length <= 1_000 &&
      tags.every((tag) => Array.isArray(tag) && tag.every((one) => typeof one === 'string'));
    if (!isTags) throw new Error('no tags');
    return tags;
  } catch {
    throw new Unreadable('What is encrypted cannot be read: it is to be the JSON of the tags, encrypted for our key.');
  }
}

/** In the same way, for the author of the request alone. */
export const hideFrom = (
  text: string,
  { pubkey, cipher }: { pubkey: string; cipher: Cipher | null },
  key: Uint8Array,
) => {
  if (cipher === null) return text;
  if (cipher === 'nip04') return encrypt04(key, pubkey, text);
  return encrypt44(text === '' ? '""' : text, getConversationKey(key, pubkey)); // NIP-44 cannot hide nothing
};

/** Parameters by their names, and what is to be worked on as `inputs`; a request of neither is its content. */
function inputOf(tags: string[][], content: string): Record<string, unknown> {
  const input: Record<string, unknown> = {};
  for (const [, name, ...values] of tags.filter(([one]) => one === 'param'))
    if (name && name !== 'payment' && name !== '__proto__')
      input[name] = values.length > 1 ? values : (values[0] ?? '');
  const inputs = tags
    .filter(([one]) => one === 'i')
    .map(([, data = '', type = 'text', relay, marker]) => ({
      ...{ data, type },
      ...(relay ? { relay } : {}),
      ...(marker ? { marker } : {}),
    }));
  if (inputs.length > 0) input['inputs'] = inputs;
  const [output] = tagValues({ tags }, 'output');
  if (output) input['output'] = output;
  if (content !== '') input['content'] = content.slice(0, MAX_TEXT);
  return input;
}

/** What a schema wants to be a number or an object comes as text in a tag. Throws `Unreadable`. */
export function fitTo(schema: object, input: Record<string, unknown>): Record<string, unknown> {
  const properties = ((schema as { properties?: Record<string, { type?: unknown }> }).properties ?? {}) as Record<
    string,
    { type?: unknown }
  >;
  return Object.fromEntries(
    Object.entries(input).map(([name, value]) => {
      const type = properties[name]?.type;
      const isJson = typeof value === 'string' && typeof type === 'string' && type !== 'string';
      return [name, isJson ? parsed(value) : value];
    }),
  );
}

function parsed(text: string): unknown {
  if (depthOf(text) > MAX_DEPTH) throw new Unreadable(`A parameter is nested deeper than ${MAX_DEPTH} levels.`);
  try {
    return JSON.parse(text, (name, value) => {
      if (!isText(name) || (typeof value === 'string' && !isText(value))) throw new Unreadable(NO_TEXT);
      return value;
    });
  } catch (fault) {
    if (fault instanceof Unreadable) throw fault;
    return text; // the schema says what is wrong with it
  }
}
