import type { WebhookFault } from '../faults/rules.ts';
import { newId } from '../ids.ts';
import { isObject, type JsonObject } from '../json.ts';
import { type EventRecord, eventBody } from '../objects/events.ts';
import type { World } from '../state.ts';

/** One delivery of an event that is to be made, with what faults have done to it. */
export interface Letter {
  event: EventRecord;
  body: JsonObject;
  delayMs: number;
  /** Waits until a later letter has arrived. */
  heldBack: boolean;
  beforeAnswer: boolean;
  ageS: number;
  seal: 'valid' | 'corrupt' | 'none';
}

/** The deliveries of an event: one, unless a fault rule says otherwise. */
export function lettersFor(world: World, event: EventRecord): Letter[] {
  let letters = [plainLetter(event)];
  for (const rule of world.faults.forEvent(event.key, event.charge)) letters = applied(world, rule, letters);
  return letters;
}

export function plainLetter(event: EventRecord): Letter {
  const body = structuredClone(eventBody(event));
  return { event, body, delayMs: 0, heldBack: false, beforeAnswer: false, ageS: 0, seal: 'valid' };
}

function applied(world: World, rule: WebhookFault, letters: Letter[]): Letter[] {
  if (rule.webhook === 'drop') return [];
  if (rule.webhook === 'duplicate') {
    return letters.flatMap((letter) => Array.from({ length: rule.deliveries ?? 2 }, () => ({ ...letter })));
  }
  const spoiled = letters.map((letter) => spoil(world, rule, letter));
  return rule.extra === true ? [...letters, ...spoiled] : spoiled;
}

const DAY_S = 86_400;
const HUGE_BYTES = 1_048_576;

type SpoilingRule = Exclude<WebhookFault, { webhook: 'drop' | 'duplicate' }>;

function spoil(world: World, rule: SpoilingRule, letter: Letter): Letter {
  const { body } = letter;
  switch (rule.webhook) {
    case 'delay':
      return { ...letter, delayMs: letter.delayMs + rule.ms };
    case 'reorder':
      return { ...letter, heldBack: true };
    case 'before_answer':
      return { ...letter, beforeAnswer: true };
    case 'old_timestamp':
      return { ...letter, ageS: rule.age_s ?? DAY_S };
    case 'corrupt_signature':
      return { ...letter, seal: 'corrupt' };
    case 'unsigned':
      return { ...letter, seal: 'none' };
    case 'unknown_key':
      return { ...letter, body: { ...body, key: rule.sent_key ?? 'charge.teleport' } };
    case 'huge_body':
      return { ...letter, body: { ...body, padding: 'x'.repeat(rule.bytes ?? HUGE_BYTES) } };
    case 'tampered_amount':
      return { ...letter, body: withData(body, { amount: rule.amount ?? amountIn(body) * 100 }) };
    case 'foreign_charge':
      return { ...letter, body: aboutAnother(world, body, rule.sent_charge) };
    case 'livemode_flip':
      return {
        ...letter,
        body: withData({ ...body, livemode: !letter.event.livemode }, { livemode: !letter.event.livemode }),
      };
  }
}

function withData(body: JsonObject, change: JsonObject): JsonObject {
  const data = body['data'];
  return { ...body, data: { ...(isObject(data) ? data : {}), ...change } };
}

function amountIn(body: JsonObject): number {
  const data = body['data'];
  return isObject(data) && typeof data['amount'] === 'number' ? data['amount'] : 0;
}

/** Neither the event nor the charge can be read back with this account's key. */
function aboutAnother(world: World, body: JsonObject, chargeId: string | undefined): JsonObject {
  const id = newId(world, 'evnt');
  const charge = chargeId ?? newId(world, 'chrg');
  return withData({ ...body, id, location: `/events/${id}` }, { id: charge, location: `/charges/${charge}` });
}
