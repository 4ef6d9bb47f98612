import { type Charge, chargeOf } from '../charges/charge.ts';
import { stamp } from '../clock.ts';
import { flagField, objectField, requiredInteger } from '../http/fields.ts';
import { notFound, refused } from '../http/refusals.ts';
import { type Call, idOf } from '../http/router.ts';
import { newId } from '../ids.ts';
import type { JsonObject } from '../json.ts';
import type { World } from '../state.ts';
import { record } from './events.ts';
import { listPage } from './lists.ts';
import { book } from './transactions.ts';

export interface Refund {
  id: string;
  amount: number;
  metadata: JsonObject;
  voided: boolean;
  transaction: string;
  createdAt: number;
}

const DAY_MS = 86_400_000;
const REFUND_WINDOW_MS = 365 * DAY_MS;
const MAXIMUM_REFUNDS = 15;
/** Until then a payment can still be voided; the vendor settles daily. */
const SETTLED_AFTER_MS = DAY_MS;

export function createRefund(call: Call): JsonObject {
  const { world, input } = call;
  const charge = chargeOf(world, idOf(call));
  const amount = requiredInteger(input, 'amount');
  checkRefund(world, charge, amount);
  const voided = becomesVoid(world, charge, amount, flagField(input, 'void'));
  const refund = giveBack(world, charge, { amount, voided, metadata: objectField(input, 'metadata') ?? {} });
  return refundJson(world, charge, refund);
}

function checkRefund(world: World, charge: Charge, amount: number): void {
  if (!isRefundable(world, charge)) throw refused('failed_refund', 'charge cannot be refunded');
  if (amount < 1) throw refused('failed_refund', 'refund amount must be greater than 0');
  if (amount > charge.capturedAmount - refundedAmount(charge)) {
    throw refused('failed_refund', 'refund amount is greater than the remaining amount');
  }
}

/** The whole amount before settlement becomes a void, unless `void: false` asks for a refund. */
function becomesVoid(world: World, charge: Charge, amount: number, wanted: boolean | null): boolean {
  const possible = amount === charge.capturedAmount && charge.refunds.length === 0 && !isSettled(world, charge);
  if (wanted === true && !possible) throw refused('failed_void', 'charge cannot be voided');
  return possible && wanted !== false;
}

/** Gives money back, by the API's rules or (from the control API) by a human in the dashboard. */
export function giveBack(world: World, charge: Charge, wanted: Pick<Refund, 'amount' | 'voided' | 'metadata'>): Refund {
  const { currency } = charge;
  const id = newId(world, 'rfnd');
  const { amount } = wanted;
  const movement = book(world, { currency, amount, direction: 'debit', key: 'refund.created.debit', origin: id });
  const refund: Refund = { id, transaction: movement.id, createdAt: world.clock.now(), ...wanted };
  charge.refunds.push(refund);
  charge.voided ||= wanted.voided;
  record(world, 'refund.create', refundJson(world, charge, refund), {
    charge: charge.id,
    endpoints: charge.webhookEndpoints,
  });
  return refund;
}

export function refundedAmount(charge: Charge): number {
  return charge.refunds.reduce((sum, refund) => sum + refund.amount, 0);
}

/** PromptPay and Thai mobile banking have no way back through Omise. */
export function isRefundable(world: World, charge: Charge): boolean {
  const type = charge.source?.type ?? 'card';
  return (
    charge.status === 'successful' &&
    type !== 'promptpay' &&
    !type.startsWith('mobile_banking_') &&
    charge.dispute?.status !== 'open' &&
    charge.refunds.length < MAXIMUM_REFUNDS &&
    refundedAmount(charge) < charge.capturedAmount &&
    world.clock.now() < (charge.paidAt ?? 0) + REFUND_WINDOW_MS
  );
}

export function isSettled(world: World, charge: Charge): boolean {
  return world.clock.now() >= (charge.paidAt ?? 0) + SETTLED_AFTER_MS;
}

export function listRefunds(call: Call): JsonObject {
  const charge = chargeOf(call.world, idOf(call));
  return listPage(call, {
    items: charge.refunds,
    createdAt: (refund) => refund.createdAt,
    json: (refund) => refundJson(call.world, charge, refund),
    location: `/charges/${charge.id}/refunds`,
  });
}

export function readRefund(call: Call): JsonObject {
  const charge = chargeOf(call.world, idOf(call));
  const refund = charge.refunds.find(({ id }) => id === call.path['refund']);
  if (refund === undefined) throw notFound('refund', idOf(call, 'refund'));
  return refundJson(call.world, charge, refund);
}

export function refundJson(world: World, charge: Charge, refund: Refund): JsonObject {
  return {
    object: 'refund',
    id: refund.id,
    location: `/charges/${charge.id}/refunds/${refund.id}`,
    livemode: world.account.livemode,
    voided: refund.voided,
    currency: charge.currency,
    amount: refund.amount,
    metadata: structuredClone(refund.metadata),
    charge: charge.id,
    capture: null,
    terminal: null,
    transaction: refund.transaction,
    status: 'closed',
    funding_amount: refund.amount,
    funding_currency: charge.currency,
    created_at: stamp(refund.createdAt),
    acquirer_reference_number: null,
    approval_code: null,
  };
}
