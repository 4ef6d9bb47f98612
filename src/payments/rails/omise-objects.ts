import { z } from 'zod';
import type { Change, Charge, ProviderRefund, Unreadable } from './rail.ts';

/**
 * Omise's objects (API version 2019-05-29), read strictly where money depends on it: an unknown or missing status is
 * not a pending one, it is not read at all. Unknown members are fine.
 */

const integer = z.int().min(0).transform(BigInt);
const time = z
  .string()
  .transform((text) => new Date(text))
  .refine((date) => !Number.isNaN(date.getTime()), 'is not a time');

export const CHARGE_ID = /^chrg_(test_)?[a-z0-9]{8,40}$/;
const ATTEMPT_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

const REFUND_ID = /^rfd_[0-7][0-9a-hjkmnp-tv-z]{25}$/;

const OmiseRefund = z.looseObject({
  object: z.literal('refund'),
  id: z.string().regex(/^rfnd_(test_)?[a-z0-9]{8,40}$/),
  amount: integer,
  voided: z.boolean().default(false),
  charge: z.string().regex(CHARGE_ID),
  metadata: z.record(z.string(), z.unknown()).nullish(),
});

/** `undefined` when it is not a refund of that charge that can be relied on. */
export function readRefund(chargeId: string, json: unknown): ProviderRefund | undefined {
  const refund = OmiseRefund.safeParse(json).data;
  if (refund?.charge !== chargeId) return undefined;
  const id = z.string().regex(REFUND_ID).safeParse(refund.metadata?.['refund_id']).data;
  return { id: refund.id, amount: refund.amount, voided: refund.voided, refundId: id ?? null };
}

const OmiseCharge = z.looseObject({
  object: z.literal('charge'),
  id: z.string().regex(CHARGE_ID),
  livemode: z.boolean(),
  status: z.enum(['pending', 'successful', 'failed', 'expired', 'reversed']),
  paid: z.boolean(),
  reversed: z.boolean().default(false),
  voided: z.boolean().default(false),
  amount: integer,
  captured_amount: integer.nullish(),
  refunded_amount: integer.default(0n),
  currency: z.string().regex(/^[A-Za-z]{3}$/),
  dispute: z
    .looseObject({ status: z.string(), id: z.string().max(100).optional(), amount: integer.optional() })
    .nullish(),
  refundable: z.boolean().default(false),
  refunds: z.looseObject({ data: z.array(z.unknown()) }).nullish(),
  metadata: z.record(z.string(), z.unknown()).nullish(),
  authorize_uri: z.string().nullish(),
  source: z
    .looseObject({
      scannable_code: z.looseObject({ image: z.looseObject({ download_uri: z.string() }).nullish() }).nullish(),
    })
    .nullish(),
  failure_code: z.string().nullish(),
  failure_message: z.string().nullish(),
  expires_at: time.nullish(),
  created_at: time.optional(),
});

/** A dispute that was decided for the merchant is no obstacle any more. */
const SETTLED_DISPUTES = new Set(['won', 'closed']);
const MAX_TEXT = 500;

/** `undefined` when it is not a charge that can be relied on. */
export function readCharge(json: unknown): Charge | undefined {
  const parsed = OmiseCharge.safeParse(json);
  if (!parsed.success) return undefined;
  const charge = parsed.data;
  return {
    id: charge.id,
    status: charge.status,
    paid: charge.paid,
    reversed: charge.reversed,
    voided: charge.voided,
    livemode: charge.livemode,
    amount: charge.amount,
    capturedAmount: charge.captured_amount ?? null,
    refundedAmount: charge.refunded_amount,
    currency: charge.currency.toUpperCase(),
    hasOpenDispute: charge.dispute ? !SETTLED_DISPUTES.has(charge.dispute.status) : false,
    refundable: charge.refundable,
    // What cannot be read is missing in the sum, and so is noticed by whoever adds up.
    refunds: (charge.refunds?.data ?? []).map((one) => readRefund(charge.id, one)).filter((one) => one !== undefined),
    dispute:
      charge.dispute?.id === undefined
        ? null
        : { id: charge.dispute.id, status: charge.dispute.status, amount: charge.dispute.amount ?? charge.amount },
    attemptId: attemptIdOf(charge.metadata),
    authorizeUri: charge.authorize_uri ?? null,
    qrUri: charge.source?.scannable_code?.image?.download_uri ?? null,
    failureCode: charge.failure_code?.slice(0, MAX_TEXT) ?? null,
    failureMessage: charge.failure_message?.slice(0, MAX_TEXT) ?? null,
    expiresAt: charge.expires_at ?? null,
    createdAt: charge.created_at ?? new Date(0),
  };
}

/** Ours, from the metadata of a charge; nothing else that may stand there is of interest. */
function attemptIdOf(metadata: unknown): string | null {
  const id = z.looseObject({ attempt_id: z.string().regex(ATTEMPT_ID) }).safeParse(metadata).data?.attempt_id;
  return id ?? null;
}

const List = z.looseObject({
  object: z.literal('list'),
  data: z.array(z.unknown()),
  total: z.int().min(0),
  limit: z.int().min(1),
  offset: z.int().min(0),
});

/** One odd entry must not hide the others of its page; an empty page ends the list, whatever its total says. */
const listOf = <T>(read: (json: unknown) => T | undefined) =>
  List.transform(({ data, total, limit, offset }) => ({
    items: data.map(read).filter((item) => item !== undefined),
    hasMore: data.length > 0 && offset + limit < total,
  }));

/** A page of charges; those that cannot be relied on are only named. */
export const ChargeList = listOf((json) => json).transform(({ items, hasMore }) => ({
  charges: items.map(readCharge).filter((charge) => charge !== undefined),
  unreadable: items
    .filter((json) => readCharge(json) === undefined)
    .map(nameOf)
    .filter((named) => named !== undefined),
  hasMore,
}));

const Named = z.looseObject({ id: z.string().regex(CHARGE_ID), metadata: z.unknown() });

function nameOf(json: unknown): Unreadable | undefined {
  const named = Named.safeParse(json).data;
  return named && { id: named.id, attemptId: attemptIdOf(named.metadata) };
}

/** A page of events, reduced to their ids and those of the charges that they concern. */
export const EventList = listOf(readEvent).transform(({ items, hasMore }) => ({ changes: items, hasMore }));

const OmiseEvent = z.looseObject({ object: z.literal('event'), id: z.string(), data: z.looseObject({}) });

function readEvent(json: unknown): Change | undefined {
  const event = OmiseEvent.safeParse(json).data;
  return event && { eventId: event.id, chargeId: chargeIdOf(event.data) };
}

/** The charge that a charge, refund or dispute object is about. */
export function chargeIdOf(data: Record<string, unknown>): string | null {
  const id =
    data['object'] === 'charge'
      ? data['id']
      : data['object'] === 'refund' || data['object'] === 'dispute'
        ? data['charge']
        : null;
  return typeof id === 'string' && CHARGE_ID.test(id) ? id : null;
}

export const Account = z.looseObject({
  object: z.literal('account'),
  livemode: z.boolean(),
  currency: z.string(),
  api_version: z.string(),
  webhook_uri: z.string().nullish(),
});

export const CapabilityObject = z.looseObject({
  object: z.literal('capability'),
  limits: z.looseObject({ charge_amount: z.looseObject({ min: integer, max: integer }) }),
  payment_methods: z.array(z.looseObject({ name: z.string(), currencies: z.array(z.string()).nullish() })),
});

/** What Omise says when it refuses. */
export const Refusal = z.looseObject({ object: z.literal('error'), code: z.string(), message: z.string() });
