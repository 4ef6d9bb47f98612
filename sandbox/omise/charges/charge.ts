import { badRequest, notFound } from '../http/refusals.ts';
import { newId } from '../ids.ts';
import type { JsonObject } from '../json.ts';
import type { Card } from '../objects/cards.ts';
import type { Dispute } from '../objects/disputes.ts';
import type { Refund } from '../objects/refunds.ts';
import type { Source } from '../objects/sources.ts';
import type { World } from '../state.ts';

type ChargeStatus = 'pending' | 'successful' | 'failed' | 'expired' | 'reversed';

/** What the merchant asked for. */
export interface Order {
  amount: number;
  currency: string;
  description: string | null;
  metadata: JsonObject;
  ip: string | null;
  capture: boolean;
  authorizationType: string | null;
  card: Card | null;
  customer: string | null;
  source: Source | null;
  link: string | null;
  returnUri: string | null;
  webhookEndpoints: string[];
  /** Null: the method's default. */
  expiresAt: number | null;
}

export interface Charge extends Omit<Order, 'expiresAt'> {
  readonly id: string;
  status: ChargeStatus;
  createdAt: number;
  expiresAt: number;
  authorizedAt: number | null;
  paidAt: number | null;
  expiredAt: number | null;
  reversedAt: number | null;
  /** Money that has really moved; `captured_amount` on the wire says more than that, see `charge-json.ts`. */
  capturedAmount: number;
  voided: boolean;
  failureCode: string | null;
  transaction: string | null;
  /** Id of the page where the person proves or confirms the payment. */
  payment: string | null;
  qr: { document: string; downloadKey: string; payload: string } | null;
  refunds: Refund[];
  dispute: Dispute | null;
  /** A data fault: what every reading of the charge shows instead of the truth. */
  disguise: { set: JsonObject; omit: string[] };
  /** `metadata.attempt_id` of a charge made by a call to the API; null for twins and link payments. */
  readonly attempt: string | null;
}

const HOUR_MS = 3_600_000;
export const SOURCE_LIFE_MS = 24 * HOUR_MS;
const CARD_LIFE_MS = 7 * 24 * HOUR_MS;

export function openCharge(world: World, order: Order, attempt: string | null = null): Charge {
  const now = world.clock.now();
  const charge: Charge = {
    ...order,
    ...unpaid(),
    id: newId(world, 'chrg'),
    createdAt: now,
    expiresAt: order.expiresAt ?? now + (order.source === null ? CARD_LIFE_MS : SOURCE_LIFE_MS),
    attempt,
  };
  world.charges.set(charge.id, charge);
  world.open.add(charge);
  if (order.source !== null) order.source.charge = charge.id;
  return charge;
}

function unpaid() {
  return {
    status: 'pending' as ChargeStatus,
    authorizedAt: null,
    paidAt: null,
    expiredAt: null,
    reversedAt: null,
    capturedAmount: 0,
    voided: false,
    failureCode: null,
    transaction: null,
    payment: null,
    qr: null,
    refunds: [],
    dispute: null,
    disguise: { set: {}, omit: [] },
  };
}

export function chargeOf(world: World, id: string): Charge {
  const charge = world.charges.get(id);
  if (charge === undefined) throw notFound('charge', id);
  return charge;
}

/** Pending and not yet authorised: still to be paid by the person. */
export function isAwaiting(charge: Charge): boolean {
  return charge.status === 'pending' && charge.authorizedAt === null;
}

export function requireAwaiting(charge: Charge): void {
  if (!isAwaiting(charge)) throw badRequest('charge is not pending');
}
