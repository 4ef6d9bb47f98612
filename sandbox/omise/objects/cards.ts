import { createHash } from 'node:crypto';
import { stamp } from '../clock.ts';
import { integerField, textField } from '../http/fields.ts';
import { refused } from '../http/refusals.ts';
import { newId } from '../ids.ts';
import type { JsonObject } from '../json.ts';
import type { World } from '../state.ts';

/** A card without its number: that is forgotten as soon as what it does is known. */
export interface Card {
  id: string;
  brand: string;
  lastDigits: string;
  fingerprint: string;
  name: string;
  month: number;
  year: number;
  city: string | null;
  postalCode: string | null;
  email: string | null;
  phoneNumber: string | null;
  createdAt: number;
  /** What a charge of it fails with, or null. */
  declines: string | null;
  /** Fails at the bank's 3-D Secure page, whatever the person does there. */
  failsChallenge: boolean;
}

/** The vendor's test numbers (docs.omise.co/api-testing); every other number that passes Luhn succeeds. */
const DECLINED: Record<string, string> = {
  '4111111111140011': 'insufficient_fund',
  '5555551111110011': 'insufficient_fund',
  '3530111111190011': 'insufficient_fund',
  '6250947000000014': 'insufficient_fund',
  '4111111111130012': 'stolen_or_lost_card',
  '5555551111100012': 'stolen_or_lost_card',
  '3530111111180012': 'stolen_or_lost_card',
  '4111111111120013': 'failed_processing',
  '5555551111190013': 'failed_processing',
  '3530111111170013': 'failed_processing',
  '4111111111110014': 'payment_rejected',
  '5555551111180014': 'payment_rejected',
  '3530111111160014': 'payment_rejected',
  '4111111111190016': 'failed_fraud_check',
  '5555551111160016': 'failed_fraud_check',
  '3530111111140016': 'failed_fraud_check',
  '4111111111180017': 'invalid_account_number',
  '5555551111150017': 'invalid_account_number',
  '3530111111130017': 'invalid_account_number',
};

/** Numbers whose 3-D Secure enrolment (…0002) or validation (…0003) fails. */
const CHALLENGE_FAILS = new Set([
  '4111111111150002',
  '5555551111120002',
  '3530111111100002',
  '4111111111140003',
  '5555551111110003',
  '3530111111190003',
]);

export const CHALLENGE_FAILURE = 'payment_rejected';

const BRANDS: [RegExp, string][] = [
  [/^4/, 'Visa'],
  [/^5[1-5]/, 'MasterCard'],
  [/^35/, 'JCB'],
  [/^3[47]/, 'American Express'],
  [/^3[068]/, 'Diners Club'],
  [/^62/, 'UnionPay'],
  [/^6/, 'Discover'],
];

export function cardFrom(world: World, input: JsonObject): Card {
  const number = (textField(input, 'number') ?? '').replaceAll(/[\s-]/g, '');
  const brand = BRANDS.find(([prefix]) => prefix.test(number))?.[1];
  if (!passesLuhn(number)) throw refused('invalid_card', 'number is invalid');
  if (brand === undefined) throw refused('invalid_card', 'brand not supported (unknown)');
  return {
    id: newId(world, 'card'),
    brand,
    lastDigits: number.slice(-4),
    fingerprint: createHash('sha256').update(number).digest('base64'),
    ...holder(input),
    ...expiry(world, input),
    createdAt: world.clock.now(),
    declines: DECLINED[number] ?? null,
    failsChallenge: CHALLENGE_FAILS.has(number),
  };
}

function holder(input: JsonObject) {
  const name = textField(input, 'name');
  if (name === null) throw refused('invalid_card', "name can't be blank");
  return {
    name,
    city: textField(input, 'city'),
    postalCode: textField(input, 'postal_code'),
    email: textField(input, 'email'),
    phoneNumber: textField(input, 'phone_number'),
  };
}

function expiry(world: World, input: JsonObject) {
  const month = integerField(input, 'expiration_month') ?? 0;
  const given = integerField(input, 'expiration_year') ?? 0;
  const year = given < 100 ? given + 2000 : given;
  if (month < 1 || month > 12) throw refused('invalid_card', 'expiration month is invalid');
  // A card is good to the end of its month.
  if (Date.UTC(year, month, 1) <= world.clock.now()) {
    throw refused('invalid_card', 'expiration date cannot be in the past');
  }
  return { month, year };
}

function passesLuhn(number: string): boolean {
  if (!/^\d{12,19}$/.test(number)) return false;
  let sum = 0;
  for (const [index, digit] of [...number].reverse().entries()) {
    const value = Number(digit) * (index % 2 === 1 ? 2 : 1);
    sum += value > 9 ? value - 9 : value;
  }
  return sum % 10 === 0;
}

export function cardJson(world: World, card: Card, customer: string | null): JsonObject {
  return {
    object: 'card',
    id: card.id,
    livemode: world.account.livemode,
    location: customer === null ? null : `/customers/${customer}/cards/${card.id}`,
    deleted: false,
    street1: null,
    street2: null,
    city: card.city,
    state: null,
    phone_number: card.phoneNumber,
    postal_code: card.postalCode,
    country: '',
    financing: '',
    bank: '',
    brand: card.brand,
    fingerprint: card.fingerprint,
    first_digits: null,
    last_digits: card.lastDigits,
    name: card.name,
    expiration_month: card.month,
    expiration_year: card.year,
    security_code_check: true,
    tokenization_method: null,
    created_at: stamp(card.createdAt),
  };
}
