import type { Charge } from '../charges/charge.ts';
import { chargeJson } from '../charges/charge-json.ts';
import { integerField, objectField, textField } from '../http/fields.ts';
import { refused } from '../http/refusals.ts';
import type { Call } from '../http/router.ts';
import type { Json, JsonObject } from '../json.ts';
import type { World } from '../state.ts';
import { orderOf } from './lists.ts';
import { refundedAmount, refundJson } from './refunds.ts';

const PER_PAGE = 30;
const MAXIMUM_PER_PAGE = 100;

/** `GET /search?scope=charge&query=…&filters[captured]=true&page=1`. */
export function search(call: Call): JsonObject {
  const { world, query } = call;
  const scope = textField(query, 'scope') ?? '';
  const filters = objectField(query, 'filters') ?? {};
  const order = orderOf(query, 'reverse_chronological');
  const perPage = Math.min(integerField(query, 'per_page') ?? PER_PAGE, MAXIMUM_PER_PAGE);
  const page = integerField(query, 'page') ?? 1;
  if (page < 1 || perPage < 1) throw refused('invalid_page', 'page is invalid');
  const words = textField(query, 'query') ?? '';
  const found = hits(world, scope, words, filters);
  if (order === 'reverse_chronological') found.reverse();
  return {
    object: 'search',
    data: found.slice((page - 1) * perPage, page * perPage),
    export: null,
    page,
    per_page: perPage,
    total: found.length,
    total_pages: Math.ceil(found.length / perPage),
    filters,
    location: '/search',
    order,
    query: words,
    scope,
    aggregate_level: null,
  };
}

function hits(world: World, scope: string, words: string, filters: JsonObject): JsonObject[] {
  const charges = [...world.charges.values()];
  if (scope === 'charge') {
    return charges
      .filter((charge) => speaksOf(charge, words) && passes(CHARGE_FILTERS, charge, filters))
      .map((charge) => chargeJson(world, charge));
  }
  if (scope === 'refund') {
    return charges.flatMap((charge) => charge.refunds.map((refund) => refundJson(world, charge, refund)));
  }
  throw refused('invalid_scope', 'scope is invalid');
}

function speaksOf(charge: Charge, words: string): boolean {
  const text = [charge.id, charge.description ?? '', JSON.stringify(charge.metadata)].join(' ').toLowerCase();
  return words
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}

type Filter = (charge: Charge) => Json;

/** Amounts are in main units here (500.00), unlike everywhere else in the API. */
const CHARGE_FILTERS: Record<string, Filter> = {
  amount: (charge) => mainUnits(charge.amount, charge.currency),
  authorized: (charge) => charge.authorizedAt !== null,
  captured: (charge) => charge.status === 'successful',
  card_last_digits: (charge) => charge.card?.lastDigits ?? null,
  currency: (charge) => charge.currency,
  failure_code: (charge) => charge.failureCode,
  link_id: (charge) => charge.link,
  refunded: (charge) => refundedAmount(charge) > 0,
  reversed: (charge) => charge.status === 'reversed',
  source_of_fund: (charge) => charge.source?.type ?? 'card',
  status: (charge) => charge.status,
  voided: (charge) => charge.voided,
};

function passes(known: Record<string, Filter>, charge: Charge, filters: JsonObject): boolean {
  return Object.entries(filters).every(([name, wanted]) => {
    const value = known[name];
    if (value === undefined) throw refused('invalid_filters', `filter ${name} is invalid`);
    const actual = value(charge);
    if (typeof actual === 'number') return actual === Number(wanted);
    return String(actual).toLowerCase() === String(wanted).toLowerCase();
  });
}

function mainUnits(amount: number, currency: string): number {
  return currency === 'JPY' ? amount : amount / 100;
}
