import { badRequest } from '../http/refusals.ts';
import type { JsonObject } from '../json.ts';
import { openDispute } from '../objects/disputes.ts';
import { giveBack, refundedAmount } from '../objects/refunds.ts';
import type { World } from '../state.ts';
import { announce } from './announce.ts';
import { type Charge, openCharge } from './charge.ts';
import { accept, lapse, take } from './outcome.ts';

/** What can be wrong with a charge as it is read back. */
export type DataFault =
  | { data: 'amount_off_by_one'; delta?: number }
  | { data: 'currency_swapped'; currency?: string }
  | { data: 'metadata_spoofed'; metadata: JsonObject }
  /** Paid at the provider although its `expires_at` has passed. */
  | { data: 'paid_after_expiry' }
  /** Paid with less money than asked; half of it when not said. */
  | { data: 'partial_capture'; captured_amount?: number }
  /** By a human in the dashboard; also of methods that the API does not refund. All that is left when not said. */
  | { data: 'dashboard_refund'; amount?: number }
  | { data: 'dispute_opened'; amount?: number; reason?: string }
  | { data: 'unknown_status'; status?: string }
  | { data: 'missing_status' }
  /** A second charge with the same metadata, paid as well. */
  | { data: 'twin' }
  /** Any other lie: values shown and keys left out in every reading. */
  | { data: 'disguise'; set?: JsonObject; omit?: string[] }
  /** Ends every disguise of this charge. */
  | { data: 'truth' };

export const DATA_FAULTS: readonly DataFault['data'][] = [
  'amount_off_by_one',
  'currency_swapped',
  'metadata_spoofed',
  'paid_after_expiry',
  'partial_capture',
  'dashboard_refund',
  'dispute_opened',
  'unknown_status',
  'missing_status',
  'twin',
  'disguise',
  'truth',
];

/** Applies a data fault and says which charge shows it: the given one, or its twin. */
export function mutate(world: World, charge: Charge, fault: DataFault): Charge {
  switch (fault.data) {
    case 'amount_off_by_one':
      return disguise(charge, otherAmount(charge, fault.delta ?? 1));
    case 'currency_swapped': {
      const currency = fault.currency ?? 'JPY';
      return disguise(charge, { currency, funding_currency: currency });
    }
    case 'metadata_spoofed':
      charge.metadata = fault.metadata;
      return charge;
    case 'paid_after_expiry':
      return payLate(world, charge);
    case 'partial_capture':
      return takeLess(world, charge, fault.captured_amount ?? Math.floor(charge.amount / 2));
    case 'dashboard_refund':
      refundByHand(world, charge, fault.amount ?? charge.capturedAmount - refundedAmount(charge));
      return charge;
    case 'dispute_opened':
      openDispute(world, charge, fault);
      return charge;
    case 'unknown_status':
      return disguise(charge, { status: fault.status ?? 'settling' });
    case 'missing_status':
      return disguise(charge, {}, ['status']);
    case 'twin':
      return twin(world, charge);
    case 'disguise':
      return disguise(charge, fault.set ?? {}, fault.omit ?? []);
    case 'truth':
      charge.disguise = { set: {}, omit: [] };
      return charge;
  }
}

function disguise(charge: Charge, set: JsonObject, omit: string[] = []): Charge {
  Object.assign(charge.disguise.set, set);
  charge.disguise.omit.push(...omit);
  return charge;
}

/** As if another amount had been charged and paid from the beginning. */
function otherAmount(charge: Charge, delta: number): JsonObject {
  const amount = charge.amount + delta;
  return { amount, authorized_amount: amount, captured_amount: amount, funding_amount: amount };
}

function payLate(world: World, charge: Charge): Charge {
  if (charge.status === 'pending') lapse(world, charge, charge.expiresAt);
  if (charge.status !== 'expired') throw badRequest('charge is not pending or expired');
  charge.expiredAt = null;
  accept(world, charge);
  charge.paidAt = Math.max(world.clock.now(), charge.expiresAt + 1000);
  announce(world, 'charge.complete', charge);
  return charge;
}

function takeLess(world: World, charge: Charge, amount: number): Charge {
  if (charge.status !== 'pending' && charge.status !== 'successful') throw badRequest('charge cannot be captured');
  const wasPending = charge.status === 'pending';
  charge.authorizationType = 'pre_auth';
  if (charge.transaction !== null) world.transactions.delete(charge.transaction); // booked for more
  take(world, charge, amount);
  if (wasPending) announce(world, 'charge.complete', charge);
  return charge;
}

export function refundByHand(world: World, charge: Charge, amount: number): void {
  const left = charge.capturedAmount - refundedAmount(charge);
  if (charge.status !== 'successful' || amount < 1 || amount > left) throw badRequest('there is nothing to refund');
  giveBack(world, charge, { amount, voided: false, metadata: {} });
}

function twin(world: World, charge: Charge): Charge {
  const source = charge.source && { ...charge.source };
  const order = { ...charge, source, metadata: structuredClone(charge.metadata) };
  const second = openCharge(world, order);
  announce(world, 'charge.create', second);
  accept(world, second);
  announce(world, 'charge.complete', second);
  return second;
}
