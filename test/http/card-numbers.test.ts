import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isCardNumber } from '../../src/platform/http/body.ts';
import { type Json, PASSWORD } from '../harness/client.ts';
import { expectProblem } from '../harness/problems.ts';
import { openWorld, type World } from './world.ts';

let world: World;
const lines: string[] = [];
beforeAll(async () => {
  world = await openWorld({ log: { write: (line) => lines.push(line) } });
});
afterAll(() => world.stop());

/** Published test numbers of each brand. */
const cards = {
  visa: '4242424242424242',
  'visa of 13': '4222222222222',
  'visa of 19': '4111111111111111110',
  mastercard: '5555555555554444',
  'mastercard, series 2': '2223003122003222',
  amex: '378282246310005',
  discover: '6011111111111117',
  jcb: '3530111333300000',
  diners: '30569309025904',
  unionpay: '6200000000000005',
};

const runs = () => `/v1/workflows/${world.workflow.id}/runs`;
const start = (input: Json) => world.owner.post(runs(), { input });
const refusedAt = async (input: Json, pointer: string) => {
  const reply = await start(input);
  const body = expectProblem(reply, 'card_number_refused');
  expect(body.errors).toEqual([{ pointer, code: 'card_number_refused', detail: 'looks like a card number' }]);
  return reply.text;
};

// REQ E2.3 E6.1
describe('a card number is refused', () => {
  test.each(Object.entries(cards))(
    'of the brand %s: as a text, with spaces, with dashes, as a number',
    async (_n, card) => {
      const spelled = [card, card.replace(/(\d{4})(?=\d)/g, '$1 '), card.replace(/(\d{4})(?=\d)/g, '$1-')];
      for (const value of spelled) expect(await refusedAt({ note: value }, '/input/note')).not.toContain(value);
      if (Number.isSafeInteger(Number(card))) await refusedAt({ note: Number(card) }, '/input/note');
    },
  );

  test('anywhere: deep inside, in a list, as a name, beside the fields that are known', async () => {
    const card = cards.visa;
    await refusedAt({ a: [{ b: { c: [1, 'x', card] } }] }, '/input/a/0/b/c/2');
    await refusedAt({ [card]: 1 }, '/input');
    await refusedAt({ a: { '4242 4242 4242 4242': {} } }, '/input/a');
    await refusedAt([card], '/input/0');
    const { owner, pack, service } = world;
    const method = { type: 'card', token: card };
    const elsewhere = [
      await owner.post('/v1/purchases', { package_id: pack.id, method }),
      await owner.post('/v1/purchases', { package_id: pack.id, method: { type: 'card', number: card, cvc: '123' } }),
      await owner.post('/v1/purchases', { package_id: pack.id, method: { type: 'promptpay' }, card }),
      await owner.post('/v1/workflows', { service_id: service.id, name: card }),
      await owner.post('/v1/workflows', { service_id: service.id, name: 'x', input_defaults: { pan: card } }),
      await owner.post('/v1/api-keys', { name: card, scopes: ['read'] }),
      await owner.call('POST', '/v1/auth/login', { body: { email: 'a@example.com', password: card } }),
      await owner.call('PATCH', '/v1/me', { body: { email: 'b@example.com', current_password: PASSWORD, note: card } }),
      await world.operator.post('/v1/admin/packages', { name: 'x', description: card, credits: 1, price: 1 }),
    ];
    for (const reply of elsewhere) {
      expectProblem(reply, 'card_number_refused');
      expect(reply.text).not.toContain(card);
    }
  });

  test('of an executor that reports it', async () => {
    const { run, callback } = await world.startRun();
    const report = (what: string, body: Json) =>
      world.owner.call('POST', `/v1/executor/runs/${run.id}/${what}`, { token: callback, body });
    expectProblem(await report('progress', { percent: 1, message: cards.visa }), 'card_number_refused');
    expectProblem(await report('parts', { part: 1, content: { pan: cards.amex } }), 'card_number_refused');
    expectProblem(await report('complete', { output: [Number(cards.visa)] }), 'card_number_refused');
  });
});

test('and is neither stored nor logged', async () => {
  const root = postgres(world.farebox.database.superuserUrl, { max: 1 });
  const tables = await root`
    select format('%I.%I', table_schema, table_name) as name from information_schema.tables
    where table_schema in ('identity', 'credits', 'payments', 'workflows', 'refunds', 'platform') and table_type = 'BASE TABLE'`;
  for (const { name } of tables) {
    const rows = await root.unsafe(`select t::text as line from ${name} t`);
    for (const { line } of rows) {
      for (const card of Object.values(cards)) expect(line, name).not.toContain(card);
    }
  }
  await root.end();
  for (const card of Object.values(cards)) expect(lines.join('\n')).not.toContain(card);
});

test.each([
  ['a wrong check digit', '4242424242424241'],
  ['no known brand', '9999999999999995'],
  ['too few digits', '424242424242'],
  ['too many digits', '42424242424242424242'],
  ['letters in it', '4242x42424242424'],
  ['a dot in it', '4242424242.42424'],
  ['a phone number', '+66 81 234 5678'],
  ['a sentence', 'call 4242424242424242 today'],
  ['milliseconds of time', 1_763_790_000_000],
])('what only resembles one is taken: %s', async (_name, value) => {
  expect((await start({ note: value })).status).toBe(202);
});

test('fields of amounts, ids, hashes and addresses hold long numbers by nature, and are let be', async () => {
  const fields = ['amount', 'tax_amount', 'credits', 'price', 'id', 'order_id', 'ids', 'hash', 'tx_hash', 'address'];
  for (const field of [...fields, 'signature', 'nonce', 'idempotency_key', 't_s', 't_ms', 'd_us']) {
    expect((await start({ [field]: cards.visa })).status, field).toBe(202);
    expect((await start({ [field]: [Number(cards.visa)] })).status, field).toBe(202);
  }
  for (const field of ['paid', 'idle', 'amounts_due', 'myid', 'card', 'pan', 'number', 'at_ms', 't_m']) {
    expect((await start({ [field]: cards.visa })).status, field).toBe(422);
  }
});

test('random numbers in those fields pass, always; elsewhere hardly one in a hundred is taken for a card', async () => {
  let seed = 42; // a run that can be repeated
  const digit = () => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    return Math.floor((seed / 2 ** 31) * 10);
  };
  const numbers = Array.from({ length: 2_000 }, () => {
    const length = 13 + (digit() % 7);
    return Array.from({ length }, digit).join('').replace(/^0/, '1');
  });
  const taken = numbers.filter(isCardNumber).length;
  expect(taken / numbers.length).toBeLessThan(0.03);
  expect(taken, 'and some are: the exception is needed').toBeGreaterThan(0);
  const input = { ids: numbers, entries: numbers.map((amount) => ({ amount })).slice(0, 400) };
  expect((await start(input)).status).toBe(202);
});
