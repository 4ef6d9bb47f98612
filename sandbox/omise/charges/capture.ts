import { integerField } from '../http/fields.ts';
import { badRequest, refused } from '../http/refusals.ts';
import { type Call, idOf } from '../http/router.ts';
import type { JsonObject } from '../json.ts';
import { announce } from './announce.ts';
import { type Charge, chargeOf } from './charge.ts';
import { chargeJson } from './charge-json.ts';
import { complete, lapse, take } from './outcome.ts';

/** Takes the money that a charge with `capture: false` has reserved; less than its amount leaves the rest unpaid. */
export function captureCharge(call: Call): JsonObject {
  const { world } = call;
  const charge = chargeOf(world, idOf(call));
  requireHeld(charge, 'failed_capture', 'charge was not authorized or is already captured');
  const amount = integerField(call.input, 'capture_amount') ?? charge.amount;
  if (amount < 1 || amount > charge.amount) throw refused('failed_capture', 'capture amount is invalid');
  if (amount < charge.amount) charge.authorizationType ??= 'pre_auth';
  take(world, charge, amount);
  announce(world, 'charge.capture', charge);
  return chargeJson(world, charge);
}

/** Gives the reserved money back. */
export function reverseCharge(call: Call): JsonObject {
  const { world } = call;
  const charge = chargeOf(world, idOf(call));
  requireHeld(charge, 'failed_void', 'charge cannot be reversed');
  charge.status = 'reversed';
  charge.reversedAt = world.clock.now();
  announce(world, 'charge.reverse', charge);
  return chargeJson(world, charge);
}

function requireHeld(charge: Charge, code: string, message: string): void {
  if (charge.status === 'expired') throw refused('expired_charge', 'charge expired');
  if (charge.status !== 'pending' || charge.authorizedAt === null) throw refused(code, message);
}

export function expireCharge(call: Call): JsonObject {
  const { world } = call;
  const charge = chargeOf(world, idOf(call));
  if (charge.status !== 'pending') throw refused('failed_expire', 'charge cannot be expired');
  lapse(world, charge, world.clock.now());
  return chargeJson(world, charge);
}

export function markAsPaid(call: Call): JsonObject {
  return markAs(call, null);
}

export function markAsFailed(call: Call): JsonObject {
  return markAs(call, 'failed_processing');
}

/** What the test dashboard's buttons do; live money cannot be declared. */
function markAs(call: Call, failureCode: string | null): JsonObject {
  const { world } = call;
  const charge = chargeOf(world, idOf(call));
  if (world.account.livemode) throw badRequest('only test charges can be marked');
  complete(world, charge, failureCode);
  return chargeJson(world, charge);
}
