import { record } from '../objects/events.ts';
import type { World } from '../state.ts';
import type { Charge } from './charge.ts';
import { chargeJson } from './charge-json.ts';

/** Notes an event that carries the charge as it is now. */
export function announce(world: World, key: string, charge: Charge): void {
  record(world, key, chargeJson(world, charge), { charge: charge.id, endpoints: charge.webhookEndpoints });
}
