import { notDone, refused, type WalletFault } from './fault.ts';
import { shown } from './terminal.ts';

/** What came back: JSON that may hold anything. */
export interface Reply {
  status: number;
  body: Record<string, unknown>;
}

export interface Call {
  body?: unknown;
  /** Access token of the account that pays. */
  token?: string | undefined;
  /** Idempotency-Key. */
  key?: string;
  /** When whoever waits for the answer does so no more. */
  signal?: AbortSignal;
}

const DEADLINE_MS = 20_000;
const MAX_BYTES = 1024 * 1024;

/** One request to a Farebox; follows no redirects. Throws `WalletFault` when there is no answer that makes sense. */
export async function talk(base: string, path: string, { body, token, key, signal: over }: Call = {}): Promise<Reply> {
  const late = AbortSignal.timeout(DEADLINE_MS);
  const signal = over ? AbortSignal.any([late, over]) : late;
  try {
    const reply = await fetch(base + path, {
      ...{ method: body === undefined ? 'GET' : 'POST', redirect: 'manual', signal },
      headers: {
        accept: 'application/json',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(key === undefined ? {} : { 'idempotency-key': key }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await readBounded(reply);
    return { status: reply.status, body: text === '' ? {} : objectOf(text) };
  } catch (fault) {
    const { cause, name } = fault as Error & { cause?: { code?: string } };
    const why = late.aborted
      ? `There was no whole answer within ${DEADLINE_MS / 1000} seconds.`
      : fault instanceof Strange
        ? fault.message
        : `The connection failed (${cause?.code ?? name}).`;
    throw notDone(`${base} could not be asked.`, why, RETRY);
  }
}

const RETRY = 'Run the same again: an order is never charged twice.';

class Strange extends Error {}

async function readBounded(reply: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of reply.body ?? []) {
    length += chunk.length;
    if (length > MAX_BYTES) throw new Strange('The answer is too long to be from a Farebox.');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function objectOf(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // as any other text
  }
  throw new Strange('The answer is not from a Farebox.');
}

/** What an answer other than the hoped-for one means to the person who waits. */
export function faultOf(what: string, { status, body }: Reply): WalletFault {
  const code = String(body['code'] ?? status);
  if (status >= 500 || status === 429) return notDone(what, `Farebox answered ${status} (${shown(code)}).`, RETRY);
  const [why, todo] = reasons[code] ?? [
    `Farebox said: ${shown(body['detail'] ?? status)}`,
    'Go back to the shop and open the article again.',
  ];
  const lack = code === 'insufficient_credits' ? ` ${shown(body['detail'])}` : '';
  return refused(what, `${why}${lack}`, todo);
}

const again = 'Go back to the shop and open the article again: it makes a new order.';

const reasons: Record<string, [why: string, todo: string]> = {
  not_found: ['There is no such order, or the address does not carry the right token.', 'Copy the address whole.'],
  order_claimed: ['Another wallet has taken this order.', `Pay it with that wallet. ${again}`],
  order_expired: ['It was not paid in time. Nothing was charged.', again],
  conflict: [
    'A payment of this order is done or on its way already.',
    'Run the same again in a moment: it shows how it stands.',
  ],
  method_unavailable: ['The shop does not take this rail for this order.', 'Run it again with another --rail.'],
  account_disabled: ['The account was disabled.', 'Ask whoever runs this Farebox.'],
  order_not_paid: ['The order is not paid.', 'Pay it first: farebox wallet pay.'],
  insufficient_credits: ['There are not enough credits.', 'Buy credits, then run the same again.'],
  unauthenticated: [
    'Nobody is named whose credits could pay, or the log-in is not good any more.',
    'Add --login E-MAIL or --token, or --key FILE with the key of a DID that opens an account.',
  ],
  invalid_credentials: ['E-mail address or password is wrong.', 'Give the password on standard input.'],
  insufficient_scope: [
    'An API key is for programs of the account and spends nothing here.',
    'Use --login, or an access token.',
  ],
  did_auth_failed: [
    'The signature was not taken: another wallet holds the order.',
    'Use the wallet that has taken it.',
  ],
};
