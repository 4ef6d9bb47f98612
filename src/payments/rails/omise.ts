import { setTimeout as sleep } from 'node:timers/promises';
import { Agent } from 'undici';
import type { z } from 'zod';
import { call, createOmiseClient, type OmiseClient, type Trace } from './omise-client.ts';
import { fetchImage } from './omise-image.ts';
import {
  Account,
  CapabilityObject,
  CHARGE_ID,
  ChargeList,
  EventList,
  Refusal,
  readCharge,
  readRefund,
} from './omise-objects.ts';
import {
  type Capability,
  type Charge,
  type ChargeOrder,
  type Outcome,
  type ProviderRefund,
  type Rail,
  UNREADABLE,
} from './rail.ts';

export interface OmiseOptions {
  url: string;
  secretKey: string;
  publicKey: string;
  /** For one call, reads with their retries included. */
  deadlineMs: number;
  /** Address of our webhook receiver, set on every charge; `null`: the account's. */
  webhookUrl: string | null;
  currency: string;
  /** Told of every call: operation, outcome, reason. */
  onCall(operation: string, outcome: string, reason?: string): void;
}

const API_VERSION = '2019-05-29';
const PAGE = 100;
const READ_TRIES = 3;
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 4_000;

/** Errors that, on a connection that was never made, mean that nothing can have been done. */
const NEVER_CONNECTED = new Set([
  'DEADLINE',
  'ETIMEDOUT',
  'ECONNRESET',
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EPROTO', // the TLS handshake failed
]);

/** Omise: PromptPay, cards and the methods that lead to another page. */
export function createOmiseRail(options: OmiseOptions): Rail {
  const at = new URL(options.url);
  const port = Number(at.port) || (at.protocol === 'https:' ? 443 : 80);
  const client = createOmiseClient({
    secretKey: options.secretKey,
    publicKey: options.publicKey,
    host: at.hostname,
    scheme: at.protocol.slice(0, -1),
    omiseVersion: API_VERSION,
  });

  const once = async <T>(
    operation: string,
    work: (client: OmiseClient) => Promise<unknown>,
    read: Reader<T>,
    deadlineMs: number,
    headers = {},
  ): Promise<Outcome<T>> => {
    const trace: Trace = { status: null, isSent: false };
    const outcome = await call({ port, deadlineMs, headers }, trace, () => work(client)).then<Outcome<T>, Outcome<T>>(
      (reply) => judgeReply(reply, trace, read),
      (fault: unknown) => judgeFault(fault, trace),
    );
    options.onCall(operation, outcome.outcome, 'reason' in outcome ? outcome.reason : undefined);
    return outcome;
  };

  /** Reads may be repeated, within the deadline. */
  const reading = async <T>(
    operation: string,
    work: (client: OmiseClient) => Promise<unknown>,
    read: Reader<T>,
  ): Promise<Outcome<T>> => {
    const end = Date.now() + options.deadlineMs;
    for (let tries = 1; ; tries += 1) {
      const outcome = await once(operation, work, read, Math.max(1, end - Date.now()));
      if (outcome.outcome === 'ok' || outcome.outcome === 'rejected' || isHopeless(outcome)) return outcome;
      const pause = Math.min(FIRST_PAUSE_MS * 2 ** tries, LONGEST_PAUSE_MS) * (0.5 + Math.random() / 2);
      if (tries === READ_TRIES || Date.now() + pause >= end) return outcome;
      await sleep(pause);
    }
  };

  const images = new Agent({ connect: { timeout: options.deadlineMs, minVersion: 'TLSv1.2' } });

  return {
    start: (order) =>
      once(
        'charges.create',
        (api) => api.charges.create(orderOf(order, options.webhookUrl)),
        (json) => ownCharge(order.attemptId, json),
        options.deadlineMs,
        {
          // No promise of Omise depends on it, and none of ours; harmless where it is not known.
          'Idempotency-Key': order.attemptId,
        },
      ),
    check: (chargeId) => {
      // The client puts ids into paths unescaped, and reads the whole list for an empty one.
      if (!CHARGE_ID.test(chargeId))
        return Promise.resolve({ outcome: 'rejected', code: 'not_found', message: 'not a charge id' });
      return reading(
        'charges.retrieve',
        (api) => api.charges.retrieve(chargeId),
        (json) => sameCharge(chargeId, json),
      );
    },
    list: (since, offset) =>
      reading('charges.list', (api) => api.charges.list(pageOf(since, offset)), reader(ChargeList)),
    changedSince: (since, offset) =>
      reading('events.list', (api) => api.events.list(pageOf(since, offset)), reader(EventList)),
    expire: async (chargeId) => {
      if (!CHARGE_ID.test(chargeId)) return { outcome: 'rejected', code: 'not_found', message: 'not a charge id' };
      return once(
        'charges.expire',
        (api) => api.charges.expire(chargeId),
        (json) => sameCharge(chargeId, json),
        options.deadlineMs,
      );
    },
    refund: async ({ refundId, chargeId, amount }) => {
      if (!CHARGE_ID.test(chargeId)) return { outcome: 'rejected', code: 'not_found', message: 'not a charge id' };
      // Whether it becomes a void is the provider's to decide: not settled yet, and all of it.
      const order = { amount: Number(amount), metadata: { refund_id: refundId } };
      return once(
        'charges.refund',
        (api) => api.charges.createRefund(chargeId, order),
        (json) => ownRefund({ refundId, chargeId, amount }, json),
        options.deadlineMs,
        { 'Idempotency-Key': refundId },
      );
    },
    capability: async () => {
      const account = await reading('account.retrieve', (api) => api.account.retrieve(), reader(Account));
      if (account.outcome !== 'ok') return account;
      const capability = await reading(
        'capability.retrieve',
        (api) => api.capability.retrieve(),
        reader(CapabilityObject),
      );
      if (capability.outcome !== 'ok') return capability;
      return { outcome: 'ok', value: describe(account.value, capability.value, options.currency) };
    },
    image: (uri) =>
      fetchImage(uri, {
        origin: at.origin,
        secretKey: options.secretKey,
        deadlineMs: options.deadlineMs,
        agent: images,
      }),
    close: () => {
      void images.destroy();
    },
  };
}

type Reader<T> = (json: unknown) => T | undefined;
const reader =
  <T>(schema: z.ZodType<T>): Reader<T> =>
  (json) =>
    schema.safeParse(json).data;

const sameCharge = (id: string, json: unknown): Charge | undefined => {
  const charge = readCharge(json);
  return charge?.id === id ? charge : undefined;
};

const ownCharge = (attemptId: string, json: unknown): Charge | undefined => {
  const charge = readCharge(json);
  return charge?.attemptId === attemptId ? charge : undefined;
};

const ownRefund = (
  { refundId, chargeId, amount }: { refundId: string; chargeId: string; amount: bigint },
  json: unknown,
): ProviderRefund | undefined => {
  const refund = readRefund(chargeId, json);
  return refund?.refundId === refundId && refund.amount === amount ? refund : undefined;
};

const pageOf = (since: Date, offset: number) => ({
  from: since.toISOString(),
  order: 'chronological',
  limit: PAGE,
  offset,
});

function orderOf(order: ChargeOrder, webhookUrl: string | null): Record<string, unknown> {
  const { method } = order;
  const leadsAway = method.type !== 'promptpay';
  return {
    amount: Number(order.amount),
    currency: order.currency,
    description: `${order.description} (${order.attemptId})`,
    metadata: { attempt_id: order.attemptId, purchase_id: order.purchaseId },
    ...(webhookUrl ? { webhook_endpoints: [webhookUrl] } : {}),
    ...(leadsAway ? { return_uri: order.returnUri } : {}),
    ...(method.type === 'card' ? { card: method.token } : { source: sourceOf(method) }),
  };
}

const sourceOf = (method: Exclude<ChargeOrder['method'], { type: 'card' }>) =>
  'phoneNumber' in method ? { type: method.type, phone_number: method.phoneNumber } : { type: method.type };

/** The client resolves on any JSON that does not call itself an error; the HTTP status has the last word. */
function judgeReply<T>(reply: unknown, trace: Trace, read: Reader<T>): Outcome<T> {
  const status = trace.status ?? 0;
  if (status === 429) return { outcome: 'unavailable', reason: 'rate_limited' };
  if (status < 200 || status >= 300) return { outcome: 'unknown', reason: `http_${status}` };
  const value = read(reply);
  return value === undefined ? { outcome: 'unknown', reason: UNREADABLE } : { outcome: 'ok', value };
}

/** The client rejects with a plain object (an API error), a string (a body that is not JSON) or an Error (the network). */
function judgeFault<T>(fault: unknown, trace: Trace): Outcome<T> {
  const status = trace.status ?? 0;
  if (status === 401 || status === 403) return { outcome: 'unavailable', reason: 'unauthorized' };
  if (status === 429) return { outcome: 'unavailable', reason: 'rate_limited' };
  const refusal = Refusal.safeParse(fault);
  if (refusal.success && status >= 400 && status < 500) {
    return { outcome: 'rejected', code: refusal.data.code.slice(0, 100), message: refusal.data.message.slice(0, 500) };
  }
  if (status !== 0) return { outcome: 'unknown', reason: `http_${status}` };
  const code = fault instanceof Error ? String((fault as { code?: unknown }).code ?? fault.name) : 'no_reply';
  const neverLeft = !trace.isSent && (NEVER_CONNECTED.has(code) || /CERT|TLS|SSL|SELF_SIGNED|UNABLE_TO/.test(code));
  return neverLeft ? { outcome: 'unavailable', reason: code } : { outcome: 'unknown', reason: code };
}

/** Asking again within seconds does not help. */
const isHopeless = (outcome: Outcome<unknown>) =>
  outcome.outcome === 'unavailable' && outcome.reason === 'unauthorized';

function describe(
  account: z.infer<typeof Account>,
  capability: z.infer<typeof CapabilityObject>,
  currency: string,
): Capability {
  const methods = capability.payment_methods
    .filter(({ currencies }) => !currencies || currencies.includes(currency))
    .map(({ name }) => name);
  return {
    livemode: account.livemode,
    currency: account.currency.toUpperCase(),
    apiVersion: account.api_version,
    webhookUri: account.webhook_uri ?? null,
    minAmount: capability.limits.charge_amount.min,
    maxAmount: capability.limits.charge_amount.max,
    methods: new Set(methods),
  };
}
