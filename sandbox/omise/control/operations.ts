import { type Charge, chargeOf } from '../charges/charge.ts';
import { chargeJson } from '../charges/charge-json.ts';
import { type DataFault, mutate, refundByHand } from '../charges/data-faults.ts';
import { complete, expireDue, lapse } from '../charges/outcome.ts';
import { badRequest } from '../http/refusals.ts';
import type { JsonObject } from '../json.ts';
import { closeDispute, openDispute } from '../objects/disputes.ts';
import { refundedAmount } from '../objects/refunds.ts';
import type { World } from '../state.ts';
import { flush } from '../webhooks/post-office.ts';

/** What people and banks do to a charge behind the merchant's back. Charges come back as on the wire. */
export interface ChargeOperations {
  charge(id: string): JsonObject;
  charges(): JsonObject[];
  /** The person pays a pending charge. */
  pay(chargeId: string): JsonObject;
  fail(chargeId: string, failureCode?: string): JsonObject;
  expire(chargeId: string): JsonObject;
  /** By a human in the dashboard: of any method, all that is left when no amount is given. */
  refund(chargeId: string, options?: { amount?: number }): JsonObject;
  dispute(chargeId: string, options?: { amount?: number; reason?: string }): JsonObject;
  closeDispute(chargeId: string, status: 'won' | 'lost'): JsonObject;
  /** Makes a charge read back wrongly; returns the charge that does (of `twin`: the second one). */
  mutate(chargeId: string, fault: DataFault): JsonObject;
}

/** One step: what is due expires, then the change, then its events set out. */
export function act<T>(world: World, change: () => T): T {
  expireDue(world);
  try {
    return change();
  } finally {
    flush(world);
  }
}

export function chargeOperations(world: World): ChargeOperations {
  function on(id: string, change: (charge: Charge) => void): JsonObject {
    return act(world, () => {
      const charge = chargeOf(world, id);
      change(charge);
      return chargeJson(world, charge);
    });
  }
  return {
    charge: (id) => on(id, () => {}),
    charges: () => act(world, () => [...world.charges.values()].map((charge) => chargeJson(world, charge))),
    pay: (id) => on(id, (charge) => complete(world, charge, null)),
    fail: (id, code = 'payment_rejected') => on(id, (charge) => complete(world, charge, code)),
    expire: (id) => on(id, (charge) => expireNow(world, charge)),
    refund: (id, { amount } = {}) =>
      on(id, (charge) => refundByHand(world, charge, amount ?? charge.capturedAmount - refundedAmount(charge))),
    dispute: (id, options = {}) => on(id, (charge) => openDispute(world, charge, options)),
    closeDispute: (id, status) => on(id, (charge) => closeDispute(world, charge, status)),
    mutate: (id, fault) => act(world, () => chargeJson(world, mutate(world, chargeOf(world, id), fault))),
  };
}

function expireNow(world: World, charge: Charge): void {
  if (charge.status !== 'pending') throw badRequest('charge is not pending');
  lapse(world, charge, world.clock.now());
}
