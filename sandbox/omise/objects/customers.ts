import { stamp } from '../clock.ts';
import { objectField, textField } from '../http/fields.ts';
import { notFound, refused } from '../http/refusals.ts';
import { type Call, idOf } from '../http/router.ts';
import { newId } from '../ids.ts';
import type { JsonObject } from '../json.ts';
import type { World } from '../state.ts';
import { type Card, cardJson } from './cards.ts';
import { record } from './events.ts';
import { embeddedList, listPage } from './lists.ts';
import { spendToken } from './tokens.ts';

export interface Customer {
  id: string;
  email: string | null;
  description: string | null;
  metadata: JsonObject;
  cards: Card[];
  createdAt: number;
}

/** A customer keeps cards, so that a charge can be made without a new token. */
export function createCustomer(call: Call): JsonObject {
  const { world, input } = call;
  const token = textField(input, 'card');
  const customer: Customer = {
    id: newId(world, 'cust'),
    email: textField(input, 'email'),
    description: textField(input, 'description'),
    metadata: objectField(input, 'metadata') ?? {},
    cards: token === null ? [] : [spendToken(world, token).card],
    createdAt: world.clock.now(),
  };
  world.customers.set(customer.id, customer);
  record(world, 'customer.create', customerJson(world, customer));
  return customerJson(world, customer);
}

export function updateCustomer(call: Call): JsonObject {
  const { world, input } = call;
  const customer = customerOf(world, idOf(call));
  const token = textField(input, 'card');
  if (token !== null) customer.cards.push(spendToken(world, token).card);
  if ('email' in input) customer.email = textField(input, 'email');
  if ('description' in input) customer.description = textField(input, 'description');
  if ('metadata' in input) customer.metadata = objectField(input, 'metadata') ?? {};
  record(world, 'customer.update', customerJson(world, customer));
  return customerJson(world, customer);
}

export function readCustomer(call: Call): JsonObject {
  return customerJson(call.world, customerOf(call.world, idOf(call)));
}

export function listCustomers(call: Call): JsonObject {
  return listPage(call, {
    items: call.world.customers.values(),
    createdAt: (customer) => customer.createdAt,
    json: (customer) => customerJson(call.world, customer),
    location: '/customers',
  });
}

export function customerOf(world: World, id: string): Customer {
  const customer = world.customers.get(id);
  if (customer === undefined) throw notFound('customer', id);
  return customer;
}

/** The named card of a customer, or the first one. */
export function customerCard(customer: Customer, id: string | null): Card {
  const card = id === null ? customer.cards[0] : customer.cards.find((candidate) => candidate.id === id);
  if (card === undefined && id !== null) throw notFound('card', id);
  if (card === undefined) throw refused('missing_card', 'customer has no card');
  return card;
}

export function customerJson(world: World, customer: Customer): JsonObject {
  const location = `/customers/${customer.id}`;
  const cards = customer.cards.map((card) => cardJson(world, card, customer.id));
  return {
    object: 'customer',
    id: customer.id,
    livemode: world.account.livemode,
    location,
    deleted: false,
    default_card: customer.cards[0]?.id ?? null,
    email: customer.email,
    description: customer.description,
    metadata: customer.metadata,
    cards: embeddedList(cards, `${location}/cards`, world.clock.now()),
    linked_account: null,
    created_at: stamp(customer.createdAt),
  };
}
