import { stamp } from '../clock.ts';
import { objectField } from '../http/fields.ts';
import { notFound, refused } from '../http/refusals.ts';
import { type Call, idOf } from '../http/router.ts';
import { newId } from '../ids.ts';
import type { JsonObject } from '../json.ts';
import type { World } from '../state.ts';
import { type Card, cardFrom, cardJson } from './cards.ts';

export interface Token {
  id: string;
  card: Card;
  used: boolean;
  /** The charge made of it, for `charge_status`. */
  charge: string | null;
  createdAt: number;
}

export function createToken(call: Call): JsonObject {
  const { world, input } = call;
  const details = objectField(input, 'card');
  if (details === null) throw refused('missing_card', "card can't be blank");
  const token: Token = {
    id: newId(world, 'tokn'),
    card: cardFrom(world, details),
    used: false,
    charge: null,
    createdAt: world.clock.now(),
  };
  world.tokens.set(token.id, token);
  return tokenJson(world, token);
}

export function readToken(call: Call): JsonObject {
  return tokenJson(call.world, tokenOf(call.world, idOf(call)));
}

/** A token is good for one charge or one customer; a second use fails, whatever became of the first. */
export function spendToken(world: World, id: string): Token {
  const token = tokenOf(world, id);
  if (token.used) throw refused('used_token', 'token was already used');
  token.used = true;
  return token;
}

function tokenOf(world: World, id: string): Token {
  const token = world.tokens.get(id);
  if (token === undefined) throw notFound('token', id);
  return token;
}

function tokenJson(world: World, token: Token): JsonObject {
  const charge = token.charge === null ? undefined : world.charges.get(token.charge);
  return {
    object: 'token',
    id: token.id,
    livemode: world.account.livemode,
    location: `${world.url}/tokens/${token.id}`,
    used: token.used,
    charge_status: charge?.status ?? 'unknown',
    card: cardJson(world, token.card, null),
    created_at: stamp(token.createdAt),
  };
}
