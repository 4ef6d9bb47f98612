import { isObject, type JsonObject } from '../json.ts';
import { type OmiseOptions, type OmiseStandIn, startOmise } from '../server.ts';

export const PUBLIC_KEY = 'pkey_test_5xample';
export const SECRET_KEY = 'skey_test_5xample';

/** What a merchant's side of a test has in hand: a stand-in and plain calls to it, without any client library. */
export interface Merchant {
  omise: OmiseStandIn;
  /** One call with the key that the path wants; an object is sent as JSON, a text as form fields. */
  call(method: string, path: string, body?: JsonObject | string, headers?: Record<string, string>): Promise<Reply>;
  /** As `call`, for what must succeed: the body, or an error that shows it. */
  get(path: string): Promise<JsonObject>;
  post(path: string, body?: JsonObject | string): Promise<JsonObject>;
  token(number?: string, details?: JsonObject): Promise<string>;
  /** A pending PromptPay charge of THB 500, unless changed. */
  promptpay(change?: JsonObject): Promise<JsonObject & { id: string }>;
  close(): Promise<void>;
}

interface Reply {
  status: number;
  headers: Headers;
  body: JsonObject;
}

export async function startMerchant(options: Partial<OmiseOptions> = {}): Promise<Merchant> {
  const omise = await startOmise({ publicKey: PUBLIC_KEY, secretKey: SECRET_KEY, ...options });
  const call: Merchant['call'] = (method, path, body, headers) => callOmise(omise.url, method, path, body, headers);
  const post: Merchant['post'] = async (path, body = {}) => succeeded(await call('POST', path, body));
  return {
    omise,
    call,
    get: async (path) => succeeded(await call('GET', path)),
    post,
    async token(number = '4242424242424242', details = {}) {
      const card = {
        name: 'Somchai Prasert',
        number,
        expiration_month: 12,
        expiration_year: 2099,
        security_code: '123',
      };
      return idIn(await post('/tokens', { card: { ...card, ...details } }));
    },
    async promptpay(change = {}) {
      const charge = await post('/charges', {
        amount: 50_000,
        currency: 'thb',
        source: { type: 'promptpay' },
        ...change,
      });
      return { ...charge, id: idIn(charge) };
    },
    close: () => omise.close(),
  };
}

export function basic(key: string): string {
  return `Basic ${Buffer.from(`${key}:`).toString('base64')}`;
}

export function idIn(body: JsonObject): string {
  return String(body['id']);
}

async function callOmise(
  url: string,
  method: string,
  path: string,
  body?: JsonObject | string,
  headers: Record<string, string> = {},
): Promise<Reply> {
  const key = /^\/(tokens|sources|capability)/.test(path) ? PUBLIC_KEY : SECRET_KEY;
  const type = typeof body === 'string' ? 'application/x-www-form-urlencoded' : 'application/json';
  const response = await fetch(url + path, {
    method,
    redirect: 'manual',
    headers: { authorization: basic(key), 'content-type': type, ...headers },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const parsed: unknown = await response.json().catch(() => ({}));
  return { status: response.status, headers: response.headers, body: isObject(parsed) ? parsed : {} };
}

function succeeded({ status, body }: Reply): JsonObject {
  if (status !== 200) throw new Error(`HTTP ${status} ${JSON.stringify(body)}`);
  return body;
}
