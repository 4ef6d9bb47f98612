import { z } from 'zod';
import { invalidField } from '../../platform/http/problem.ts';
import { MAX_AMOUNT } from '../../platform/http/wire.ts';

/**
 * How runs of a service are paid. The names are those of the API: a policy is kept as it was given, and copied into the
 * quote of each run that is paid by asks, so that a change is about later runs only.
 */

const MAX_MILESTONES = 100;
const DAY_S = 86_400;
/** Millisatoshi of 21 million bitcoin. */
const ALL_MSAT = 2_100_000_000_000_000_000n;

const Credits = z.int().min(1).max(MAX_AMOUNT);
const units = z.string().regex(/^[1-9]\d{0,77}$/, 'must be a whole number of base units, as a string');

const max_credits = Credits.optional().describe('no single payment by it is larger');

const RailIn = z.discriminatedUnion('rail', [
  z.strictObject({ rail: z.literal('credits') }),
  z.strictObject({
    rail: z.literal('omise'),
    currency: z.string().regex(/^[A-Z]{3}$/, 'must be an ISO 4217 code'),
    price_per_credit: z.int().min(1).max(1_000_000).describe('minor units'),
    max_credits,
  }),
  z.strictObject({
    rail: z.literal('evm'),
    asset: z.string().max(100).describe('CAIP-19'),
    price_per_credit: units.describe('base units'),
    max_credits,
  }),
  z.strictObject({
    rail: z.literal('lightning'),
    price_per_credit: z.int().min(1).max(1_000_000_000_000).describe('millisatoshi'),
    max_credits,
  }),
]);
export type RailTerms = z.infer<typeof RailIn>;

/** What one payment can be: minor units, base units (a uint256), millisatoshi. */
const MOST = { omise: BigInt(MAX_AMOUNT), evm: 2n ** 256n - 1n, lightning: ALL_MSAT };

const isWithinAll = (terms: RailTerms, credits: bigint): boolean =>
  terms.rail === 'credits' || credits * BigInt(terms.price_per_credit) <= MOST[terms.rail];

/** Whether so much can be paid by a rail at once. The cost may be a former one, which its present price was not made for. */
export const fits = (terms: RailTerms, credits: bigint): boolean =>
  isWithinAll(terms, credits) &&
  (!('max_credits' in terms) || terms.max_credits === undefined || credits <= BigInt(terms.max_credits));

/** What a credit costs by Lightning, in millisatoshi; `null` where it is not paid so. */
export const msatPerCredit = ({ rails }: { rails: RailTerms[] }): bigint | null => {
  const terms = rails.find((one) => one.rail === 'lightning');
  return terms ? BigInt(terms.price_per_credit) : null;
};

const fields = {
  mode: z.enum(['upfront', 'after', 'flexible']).describe('`flexible`: the customer chooses'),
  default: z.enum(['upfront', 'after']).describe('of `flexible`, for whoever does not choose'),
  milestones: z
    .array(Credits)
    .min(2)
    .max(MAX_MILESTONES)
    .nullable()
    .describe('credits of each part, which make up `credit_cost`; each is paid before it is worked on'),
  unpaid_part: z.enum(['pause', 'continue']).describe('what the work does while the next part is not paid'),
  quote_ttl_s: z
    .int()
    .min(10)
    .max(30 * DAY_S)
    .describe('how long a price is held for its payment'),
  after: z.strictObject({
    credit_limit: Credits.describe('credits that one account may owe the service'),
    max_unpaid_runs: z.int().min(1).max(1000),
    grace_s: z
      .int()
      .min(10)
      .max(365 * DAY_S)
      .describe('after it the debt is written off'),
  }),
  surplus: z.enum(['credit', 'refund']).describe('what comes too much: credits of the account, or asked back at once'),
  underpay: z
    .enum(['reject', 'accumulate'])
    .describe('what comes short: credits of the account, or kept until the rest is there'),
  rails: z.array(RailIn).min(1).max(8),
};

export const PolicyOut = z.object({ ...fields }).meta({ id: 'PaymentPolicy' });
export type PaymentPolicy = z.infer<typeof PolicyOut>;

/** Of a service of which nothing was said. */
export const standardPolicy: PaymentPolicy = {
  mode: 'upfront',
  default: 'upfront',
  milestones: null,
  unpaid_part: 'pause',
  quote_ttl_s: 600,
  after: { credit_limit: 1000, max_unpaid_runs: 1, grace_s: DAY_S },
  surplus: 'credit',
  underpay: 'reject',
  rails: [{ rail: 'credits' }],
};

/** What an operator says; the rest is as for a service of which nothing was said. */
export const PolicyIn = z
  .strictObject({
    mode: fields.mode.default(standardPolicy.mode),
    default: fields.default.default(standardPolicy.default),
    milestones: fields.milestones.default(standardPolicy.milestones),
    unpaid_part: fields.unpaid_part.default(standardPolicy.unpaid_part),
    quote_ttl_s: fields.quote_ttl_s.default(standardPolicy.quote_ttl_s),
    after: z
      .strictObject({
        credit_limit: fields.after.shape.credit_limit.default(standardPolicy.after.credit_limit),
        max_unpaid_runs: fields.after.shape.max_unpaid_runs.default(standardPolicy.after.max_unpaid_runs),
        grace_s: fields.after.shape.grace_s.default(standardPolicy.after.grace_s),
      })
      .default(standardPolicy.after),
    surplus: fields.surplus.default(standardPolicy.surplus),
    underpay: fields.underpay.default(standardPolicy.underpay),
    rails: fields.rails.default(standardPolicy.rails),
  })
  .meta({ id: 'PaymentPolicyIn' });

/** The terms of one run that is paid by asks. */
export interface RunQuote {
  /** Version of the service that they are of. */
  version: number;
  mode: 'upfront' | 'after';
  milestones: number[] | null;
  unpaid_part: PaymentPolicy['unpaid_part'];
  quote_ttl_s: number;
  grace_s: number;
  surplus: PaymentPolicy['surplus'];
  underpay: PaymentPolicy['underpay'];
  rails: RailTerms[];
  refund_on_failure: 'full' | 'none';
  deadline_s: number;
  /** Why it is not paid as was wished. */
  info: string | null;
}

/** A 422 for what does not go together. */
export function checkPolicy(policy: PaymentPolicy, creditCost: bigint): void {
  const { mode, milestones, rails } = policy;
  if (milestones && mode !== 'upfront')
    throw invalidField('/payment/milestones', 'are paid part by part, and so go with the mode `upfront` only');
  if (milestones && milestones.reduce((sum, credits) => sum + BigInt(credits), 0n) !== creditCost)
    throw invalidField('/payment/milestones', `must make up the credit_cost, which is ${creditCost}`);
  const dear = rails.findIndex((one) => !isWithinAll(one, creditCost));
  if (dear >= 0)
    throw invalidField(`/payment/rails/${dear}/price_per_credit`, 'makes the service dearer than a payment can be');
  const names = rails.map((one) => (one.rail === 'evm' ? `evm ${one.asset}` : one.rail));
  const twice = names.findIndex((name, at) => names.indexOf(name) !== at);
  if (twice >= 0) throw invalidField(`/payment/rails/${twice}`, 'is named twice');
}

/** What this installation can be paid by. */
interface Installation {
  currency: string;
  evm: { assets: readonly { id: string }[] };
}

/** A 422 for a way that nobody could ever pay by: it would be offered with each ask, and refused. */
export function checkRails({ rails }: PaymentPolicy, { currency, evm }: Installation): void {
  for (const [at, one] of rails.entries()) {
    if (one.rail === 'omise' && one.currency !== currency)
      throw invalidField(`/payment/rails/${at}/currency`, `must be ${currency}, the currency of this installation`);
    if (one.rail === 'evm' && !evm.assets.some(({ id }) => id === one.asset))
      throw invalidField(`/payment/rails/${at}/asset`, 'is not taken here', 'asset_unsupported');
  }
}

/** How a run is paid: as was wished, as far as the policy and what the account has left unpaid allow it. */
export function chooseMode(
  { mode, default: byDefault }: PaymentPolicy,
  wished: 'upfront' | 'after' | undefined,
  isDemoted: boolean,
): { mode: 'upfront' | 'after'; info: string | null } {
  if (wished !== undefined && mode !== 'flexible' && wished !== mode)
    throw invalidField(
      '/payment',
      `The service is paid ${mode === 'after' ? 'afterwards' : 'upfront'}.`,
      'payment_mode_unavailable',
    );
  const chosen = wished ?? (mode === 'flexible' ? byDefault : mode);
  if (chosen === 'after' && isDemoted)
    return {
      mode: 'upfront',
      info: 'Paid upfront, because an earlier run was never paid. Paying that one lifts this.',
    };
  return { mode: chosen, info: null };
}
