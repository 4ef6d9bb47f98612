import { stamp, stampOrNull } from '../clock.ts';
import type { JsonObject } from '../json.ts';
import { cardJson } from '../objects/cards.ts';
import { disputeJson } from '../objects/disputes.ts';
import { embeddedList } from '../objects/lists.ts';
import { isRefundable, isSettled, refundedAmount, refundJson } from '../objects/refunds.ts';
import { sourceJson } from '../objects/sources.ts';
import type { World } from '../state.ts';
import type { Charge } from './charge.ts';
import { FAILURES } from './failures.ts';

/** A charge as it is read back, in the order of keys of the recorded ones. */
export function chargeJson(world: World, charge: Charge): JsonObject {
  const body: JsonObject = {
    ...identity(charge),
    ...amounts(world, charge),
    ...story(world, charge),
    ...flags(world, charge),
    ...structuredClone(charge.disguise.set),
  };
  for (const key of charge.disguise.omit) delete body[key];
  return body;
}

function identity(charge: Charge): JsonObject {
  return { object: 'charge', id: charge.id, location: `/charges/${charge.id}` };
}

function amounts(world: World, charge: Charge): JsonObject {
  const basis = charge.paidAt === null ? charge.amount : charge.capturedAmount;
  const { fee, vat, rate } = feeOf(charge, basis);
  const refunds = charge.refunds.map((refund) => refundJson(world, charge, refund));
  return {
    amount: charge.amount,
    authorization_type: charge.authorizationType,
    authorized_amount: charge.amount,
    captured_amount: capturedOnWire(charge),
    acquirer_reference_number: null,
    net: basis - fee - vat,
    fee,
    fee_vat: vat,
    interest: 0,
    interest_vat: 0,
    funding_amount: basis,
    refunded_amount: refundedAmount(charge),
    transaction_fees: { fee_flat: '0.0', fee_rate: rate, vat_rate: '7.0' },
    platform_fee: { fixed: null, amount: null, percentage: null },
    currency: charge.currency,
    funding_currency: charge.currency,
    ip: charge.ip,
    refunds: embeddedList(refunds, `/charges/${charge.id}/refunds`, world.clock.now()),
  };
}

/** Recorded failed and expired charges carry the full amount here; only a two-step charge tells what was taken. */
function capturedOnWire(charge: Charge): number {
  return charge.paidAt === null && charge.capture ? charge.amount : charge.capturedAmount;
}

const CARD_FEE_PERCENT = '3.65'; // recorded
const SOURCE_FEE_PERCENT = '1.65'; // the published rate of PromptPay; no record of one exists
const VAT = 0.07;

export function feeOf(charge: Charge, basis: number): { fee: number; vat: number; rate: string } {
  const rate = charge.source === null ? CARD_FEE_PERCENT : SOURCE_FEE_PERCENT;
  const fee = Math.round((basis * Number(rate)) / 100);
  return { fee, vat: Math.round(fee * VAT), rate };
}

function story(world: World, charge: Charge): JsonObject {
  return {
    link: charge.link,
    description: charge.description,
    metadata: structuredClone(charge.metadata),
    ...missingFields(charge),
    card: charge.card && cardJson(world, charge.card, charge.customer),
    source: charge.source && sourceJson(world, charge.source),
    schedule: null,
    linked_account: null,
    customer: charge.customer,
    dispute: charge.dispute && disputeJson(world, charge.dispute),
    transaction: charge.transaction,
    failure_code: charge.failureCode,
    failure_message: charge.failureCode && (FAILURES[charge.failureCode] ?? charge.failureCode),
    merchant_advice: null,
    merchant_advice_code: null,
    status: charge.status,
    authorize_uri: charge.payment && `${world.url}/payments/${charge.payment}/authorize`,
    return_uri: charge.returnUri,
    ...times(world, charge),
    multi_capture: false,
    zero_interest_installments: false,
    branch: null,
    terminal: null,
    device: null,
  };
}

/** Only 3-D Secure charges have the key. */
function missingFields(charge: Charge): JsonObject {
  const { card } = charge;
  if (card === null || charge.payment === null) return {};
  const missing = [card.email === null ? 'email' : '', card.phoneNumber === null ? 'phone_number' : ''];
  return { missing_3ds_fields: missing.filter((name) => name !== '') };
}

function times(world: World, charge: Charge): JsonObject {
  // Recorded: once `expires_at` has passed, paid charges carry an `expired_at` too, and failed ones say `expired`.
  const lapsed = world.clock.now() >= charge.expiresAt ? charge.expiresAt : null;
  return {
    created_at: stamp(charge.createdAt),
    paid_at: stampOrNull(charge.paidAt),
    authorized_at: stampOrNull(charge.authorizedAt),
    expires_at: stamp(charge.expiresAt),
    expired_at: stampOrNull(charge.expiredAt ?? lapsed),
    reversed_at: stampOrNull(charge.reversedAt),
  };
}

function flags(world: World, charge: Charge): JsonObject {
  const paid = charge.status === 'successful';
  const held = charge.status === 'pending' && charge.authorizedAt !== null;
  const lapsed = world.clock.now() >= charge.expiresAt;
  return {
    authorized: charge.authorizedAt !== null,
    capturable: held,
    capture: charge.capture,
    disputable: paid && charge.card !== null && charge.dispute === null && !charge.voided,
    livemode: world.account.livemode,
    refundable: isRefundable(world, charge),
    partially_refundable: isRefundable(world, charge),
    reversed: charge.status === 'reversed',
    reversible: held,
    voided: charge.voided,
    paid,
    expired: charge.status === 'expired' || (charge.status === 'failed' && lapsed),
    can_perform_void: isRefundable(world, charge) && charge.refunds.length === 0 && !isSettled(world, charge),
    approval_code: null,
  };
}
