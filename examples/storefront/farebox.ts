/** The one call of a shop: may this browser session read this resource, and else, which order would open it? */

export interface Farebox {
  /** Where the shop reaches it, such as `https://pay.example.com`. */
  url: string;
  /** Where browsers reach it, when that is another address. */
  publicUrl?: string;
  /** Of a merchant's account, with the scope `orders:write`. */
  apiKey: string;
  /** For the whole call, in milliseconds; 3 seconds unless told. */
  deadlineMs?: number;
}

export interface Question {
  session_id: string;
  resource: string;
  /** Terms of the order that is made when there is none. */
  order: Record<string, unknown>;
  /** A hint: it opens nothing by itself. */
  order_id?: string;
  /** Of an address that Farebox has led this browser to; good once. */
  code?: string;
  /** A new order, also where one is open that another wallet has taken. */
  again?: boolean;
}

/** As Farebox gives it, checked: nothing in it can open more, or lead elsewhere, than it may. */
export interface Answer {
  entitled: boolean;
  refunded: boolean;
  orderId: string;
  /** Raised by everything that changes who may read it. */
  version: number;
  /** On Farebox's public address. */
  statusUrl: string;
  payUri: string | null;
  /** Seconds since 1970. */
  expiresAt: number | null;
}

/** There was no answer, or none that makes sense. Nobody is let in. */
export class NoAnswer extends Error {
  readonly retryAfterS: number;
  constructor(why: string, retryAfterS = RETRY_S) {
    super(why);
    this.retryAfterS = retryAfterS;
  }
}

const DEADLINE_MS = 3_000;
const MAX_BYTES = 64 * 1024; // an answer has about 600
const RETRY_S = 5;
const MAX_RETRY_S = 120;

/** Throws `NoAnswer`, whatever happens out there. */
export async function askFarebox(farebox: Farebox, question: Question): Promise<Answer> {
  const signal = AbortSignal.timeout(farebox.deadlineMs ?? DEADLINE_MS);
  try {
    const reply = await fetch(new URL('/private/entitlements/check', farebox.url), {
      method: 'POST',
      redirect: 'manual',
      signal,
      headers: {
        accept: 'application/json',
        authorization: `Bearer ${farebox.apiKey}`,
        'content-type': 'application/json',
      },
      body: JSON.stringify(question),
    });
    const text = await readBounded(reply);
    if (reply.status !== 200) throw new NoAnswer(explain(reply.status, text), retryAfterOf(reply));
    return answerOf(JSON.parse(text), new URL(farebox.publicUrl ?? farebox.url).origin);
  } catch (fault) {
    if (fault instanceof NoAnswer) throw fault;
    throw new NoAnswer(signal.aborted ? 'it took too long' : reasonOf(fault));
  }
}

async function readBounded(reply: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of reply.body ?? []) {
    length += chunk.length;
    if (length > MAX_BYTES) throw new NoAnswer('the answer is too long'); // which also ends the connection
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** For the shop's log. The code says what is to be mended: a key, an origin that is not allowed, … */
function explain(status: number, text: string): string {
  const code = /"code":"([a-z_]{1,40})"/.exec(text)?.[1];
  return `it answered ${status}${code === undefined ? '' : ` ${code}`}`;
}

const reasonOf = (fault: unknown): string => {
  const { cause, name } = fault as Error & { cause?: { code?: string } };
  return `there was no good answer (${cause?.code ?? name})`;
};

function retryAfterOf(reply: Response): number {
  const told = Number(reply.headers.get('retry-after'));
  return Number.isInteger(told) && told > 0 ? Math.min(told, MAX_RETRY_S) : RETRY_S;
}

function answerOf(body: unknown, publicOrigin: string): Answer {
  const told = (typeof body === 'object' && body !== null ? body : {}) as Record<string, unknown>;
  const { entitled, refunded, order_id, version, order_status_url, taler_pay_uri, expires_at } = told;
  const isGood =
    typeof entitled === 'boolean' &&
    typeof refunded === 'boolean' &&
    typeof order_id === 'string' &&
    /^[A-Za-z0-9._-]{1,60}$/.test(order_id) &&
    Number.isSafeInteger(version) &&
    typeof order_status_url === 'string' &&
    URL.canParse(order_status_url) &&
    new URL(order_status_url).origin === publicOrigin &&
    (taler_pay_uri === null ||
      (typeof taler_pay_uri === 'string' && /^farebox(\+http)?:\/\/pay\//.test(taler_pay_uri)));
  if (!isGood) throw new NoAnswer('the answer makes no sense');
  const end = (expires_at as { t_s?: unknown } | null)?.t_s;
  return {
    ...{ entitled: entitled && !refunded, refunded, orderId: order_id, version: version as number },
    ...{ statusUrl: new URL(order_status_url).href, payUri: taler_pay_uri },
    expiresAt: typeof end === 'number' && end >= 0 && end < 253_402_300_800 ? end : null,
  };
}
