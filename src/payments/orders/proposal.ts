import { z } from 'zod';
import { invalidField, Problem } from '../../platform/http/problem.ts';
import { JsonObject, line, MAX_AMOUNT } from '../../platform/http/wire.ts';
import { checkReturnUri } from '../purchases/start.ts';
import type { EvmRail } from '../rails/evm/evm.ts';
import { readAmount } from '../rails/evm/terms.ts';
import { type Proposal, UNGUESSABLE_LENGTH } from './create.ts';

/** How a shop says what it sells: read from the wire, and held to what this installation allows. */

/** What an order of this installation may be. */
export interface Bounds {
  /** Origins that an order may lead to. */
  returnOrigins: string[];
  /** Of the installation, ISO 4217. */
  currency: string;
  evm: EvmRail;
}

const DEFAULT_PAY_S = 86_400;
const DEFAULT_REFUND_S = 14 * 86_400;

/** As GNU Taler writes them: `{"t_s": 1795322882}`, `{"d_us": 3600000000}`. */
export const Moment = z.strictObject({ t_s: z.int().min(0).max(253_402_300_799) });
export const Span = z.strictObject({ d_us: z.int().min(1_000_000).max(31_536_000_000_000) });

export const sessionId = z
  .string()
  .regex(/^[A-Za-z0-9_-]{8,64}$/, 'must be 8 to 64 letters, digits, hyphens or underscores')
  .describe('public id of a browser session, never the value of its cookie');
const orderId = z
  .string()
  .regex(/^[A-Za-z0-9._-]{1,60}$/, 'must be 1 to 60 letters, digits, dots, hyphens or underscores');
export const orderParams = z.strictObject({ id: orderId });
const url = z.string().max(1000);

const Amount = z
  .string()
  .regex(/^CREDITS:[1-9]\d{0,11}$/, 'must be CREDITS: and a whole number')
  .transform((text) => BigInt(text.slice('CREDITS:'.length)));

const Price = z.discriminatedUnion('rail', [
  z.strictObject({
    rail: z.literal('omise'),
    amount: z.int().min(1).max(MAX_AMOUNT).describe('minor units'),
    currency: z.string().regex(/^[A-Z]{3}$/, 'must be an ISO 4217 code'),
  }),
  z.strictObject({
    rail: z.literal('evm'),
    asset: z.string().max(100).describe('CAIP-19'),
    amount: z.string().max(78).describe('base units, a decimal string'),
  }),
]);

export const Terms = {
  amount: Amount.describe('the price, such as `CREDITS:120`'),
  prices: z.array(Price).max(2).default([]).describe('what those credits cost by other rails; one price each'),
  summary: line(200),
  resource: line(200).optional().describe('what it opens, for the shop; the fulfillment URL when absent'),
  fulfillment_url: url.optional(),
  fulfillment_message: line(500).optional().describe('shown where there is no URL'),
  public_reorder_url: url.optional().describe('where whoever comes by an old link can buy for themselves'),
  pay_deadline: Moment.optional().describe('a day from now when absent'),
  refund_deadline: Moment.optional(),
  max_sessions: z.int().min(1).max(10).default(1).describe('browsers that may read it at the same time'),
  refund_policy: z.enum(['revoke_on_any', 'revoke_on_full']).default('revoke_on_any'),
  extra: JsonObject.optional(),
};

export const OrderIn = z.strictObject({ ...Terms, order_id: orderId.optional() });

/** What a shop asks for, checked; each fault by its pointer. */
export function proposalOf(
  deps: Bounds,
  merchantId: string,
  order: z.infer<typeof OrderIn>,
  more: { session_id?: string | undefined; create_token: boolean; refund_delay?: z.infer<typeof Span> | undefined },
): Proposal {
  const { fulfillment_url: fulfillmentUrl = null, public_reorder_url: publicReorderUrl = null } = order;
  checkAddress(deps, '/order/fulfillment_url', fulfillmentUrl);
  checkAddress(deps, '/order/public_reorder_url', publicReorderUrl);
  checkPrices(deps, order.prices);
  if (!more.create_token && order.order_id !== undefined && order.order_id.length < UNGUESSABLE_LENGTH)
    throw invalidField(
      '/order/order_id',
      `must have ${UNGUESSABLE_LENGTH} characters or more without a claim token: whoever knows it can take the order`,
    );
  const fraction = fractionIn(order.extra, '/order/extra');
  if (fraction !== undefined) throw invalidField(fraction, 'must be a whole number below 2^53, or text: it is hashed');
  const resource = order.resource ?? fulfillmentUrl;
  if (resource === null) throw invalidField('/order/resource', 'must be there when there is no fulfillment_url');
  if (resource.length > 200) throw invalidField('/order/resource', 'must be named when the fulfillment_url is long');
  const payIn = order.pay_deadline ? inFuture('/order/pay_deadline', order.pay_deadline) : DEFAULT_PAY_S;
  const refundIn = order.refund_deadline
    ? inFuture('/order/refund_deadline', order.refund_deadline)
    : more.refund_delay
      ? more.refund_delay.d_us / 1_000_000
      : DEFAULT_REFUND_S;
  return {
    ...{ merchantId, orderId: order.order_id ?? null, resource, summary: order.summary },
    ...{ price: order.amount, prices: order.prices },
    ...{ fulfillmentUrl, fulfillmentMessage: order.fulfillment_message ?? null, publicReorderUrl },
    ...{ extra: (order.extra ?? null) as Proposal['extra'], maxSessions: order.max_sessions },
    ...{ refundPolicy: order.refund_policy, hasToken: more.create_token, sessionId: more.session_id ?? null },
    ...{ payIn, refundIn },
  };
}

/** The same rule as for purchases: the operator says where customers may be led. */
function checkAddress(deps: Bounds, pointer: string, address: string | null): void {
  try {
    checkReturnUri(deps, address);
  } catch (fault) {
    if (!(fault instanceof Problem)) throw fault;
    throw invalidField(pointer, 'must lie on an origin that the operator has allowed', 'return_uri_refused');
  }
}

function checkPrices({ currency, evm }: Bounds, prices: z.infer<typeof Price>[]): void {
  prices.forEach((price, at) => {
    const pointer = `/order/prices/${at}`;
    if (prices.findIndex(({ rail }) => rail === price.rail) !== at)
      throw invalidField(`${pointer}/rail`, 'is named twice');
    if (price.rail === 'omise' && price.currency !== currency)
      throw invalidField(`${pointer}/currency`, `must be ${currency}, the currency of this installation`);
    if (price.rail === 'omise') return;
    if (!evm.assets.some(({ id }) => id === price.asset))
      throw invalidField(`${pointer}/asset`, 'is not taken here', 'asset_unsupported');
    if (readAmount(price.amount) === undefined)
      throw invalidField(`${pointer}/amount`, 'is not a positive number of base units', 'amount_invalid');
  });
}

/** Where something stands that no contract can carry (`hashContract`). */
function fractionIn(value: unknown, pointer: string): string | undefined {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? undefined : pointer;
  if (typeof value !== 'object' || value === null) return undefined;
  for (const [name, one] of Object.entries(value)) {
    const found = fractionIn(one, `${pointer}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`);
    if (found !== undefined) return found;
  }
  return undefined;
}

function inFuture(pointer: string, { t_s }: z.infer<typeof Moment>): Date {
  if (t_s * 1000 <= Date.now()) throw invalidField(pointer, 'must lie in the future');
  return new Date(t_s * 1000);
}
