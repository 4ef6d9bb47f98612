import { z } from 'zod';
import type { Db } from '../../platform/database/clients.ts';
import { check } from '../../platform/http/limits.ts';
import type { App } from '../../platform/http/server.ts';
import { answers, JsonObject, time, timeOut } from '../../platform/http/wire.ts';
import { faultInShape } from '../../platform/nostr/event.ts';
import { RECEIPT_CODES, type ReceiptCode } from '../rails/lightning/receipt-codes.ts';
import {
  type Match,
  matchReceipt,
  type ReceiptRules,
  type ReceiptVerdict,
  readReceipt,
} from '../rails/lightning/zap-receipt.ts';
import { isPaymentCounted } from './counted.ts';

/** What a zap receipt is worth here, without anything being done about it: for whoever builds clients, and for customers in doubt. */

const hex32 = z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 hex digits in lower case');
const msat = z.string().regex(/^[1-9]\d{0,17}$/, 'must be a positive whole number of millisatoshi, as a string');

const VerifyIn = z.strictObject({
  receipt: JsonObject.describe('the event of kind 9735 as it was received'),
  ask: z
    .strictObject({
      event_id: hex32.describe('the event that asks to be paid'),
      amount_msat: msat.transform(BigInt),
      issued_at: z.iso.datetime({ offset: true }).transform((text) => new Date(text)),
      payer: hex32.nullable().default(null).describe('the only key that may pay; null: anybody'),
    })
    .nullable()
    .default(null)
    .describe('what was asked to be paid; null: the receipt is looked at by itself'),
});

const PaymentOut = z.object({
  payment_hash: z.string(),
  amount_msat: z.string().describe('of the invoice'),
  event_id: z.string().describe('what was zapped'),
  payer: z.string().describe('who signed the zap request'),
  paid_at: timeOut,
  invoiced_at: timeOut,
  preimage: z.enum(['hashes', 'unrelated', 'absent']).describe('evidence; neither proves nor disproves the payment'),
});

const codes = Object.keys(RECEIPT_CODES) as [ReceiptCode, ...ReceiptCode[]];
const VerdictOut = z
  .object({
    object: z.literal('receipt_verdict'),
    verdict: z
      .enum(['sound', 'paid', 'overpaid', 'underpaid', 'quarantined', 'refused'])
      .describe('`sound`: nothing was asked; `quarantined`: a person would look at it'),
    code: z.enum(codes).nullable().describe('why it is not taken'),
    rule: z.int().nullable().describe('number of the rule in the documentation'),
    pointer: z.string().nullable().describe('where in the request'),
    detail: z.string().nullable(),
    payment: PaymentOut.nullable(),
  })
  .meta({ id: 'ReceiptVerdict' });

/** One costs two verifications of signatures, ten milliseconds in all. */
export interface ReceiptDeps {
  db: Db;
  zapRules: ReceiptRules;
  /** Of one address. */
  verificationsPerMinute: number;
}

export function receiptRoutes(app: App, { db, zapRules, verificationsPerMinute }: ReceiptDeps): void {
  const perAddress = check(app as never, 'receipts', verificationsPerMinute, ({ ip }) => ip);

  app.post(
    '/v1/receipts/verify',
    {
      config: { access: 'anyone', rate: 'read', idempotency: 'none' },
      onRequest: async (request, reply) => perAddress(request, reply),
      schema: {
        tags: ['purchases'],
        summary: 'What a zap receipt is worth here',
        description:
          'A dry run of the rules by which receipts of kind 9735 are taken for payments: it moves nothing and keeps nothing. What is wrong with a receipt is an answer, not an error.',
        body: VerifyIn,
        response: answers({ 200: VerdictOut }),
      },
    },
    async ({ body: { receipt, ask } }) => {
      const read = readReceipt(receipt, zapRules, new Date());
      const counted =
        'payment' in read && read.payment !== null && (await isPaymentCounted(db, read.payment.paymentHash));
      if (ask === null && !counted) return render(receipt, read);
      const asked = ask && 'payment' in read && read.payment?.eventId === ask.event_id ? askedOf(ask) : undefined;
      return render(receipt, matchReceipt(read, ask === null ? ANYTHING : asked, counted));
    },
  );
}

/** Where nothing is asked, a payment may still have been counted. */
const ANYTHING = { amountMsat: 1n, issuedAt: new Date(0), payer: null };

const askedOf = ({ amount_msat, issued_at, payer }: NonNullable<z.output<typeof VerifyIn>['ask']>) => ({
  ...{ amountMsat: amount_msat, issuedAt: issued_at, payer },
});

function render(receipt: unknown, found: ReceiptVerdict | Match): z.infer<typeof VerdictOut> {
  const { verdict } = found;
  const code = 'code' in found ? found.code : null;
  const payment = 'payment' in found ? found.payment : null;
  const { rule, at, detail } = code === null ? { rule: null, at: null, detail: null } : RECEIPT_CODES[code];
  const place = code === 'malformed' ? (faultInShape(receipt) ?? '') : at;
  return {
    ...{ object: 'receipt_verdict', verdict, code, rule, detail, pointer: place === null ? null : `/receipt${place}` },
    payment: payment && {
      ...{ payment_hash: payment.paymentHash, amount_msat: payment.amountMsat.toString() },
      ...{ event_id: payment.eventId, payer: payment.payer, preimage: payment.preimage },
      ...{ paid_at: time(payment.paidAt), invoiced_at: time(payment.invoicedAt) },
    },
  };
}
