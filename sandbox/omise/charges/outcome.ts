import { book } from '../objects/transactions.ts';
import type { World } from '../state.ts';
import { announce } from './announce.ts';
import { type Charge, requireAwaiting } from './charge.ts';
import { feeOf } from './charge-json.ts';

/** The bank agrees: the money is taken, or only reserved when the merchant wants to capture it later. */
export function accept(world: World, charge: Charge): void {
  charge.authorizedAt = world.clock.now();
  if (charge.capture) take(world, charge, charge.amount);
}

/** Takes money; `amount` stays as it is when less is taken. */
export function take(world: World, charge: Charge, amount: number): void {
  charge.status = 'successful';
  charge.capturedAmount = amount;
  charge.paidAt = world.clock.now();
  charge.authorizedAt ??= charge.paidAt;
  const { fee, vat } = feeOf(charge, amount);
  const { currency, id: origin } = charge;
  const net = {
    currency,
    amount: amount - fee - vat,
    direction: 'credit' as const,
    key: 'charge.captured.net',
    origin,
  };
  charge.transaction = book(world, net).id;
  const link = charge.link === null ? undefined : world.links.get(charge.link);
  if (link !== undefined) link.usedAt ??= charge.paidAt;
}

export function decline(charge: Charge, failureCode: string): void {
  charge.status = 'failed';
  charge.failureCode = failureCode;
}

/** The person has paid a pending charge, or has not (`failureCode`): the end of every flow that is not immediate. */
export function complete(world: World, charge: Charge, failureCode: string | null): void {
  requireAwaiting(charge);
  if (failureCode === null) accept(world, charge);
  else decline(charge, failureCode);
  announce(world, 'charge.complete', charge);
}

/** Ends a pending charge before or at its time. */
export function lapse(world: World, charge: Charge, at: number): void {
  charge.status = 'expired';
  charge.expiredAt = at;
  announce(world, 'charge.expire', charge);
}

/** Called before every reading: nothing runs in the background, and a moved clock shows at once. */
export function expireDue(world: World): void {
  const now = world.clock.now();
  for (const charge of world.open) {
    if (charge.status !== 'pending') world.open.delete(charge);
    else if (now >= charge.expiresAt) lapse(world, charge, charge.expiresAt);
  }
}
