import { z } from 'zod';
import { amount, amountOut } from '../../platform/http/wire.ts';
import { type Capabilities, METHODS } from '../capability.ts';
import { LightningPriceOut, renderMsat } from '../lightning/prices.ts';
import { type Price, renderPrices } from '../package-prices.ts';
import type { EvmRail } from '../rails/evm/evm.ts';
import type { LightningRail } from '../rails/lightning/lightning.ts';
import { type ProviderFees, providerFee } from './provider-fees.ts';

/** What a payment costs by each way to make it. Informs only: no price is kept, and nothing is set aside. */

/** What is to be paid. `credits`: what the payer's account gets for it, where that is known. */
export type Payment =
  | { type: 'package'; price: bigint; currency: string; credits: bigint; onChain: Price[]; msat: bigint | undefined }
  | { type: 'money'; price: bigint; currency: string }
  | { type: 'asset'; onChain: Pick<Price, 'asset' | 'amount'>[] }
  | { type: 'credits'; credits: bigint }
  | RunPayment;

/** What a run costs and how it is paid, as its own context says. */
export interface PricedRun {
  mode: 'upfront' | 'after';
  cost: bigint;
  milestones: number[] | null;
  /** Of the cost: what the first payment comes to. */
  first: bigint;
  priceHoldsS: number;
  graceS: number | null;
  /** Why it is not paid as was wished. */
  info: string | null;
  rails: (
    | { rail: 'credits' }
    | { rail: 'omise'; currency: string; price_per_credit: number }
    | { rail: 'evm'; asset: string; price_per_credit: string }
    | { rail: 'lightning'; price_per_credit: number }
  )[];
}

interface RunPayment {
  type: 'run';
  run: PricedRun;
  /** Of its first payment. */
  credits: bigint;
  takesCredits: boolean;
  price?: bigint;
  currency?: string;
  onChain: Pick<Price, 'asset' | 'amount'>[];
  msat?: bigint;
}

/** The first payment of a run, in everything that its service takes. */
export function paymentOfRun(run: PricedRun): Payment {
  const { first: credits, rails } = run;
  const money = rails.find((one) => one.rail === 'omise');
  const sats = rails.find((one) => one.rail === 'lightning');
  return {
    ...{ type: 'run', run, credits, takesCredits: rails.some(({ rail }) => rail === 'credits') },
    ...(money ? { price: credits * BigInt(money.price_per_credit), currency: money.currency } : {}),
    ...(sats ? { msat: credits * BigInt(sats.price_per_credit) } : {}),
    onChain: rails.flatMap((one) =>
      one.rail === 'evm' ? [{ asset: one.asset, amount: String(credits * BigInt(one.price_per_credit)) }] : [],
    ),
  };
}

const credits = amountOut.nullable().describe('that the ledger books for it; null: what it is for decides');
const spread = <T extends z.ZodType>(of: T) => z.object({ least: of, most: of });
const received = 'of the amount, once all fees are taken';

const WayOut = z.discriminatedUnion('rail', [
  z.object({
    rail: z.literal('omise'),
    method: z.enum(METHODS),
    amount: amountOut.describe('minor units'),
    currency: z.string(),
    provider_fee: spread(amountOut)
      .nullable()
      .describe('an estimate with tax, which the seller bears: Omise tells it with the charge; null: not known'),
    network_fee: z.null(),
    received: spread(amountOut).nullable().describe(received),
    credits,
  }),
  z.object({
    rail: z.literal('evm'),
    asset: z.string().describe('CAIP-19'),
    amount: z.string().describe('base units'),
    display: z.string(),
    provider_fee: z.null(),
    network_fee: z.object({ paid_by: z.literal('payer'), note: z.string() }),
    received: spread(z.string()).describe(received),
    credits,
  }),
  z.object({
    rail: z.literal('lightning'),
    ...LightningPriceOut.shape,
    provider_fee: z.null(),
    network_fee: z.object({ paid_by: z.literal('payer'), note: z.string() }),
    received: spread(z.string()).describe(received),
    credits,
  }),
  z.object({
    rail: z.literal('credits'),
    amount: amountOut,
    provider_fee: z.null(),
    network_fee: z.null(),
    received: spread(amountOut).describe(received),
    credits,
  }),
]);

const reasons = {
  not_enabled: 'this installation is not set up for it',
  no_price: 'nobody has set a price for it there',
  other_currency: 'it takes another currency',
  not_offered: 'the provider does not offer this method for that amount',
} as const;

const UnavailableOut = z.object({
  rail: z.enum(['omise', 'evm', 'lightning', 'credits']),
  method: z.enum(METHODS).nullable().describe('null: all of the rail'),
  reason: z.enum(Object.keys(reasons) as [keyof typeof reasons]),
  detail: z.string(),
});

export const QuoteOut = z
  .object({
    object: z.literal('quote'),
    ways: z.array(WayOut),
    unavailable: z.array(UnavailableOut).describe('ways that there are, but not for this'),
    run: z
      .object({
        mode: z.enum(['upfront', 'after']),
        cost: amountOut.describe('credits, for all of it'),
        first_payment: amountOut.describe('credits; `ways` say what that is elsewhere'),
        milestones: z.array(amountOut).nullable(),
        price_holds_s: z.int().describe('once a run asks for it'),
        grace_s: z.int().nullable().describe('how long it is waited for, where it is paid afterwards'),
        info: z.string().nullable().describe('why it is not paid as was wished'),
      })
      .optional()
      .describe('of a run: how it is paid'),
  })
  .meta({ id: 'Quote' });

type Quote = z.infer<typeof QuoteOut>;
type Part = Pick<Quote, 'ways' | 'unavailable'>;

export interface QuoteDeps {
  evm: EvmRail;
  lightning: LightningRail | null;
  capabilities: Pick<Capabilities, 'methodsFor'>;
  /** The only one that Omise takes here. */
  currency: string;
  providerFees: ProviderFees;
}

export function quote(deps: QuoteDeps, payment: Payment): Quote {
  const parts = [byOmise(deps, payment), onChain(deps, payment), byLightning(deps, payment), byCredits(payment)];
  return {
    object: 'quote',
    ways: parts.flatMap(({ ways }) => ways),
    unavailable: parts.flatMap(({ unavailable }) => unavailable),
    ...(payment.type === 'run' ? { run: termsOf(payment.run) } : {}),
  };
}

const termsOf = (run: PricedRun): Quote['run'] => ({
  ...{ mode: run.mode, cost: amount(run.cost), first_payment: amount(run.first), milestones: run.milestones },
  ...{ price_holds_s: run.priceHoldsS, grace_s: run.graceS, info: run.info },
});

type Rail = Quote['unavailable'][number]['rail'];
const no = (rail: Rail, reason: keyof typeof reasons, method: (typeof METHODS)[number] | null = null) => ({
  ...{ rail, method, reason, detail: reasons[reason] },
});
const not = (rail: Rail, reason: keyof typeof reasons): Part => ({ ways: [], unavailable: [no(rail, reason)] });
const creditsOf = (payment: Payment) => ('credits' in payment ? amount(payment.credits) : null);

function byOmise({ capabilities, currency: taken, providerFees }: QuoteDeps, payment: Payment): Part {
  if (!('price' in payment) || payment.price === undefined) return not('omise', 'no_price');
  const { price, currency = taken } = payment;
  if (currency !== taken) return not('omise', 'other_currency');
  const offered = capabilities.methodsFor({ price, currency });
  return {
    ways: offered.map((method) => {
      const fee = providerFee(providerFees, method, price);
      return {
        ...{ rail: 'omise' as const, method, amount: amount(price), currency, network_fee: null },
        provider_fee: fee ? { least: amount(fee.least), most: amount(fee.most) } : null,
        received: fee ? { least: amount(price - fee.most), most: amount(price - fee.least) } : null,
        credits: creditsOf(payment),
      };
    }),
    unavailable: METHODS.filter((method) => !offered.includes(method)).map((method) =>
      no('omise', 'not_offered', method),
    ),
  };
}

/** Payers send to the treasury themselves: there is no provider, and what the network takes comes on top. */
function onChain({ evm }: QuoteDeps, payment: Payment): Part {
  if (evm.assets.length === 0) return not('evm', 'not_enabled');
  const prices = 'onChain' in payment ? renderPrices(evm, payment.onChain) : [];
  if (prices.length === 0) return not('evm', 'no_price');
  const networkOf = (asset: string) => evm.assets.find(({ id }) => id === asset)?.chainName ?? 'the network';
  return {
    ways: prices.map(({ asset, amount: units, display }) => ({
      ...{ rail: 'evm' as const, asset, amount: units, display, provider_fee: null },
      network_fee: {
        paid_by: 'payer' as const,
        note: `On top of the amount, in the coin of ${networkOf(asset)}; the wallet shows it before it sends.`,
      },
      received: { least: units, most: units },
      credits: creditsOf(payment),
    })),
    unavailable: [],
  };
}

function byLightning({ lightning }: QuoteDeps, payment: Payment): Part {
  if (!lightning) return not('lightning', 'not_enabled');
  if (!('msat' in payment) || payment.msat === undefined) return not('lightning', 'no_price');
  const price = renderMsat(payment.msat);
  const note = 'On top of the amount, for the way through the network; the wallet bounds it.';
  const free = { provider_fee: null, network_fee: { paid_by: 'payer' as const, note } };
  const whole = { least: price.amount_msat, most: price.amount_msat };
  return {
    ways: [{ rail: 'lightning', ...price, ...free, received: whole, credits: creditsOf(payment) }],
    unavailable: [],
  };
}

function byCredits(payment: Payment): Part {
  if (payment.type !== 'credits' && !(payment.type === 'run' && payment.takesCredits))
    return not('credits', 'no_price');
  const units = amount(payment.credits);
  const free = { provider_fee: null, network_fee: null, received: { least: units, most: units } };
  return { ways: [{ rail: 'credits', amount: units, ...free, credits: units }], unavailable: [] };
}
