import { randomBytes } from 'node:crypto';
import {
  flagField,
  objectField,
  requiredInteger,
  requiredText,
  textField,
  textList,
  timeField,
} from '../http/fields.ts';
import { badRequest, refused } from '../http/refusals.ts';
import type { Call } from '../http/router.ts';
import { newId } from '../ids.ts';
import { isObject, type JsonObject } from '../json.ts';
import { customerCard, customerOf } from '../objects/customers.ts';
import { checkAmount, type Source, sourceFrom, sourceOf } from '../objects/sources.ts';
import { spendToken, type Token } from '../objects/tokens.ts';
import { promptpayPayload } from '../promptpay.ts';
import type { World } from '../state.ts';
import { announce } from './announce.ts';
import { type Charge, type Order, openCharge, SOURCE_LIFE_MS } from './charge.ts';
import { chargeJson } from './charge-json.ts';
import { accept, decline } from './outcome.ts';

export function createCharge(call: Call): JsonObject {
  const { world, input } = call;
  const terms = termsFrom(world, input);
  const { token, ...means } = meansFrom(world, input, terms);
  const charge = openCharge(world, { ...terms, ...means, link: null }, textField(terms.metadata, 'attempt_id'));
  if (token !== null) token.charge = charge.id;
  begin(world, charge);
  announce(world, 'charge.create', charge);
  return chargeJson(world, charge);
}

type Terms = Omit<Order, 'card' | 'customer' | 'source' | 'link'>;

function termsFrom(world: World, input: JsonObject): Terms {
  const amount = requiredInteger(input, 'amount');
  const currency = requiredText(input, 'currency').toUpperCase();
  if (!world.account.supported_currencies.includes(currency)) {
    throw refused('invalid_charge', 'currency is currently not supported');
  }
  checkAmount(amount, world.account.charge_amount);
  return {
    amount,
    currency,
    description: textField(input, 'description'),
    metadata: objectField(input, 'metadata') ?? {},
    ip: textField(input, 'ip'),
    capture: flagField(input, 'capture') ?? true,
    authorizationType: authorizationType(input),
    returnUri: returnUriFrom(input),
    webhookEndpoints: endpointsFrom(input),
    expiresAt: lifeFrom(world, input),
  };
}

function authorizationType(input: JsonObject): string | null {
  const type = textField(input, 'authorization_type');
  if (type !== null && type !== 'pre_auth' && type !== 'final_auth') throw badRequest('authorization_type is invalid');
  return type;
}

/** Browsers are sent there, so nothing but a page. */
function returnUriFrom(input: JsonObject): string | null {
  const uri = textField(input, 'return_uri');
  if (uri !== null && !/^https?:$/.test(URL.parse(uri)?.protocol ?? '')) throw badRequest('return_uri is invalid');
  return uri;
}

const MAXIMUM_ENDPOINTS = 2;

/** The vendor wants https; a receiver on this machine is let through, or no test could have one. */
function endpointsFrom(input: JsonObject): string[] {
  const endpoints = textList(input, 'webhook_endpoints');
  if (endpoints.length > MAXIMUM_ENDPOINTS) throw badRequest('webhook_endpoints must not be more than 2');
  for (const endpoint of endpoints) {
    const url = URL.parse(endpoint);
    const local = url?.hostname === '127.0.0.1' || url?.hostname === 'localhost';
    if (url?.protocol !== 'https:' && !(url?.protocol === 'http:' && local)) {
      throw badRequest('webhook_endpoints is invalid');
    }
  }
  return endpoints;
}

function lifeFrom(world: World, input: JsonObject): number | null {
  const expiresAt = timeField(input, 'expires_at');
  if (expiresAt === null) return null;
  const now = world.clock.now();
  if (expiresAt <= now) throw badRequest('expires_at must be in the future');
  if (expiresAt > now + SOURCE_LIFE_MS) throw badRequest('expires_at must be within 24 hours');
  return expiresAt;
}

type Means = Pick<Order, 'card' | 'customer' | 'source'> & { token: Token | null };

const NOTHING: Means = { card: null, customer: null, source: null, token: null };

function meansFrom(world: World, input: JsonObject, terms: Terms): Means {
  const customer = textField(input, 'customer');
  if (input['source'] !== undefined && input['source'] !== null) {
    return { ...NOTHING, source: sourceFor(world, input, terms) };
  }
  if (customer !== null) {
    return { ...NOTHING, customer, card: customerCard(customerOf(world, customer), textField(input, 'card')) };
  }
  const id = textField(input, 'card');
  if (id === null) throw refused('missing_card', 'card or source is required');
  const token = spendToken(world, id);
  return { ...NOTHING, card: token.card, token };
}

function sourceFor(world: World, input: JsonObject, terms: Terms): Source {
  const given = input['source'];
  const { amount, currency } = terms;
  // An inline source may leave out what the charge says already; when it repeats it, it must agree.
  const source = isObject(given)
    ? sourceFrom(world, { amount, currency, ...given })
    : sourceOf(world, requiredText(input, 'source'));
  if (source.amount !== amount) throw badRequest('amount must match source amount');
  if (source.currency !== currency) throw badRequest('currency must match source currency');
  if (source.charge !== null) throw badRequest('source was already used');
  if (!terms.capture) throw badRequest('capture must be true for this source');
  if (source.flow !== 'offline' && terms.returnUri === null) throw badRequest("return_uri can't be blank");
  return source;
}

/** What happens at once: a plain card is decided, everything else waits for the person. */
function begin(world: World, charge: Charge): void {
  const { card, source } = charge;
  if (source?.flow === 'offline') {
    const downloadKey = randomBytes(8).toString('hex').toUpperCase();
    charge.qr = { document: newId(world, 'docu'), downloadKey, payload: promptpayPayload(world.merchant, charge) };
  } else if (source !== null) {
    charge.payment = newId(world, 'pay2');
  } else if (charge.returnUri !== null) {
    charge.payment = newId(world, 'paym');
  } else if (card !== null && card.declines !== null) {
    decline(charge, card.declines);
  } else {
    accept(world, charge);
  }
}
