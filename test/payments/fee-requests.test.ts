import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { evaluate, usualOptions } from '../../src/payments/fees/evaluate.ts';
import { KeysIn } from '../../src/payments/fees/keys.ts';
import { renderEvaluation } from '../../src/payments/fees/wire.ts';
import { type Client, type Json, newCustomer } from '../harness/client.ts';
import { fareboxForFile, fareboxForTest, type TestFarebox } from '../harness/farebox.ts';
import { expectFieldProblem, expectProblem } from '../harness/problems.ts';
import { DEMO, euro, IN_TIME, kudos, modern, old, older, template } from './fee-structures.ts';

/** Fee structures over HTTP. */

let farebox: TestFarebox;
let customer: Client;
beforeAll(async () => {
  farebox = await fareboxForFile();
  customer = await newCustomer(farebox);
});
afterAll(() => farebox.stop());

const PATH = '/v1/fee-structures/evaluate';
const at = new Date(IN_TIME).toISOString();
const ask = (body: unknown) => customer.post(PATH, body);
const evaluated = (keys: Json, more: Json = {}): Promise<Json> =>
  customer.ok('POST', PATH, { body: { keys, at, ...more } });

// REQ X1 X2 X3 X4 X5 X6 X7 X8 X9 X10
test.each(Object.entries({ kudos, euro, template }))(
  'the figures are those of the pure functions, in every spelling of the document: %s',
  async (_name, tariff) => {
    const figures = evaluate(KeysIn.parse(modern(tariff)), usualOptions(IN_TIME));
    if (typeof figures === 'string') throw new Error(figures);
    const wanted = renderEvaluation(figures);
    for (const keys of [modern(tariff), old(tariff), older(tariff)]) expect(await evaluated(keys)).toEqual(wanted);
  },
);

test('ten KUDOS, as they go over the wire', async () => {
  const { denominations, ...whole } = await evaluated(modern(kudos));
  expect(denominations[1]).toMatchObject({
    value: 'KUDOS:10',
    direct: { cost: 'KUDOS:0.02', percent: '0.2' },
    change: { cost: 'KUDOS:0.13', percent: '1.3', cost_to_the_end: 'KUDOS:0.32', percent_to_the_end: '3.2' },
    upkeep: { percent_per_year: '0.8' },
  });
  expect(whole).toMatchObject({ object: 'fee_evaluation', currency: 'KUDOS', at, current: true });
});

test('each option has its effect', async () => {
  const ten = ({ denominations }: Json) => denominations.find((one: Json) => one.value === 'KUDOS:10');
  expect(ten(await evaluated(modern(kudos), { change_into: 'next' })).change.coins).toBe('1');
  expect(ten(await evaluated(modern(kudos), { elsewhere: 'KUDOS:0.2' })).refund.fair_with_refresh).toBe(true);
  expect((await evaluated(modern(kudos), { coins: 2 })).structure.spending.most).toBe('KUDOS:2000');
  expect((await evaluated(modern(kudos), { withdraw: 'KUDOS:20' })).structure.payments.withdrawn).toBe('KUDOS:20');
  const now = await customer.ok('POST', PATH, { body: { keys: modern(kudos) } });
  expect(now.current, 'and without a time it is now').toBe(false);
});

test('what an exchange adds to its document does not matter, and nor do long numbers in its times', async () => {
  const keys = modern(kudos, [{ ...DEMO, legal: 4_000_000_000 }], { new_in_2031: { deep: [[{ er: null }]] } });
  keys.denominations[0].denoms[0].stamp_expire_legal = { t_ms: 4_222_222_222_222 }; // would be a card number elsewhere
  expect((await evaluated(keys)).denominations).toHaveLength(6);
});

describe('what is wrong is a 422 that points to it', () => {
  type Spoil = (keys: Json) => unknown;
  const first = ({ denominations }: Json) => denominations[0];
  const key = (keys: Json) => first(keys).denoms[0];
  const wire = (more: object) => (keys: Json) => {
    keys.wire_fees = {
      iban: [
        {
          ...{ wire_fee: 'KUDOS:0.1', closing_fee: 'KUDOS:0.1', start_date: { t_s: 1 }, end_date: { t_s: 2 } },
          ...more,
        },
      ],
    };
  };
  const value =
    (text: unknown): Spoil =>
    (keys) => {
      first(keys).value = text;
    };
  const start =
    (time: unknown): Spoil =>
    (keys) => {
      key(keys).stamp_start = time;
    };
  test.each<[string, Spoil, string]>([
    ['no denominations', (keys) => delete keys.denominations, ''],
    ['both spellings', (keys) => Object.assign(keys, { denoms: [] }), ''],
    ['an empty list', (keys) => keys.denominations.splice(0), ''],
    ['empty groups', (keys) => keys.denominations.map((one: Json) => one.denoms.splice(0)), ''],
    [
      'only lost keys',
      (keys) => keys.denominations.map((one: Json) => Object.assign(one.denoms[0], { lost: true })),
      '',
    ],
    ['a list that is none', (keys) => Object.assign(keys, { denominations: { 0: {} } }), '/denominations'],
    ['a group that is none', (keys) => Object.assign(keys.denominations, { 2: 7 }), '/denominations/2'],
    ['a value of nothing', value('KUDOS:0'), '/denominations/0/value'],
    ['a value below nothing', value('KUDOS:-1'), '/denominations/0/value'],
    ['a value without currency', value('10'), '/denominations/0/value'],
    ['a value as a number', value(10), '/denominations/0/value'],
    ['nine decimals', value('KUDOS:0.123456789'), '/denominations/0/value'],
    ['a decimal comma', value('KUDOS:1,5'), '/denominations/0/value'],
    ['an exponent', value('KUDOS:1e3'), '/denominations/0/value'],
    ['digits of another script', value('KUDOS:١'), '/denominations/0/value'],
    ['more than 2^52', value('KUDOS:4503599627370497'), '/denominations/0/value'],
    ['more digits than any number', value(`KUDOS:${'9'.repeat(5_000)}`), '/denominations/0/value'],
    ['another currency', value('EUR:10'), '/denominations/0/value'],
    ['another currency in a fee', (keys) => (first(keys).fee_refund = 'EUR:0.01'), '/denominations/0/fee_refund'],
    ['a currency that is none', (keys) => (keys.currency = 'A B'), '/currency'],
    ['no fee', (keys) => delete first(keys).fee_deposit, '/denominations/0/fee_deposit'],
    ['no time', (keys) => delete key(keys).stamp_start, '/denominations/0/denoms/0/stamp_start'],
    ['null for a time', start(null), '/denominations/0/denoms/0/stamp_start'],
    ['a bare number', start(1_585_229_388), '/denominations/0/denoms/0/stamp_start'],
    ['an ISO time', start('2020-03-26T13:29:48Z'), '/denominations/0/denoms/0/stamp_start'],
    ['a broken second', start({ t_s: 1.5 }), '/denominations/0/denoms/0/stamp_start'],
    ['a second before 1970', start({ t_s: -1 }), '/denominations/0/denoms/0/stamp_start'],
    ['a second as text', start({ t_s: '1' }), '/denominations/0/denoms/0/stamp_start'],
    ['seconds beyond the year 9999', start({ t_s: 253_402_300_800 }), '/denominations/0/denoms/0/stamp_start'],
    ['two units', start({ t_s: 1, t_ms: 1000 }), '/denominations/0/denoms/0/stamp_start'],
    ['a unit that is none', start({ t_us: 1 }), '/denominations/0/denoms/0/stamp_start'],
    ['a start that never comes', start({ t_s: 'never' }), '/denominations/0/denoms/0/stamp_start'],
    ['a start after the end', start({ t_s: DEMO.withdraw }), '/denominations/0/denoms/0/stamp_expire_withdraw'],
    [
      'no time to spend it in',
      (keys) => (key(keys).stamp_expire_deposit = { t_s: DEMO.withdraw }),
      '/denominations/0/denoms/0/stamp_expire_deposit',
    ],
    [
      'an end of all claims before that of the coin',
      (keys) => (key(keys).stamp_expire_legal = { t_s: DEMO.deposit - 1 }),
      '/denominations/0/denoms/0/stamp_expire_legal',
    ],
    ['a loss that is no yes or no', (keys) => (key(keys).lost = 'yes'), '/denominations/0/denoms/0/lost'],
    ['a wire fee of another currency', wire({ wire_fee: 'EUR:1' }), '/wire_fees/iban/0/wire_fee'],
    ['a wire fee for no time', wire({ end_date: { t_s: 1 } }), '/wire_fees/iban/0/end_date'],
    ['wire fees that are no list', (keys) => (keys.wire_fees = { iban: {} }), '/wire_fees/iban'],
    ['a wire method that is none', (keys) => (keys.wire_fees = { 'x/y': [] }), '/wire_fees'],
    [
      'a global fee without end',
      (keys) => (keys.global_fees = [{ start_date: { t_s: 1 } }]),
      '/global_fees/0/end_date',
    ],
  ])('%s', async (_name, spoil, pointer) => {
    const keys = modern(kudos);
    spoil(keys);
    expectFieldProblem(await ask({ keys }), `/keys${pointer}`);
  });

  test.each<[string, unknown, string]>([
    ['in the old spelling', { keys: { denoms: [{ ...old(euro).denoms[0], value: 'EUR' }] } }, '/keys/denoms/0/value'],
    ['no document', {}, '/keys'],
    ['a document that is a list', { keys: [] }, '/keys'],
    ['a document that is null', { keys: null }, '/keys'],
    ['a time that is none', { keys: modern(kudos), at: 'tomorrow' }, '/at'],
    ['a payment of no coins', { keys: modern(kudos), coins: 0 }, '/coins'],
    ['an unknown kind of change', { keys: modern(kudos), change_into: 'all' }, '/change_into'],
    ['a sum in another currency', { keys: modern(kudos), withdraw: 'EUR:1' }, '/withdraw'],
    ['less than the smallest coin', { keys: modern(kudos), withdraw: 'KUDOS:0.09' }, '/withdraw'],
    ['too many steps', { keys: modern(kudos), withdraw: 'KUDOS:1000.2' }, '/withdraw'],
    ['more coins than are paid with', { keys: modern(kudos), withdraw: 'KUDOS:18', coins: 3 }, '/withdraw'],
    ['a cost in another currency', { keys: modern(kudos), elsewhere: 'EUR:1' }, '/elsewhere'],
    ['a field that nobody asked for', { keys: modern(kudos), denoms: [] }, '/denoms'],
  ])('%s', async (_name, body, pointer) => {
    expectFieldProblem(await ask(body), pointer);
  });
});

describe('what is very large', () => {
  const slices = (n: number) =>
    Array.from({ length: n }, (_, i) => ({
      ...{ start: DEMO.start + i, withdraw: DEMO.start + i + 10 },
      ...{ deposit: DEMO.start + i + 20, legal: DEMO.start + i + 30 },
    }));

  test('ten thousand keys of six denominations, or of ten thousand', async () => {
    const { keys, denominations } = await evaluated(modern(kudos, slices(1_700)));
    expect(keys.listed).toBe(10_200);
    expect(denominations[1].change.percent).toBe('1.3');
    const coins = Array.from(
      { length: 10_000 },
      (_, i): [string, string, string, string, string] =>
        [...[String(i + 1), '0', '0', '0', '0']] as [string, string, string, string, string],
    );
    expect((await evaluated(modern({ currency: 'EUR', coins }))).denominations).toHaveLength(10_000);
  });

  test('more than twenty thousand entries are refused before they are looked at, wherever they are', async () => {
    const many = Array(20_001).fill({});
    for (const keys of [
      { denominations: many },
      { denoms: many },
      { denominations: [{ denoms: many }] },
      { denoms: [{}], wire_fees: { iban: many } },
      { denoms: [{}], wire_fees: Object.fromEntries(many.map((_, i) => [`m${i}`, []])) },
      { denoms: [{}], global_fees: many },
      { denominations: Array(2_000_000).fill(0) },
      { denoms: [{}], wire_fees: Array(2_000_000).fill(0) },
    ]) {
      const reply = await ask({ keys });
      expectFieldProblem(reply, '/keys');
      expect(reply.body.errors).toHaveLength(1);
    }
  });

  test('nor does it matter what is large', async () => {
    for (const large of ['x'.repeat(9_000_000), Array(2_000_000).fill(7)]) {
      const keys = modern(kudos);
      keys.denominations[0].denoms[0].stamp_start = large;
      expectFieldProblem(await ask({ keys }), '/keys/denominations/0/denoms/0/stamp_start');
      expectFieldProblem(await ask({ keys: modern(kudos, [DEMO], { currency: large }) }), '/keys/currency');
    }
    const text = modern(kudos, [DEMO], { wire_fees: 'x'.repeat(9_000_000) });
    expectFieldProblem(await ask({ keys: text }), '/keys/wire_fees');
    expectFieldProblem(await ask({ keys: 'x'.repeat(9_000_000) }), '/keys');
  });

  test('twenty thousand keys that are all wrong get a short answer', async () => {
    const reply = await ask({ keys: { denoms: Array(20_000).fill({ value: 7, stamp_start: 'x' }) } });
    expectProblem(reply, 'validation_failed');
    expect(reply.body.errors.length).toBeLessThanOrEqual(20);
    expect(reply.text.length).toBeLessThan(5_000);
  });

  test('ten MiB are read, more is a 413', async () => {
    const keys = modern(kudos, [DEMO], { padding: '' });
    const room = 10 * 1024 * 1024 - JSON.stringify({ keys, at }).length;
    keys.padding = 'x'.repeat(room);
    expect((await ask({ keys, at })).status).toBe(200);
    keys.padding += 'x';
    expectProblem(await ask({ keys, at }), 'body_too_large');
  });

  test('nesting ends at 32 levels', async () => {
    let deep: Json = [];
    for (let i = 0; i < 40; i += 1) deep = [deep];
    expectProblem(await ask({ keys: { ...modern(kudos), deep } }), 'malformed_request');
  });
});

test('an account may have only so many evaluated in a minute, as each is so much work', async () => {
  const strict = await fareboxForTest({ env: { RATE_READ_PER_MIN: '100' } });
  const [one, other] = [await newCustomer(strict), await newCustomer(strict)];
  const body = { keys: modern(kudos) };
  const replies = [await one.post(PATH, body), await one.post(PATH, body), await one.post(PATH, body)];
  expect(replies.map(({ status }) => status)).toEqual([200, 200, 429]);
  expect(replies[2]?.headers.get('ratelimit-policy')).toBe('"fees";q=2;w=60');
  expect((await one.get('/v1/me')).status, 'and may do other things').toBe(200);
  expect((await other.post(PATH, body)).status).toBe(200);
});
