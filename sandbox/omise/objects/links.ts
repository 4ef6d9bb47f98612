import { type Charge, openCharge } from '../charges/charge.ts';
import { chargeJson } from '../charges/charge-json.ts';
import { stamp, stampOrNull } from '../clock.ts';
import { flagField, requiredInteger, requiredText, textField } from '../http/fields.ts';
import { badRequest, notFound, refused } from '../http/refusals.ts';
import { type Call, idOf } from '../http/router.ts';
import { newId } from '../ids.ts';
import type { JsonObject } from '../json.ts';
import type { World } from '../state.ts';
import { record } from './events.ts';
import { embeddedList, listPage } from './lists.ts';
import { checkAmount, sourceFrom } from './sources.ts';

/** A payment page for anybody who has its address. */
export interface Link {
  id: string;
  amount: number;
  currency: string;
  title: string;
  description: string;
  multiple: boolean;
  createdAt: number;
  usedAt: number | null;
  deletedAt: number | null;
}

export function createLink(call: Call): JsonObject {
  const { world, input } = call;
  const amount = requiredInteger(input, 'amount');
  const currency = requiredText(input, 'currency').toUpperCase();
  if (currency !== world.account.currency) throw refused('invalid_link', 'currency is not supported');
  checkAmount(amount, world.account.charge_amount);
  const link: Link = {
    id: newId(world, 'link'),
    amount,
    currency,
    title: requiredText(input, 'title'),
    description: textField(input, 'description') ?? '',
    multiple: flagField(input, 'multiple') ?? false,
    createdAt: world.clock.now(),
    usedAt: null,
    deletedAt: null,
  };
  world.links.set(link.id, link);
  record(world, 'link.create', linkJson(world, link));
  return linkJson(world, link);
}

export function listLinks(call: Call): JsonObject {
  return listPage(call, {
    items: call.world.links.values(),
    createdAt: (link) => link.createdAt,
    json: (link) => linkJson(call.world, link),
    location: '/links',
  });
}

export function readLink(call: Call): JsonObject {
  return linkJson(call.world, linkOf(call.world, idOf(call)));
}

export function deleteLink(call: Call): JsonObject {
  const link = linkOf(call.world, idOf(call));
  link.deletedAt ??= call.world.clock.now();
  return linkJson(call.world, link);
}

/** Somebody opens the link and pays: a charge without any metadata of the merchant, which is why links are a trap. */
export function chargeOfLink(world: World, link: Link): Charge {
  if (!isPayable(link)) throw badRequest('link is already used or deleted');
  const { amount, currency } = link;
  return openCharge(world, {
    amount,
    currency,
    description: link.description,
    metadata: {},
    ip: null,
    capture: true,
    authorizationType: null,
    card: null,
    customer: null,
    source: sourceFrom(world, { type: 'promptpay', amount, currency }),
    link: link.id,
    returnUri: null,
    webhookEndpoints: [],
    expiresAt: null,
  });
}

export function isPayable(link: Link): boolean {
  return link.deletedAt === null && (link.multiple || link.usedAt === null);
}

function linkOf(world: World, id: string): Link {
  const link = world.links.get(id);
  if (link === undefined) throw notFound('link', id);
  return link;
}

export function linkJson(world: World, link: Link): JsonObject {
  const location = `/links/${link.id}`;
  const charges = [...world.charges.values()].filter((charge) => charge.link === link.id);
  const data = charges.map((charge) => chargeJson(world, charge));
  return {
    object: 'link',
    id: link.id,
    livemode: world.account.livemode,
    location,
    deleted: link.deletedAt !== null,
    multiple: link.multiple,
    used: link.usedAt !== null,
    currency: link.currency,
    amount: link.amount,
    charges: embeddedList(data, `${location}/charges`, world.clock.now()),
    description: link.description,
    title: link.title,
    payment_uri: `${world.url}/pay/${link.id}`,
    created_at: stamp(link.createdAt),
    used_at: stampOrNull(link.usedAt),
    deleted_at: stampOrNull(link.deletedAt),
  };
}
