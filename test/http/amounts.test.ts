import { randomUUID } from 'node:crypto';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, newCustomer, type Reply } from '../harness/client.ts';
import { expectFieldProblem, expectProblem } from '../harness/problems.ts';
import { openWorld, type World } from './world.ts';

// Every field that takes credits or money, and everything that is not an amount, as it stands in the JSON text.

let world: World;
let root: postgres.Sql;
beforeAll(async () => {
  world = await openWorld();
  root = postgres(world.farebox.database.superuserUrl, { max: 1 });
});
afterAll(async () => {
  await root.end();
  await world.stop();
});

const notAmounts = [
  ...['0', '-1', '-0', '0.0', '1.5', '0.1', '1e-7', '1.0000000001', '-1e3'],
  ...['1e21', '1e308', '1e400', '-1e400', '1000000000001', '1e13'],
  ...['9007199254740991', '9007199254740992', '9007199254740993'],
  ...['9223372036854775807', '9223372036854775808', `${2n ** 256n}`],
  ...['"5"', '"5 "', '" 5"', '"０５"', '"٥"', '"0x10"', '"1e3"', '"5n"', '"NaN"', '""'],
  ...['null', 'true', 'false', '[5]', '[]', '{}', '{"valueOf":5}'],
];
const notJson = ['NaN', 'Infinity', '-Infinity', '+5', '05', '0x10', '.5', '5.', '5n', '1_000', '1,000'];
/** JSON knows no integers: these are the whole numbers 1 and 1000. */
const whole: [text: string, value: number][] = [
  ['1', 1],
  ['1.0', 1],
  ['1e3', 1_000],
  ['1000000000000', 1_000_000_000_000],
];

interface Field {
  pointer: string;
  /** The request with `@` where the amount stands. */
  send(amount: string): Promise<Reply>;
  /** Below zero is an amount, too. */
  signed?: true;
}

async function post(client: Client, url: string, method: string, path: string, body: string): Promise<Reply> {
  const headers = {
    authorization: `Bearer ${client.token}`,
    'content-type': 'application/json',
    'idempotency-key': randomUUID(),
  };
  const response = await fetch(url + path, { method, headers, body });
  const text = await response.text();
  return { status: response.status, headers: response.headers, text, body: JSON.parse(text) };
}
const asOperator =
  (path: string, template: string, method = 'POST') =>
  (amount: string) =>
    post(world.operator, world.farebox.internalUrl, method, `/v1/admin/${path}`, template.replace('@', amount));

const fields: Record<string, () => Field> = {
  'credits of a grant': () => ({
    pointer: '/credits',
    send: asOperator(`accounts/${world.other.accountId}/grants`, '{"reason":"r","credits":@}'),
  }),
  'credits of an adjustment': () => ({
    pointer: '/credits',
    send: asOperator(`accounts/${world.other.accountId}/adjustments`, '{"reason":"r","credits":@}'),
    signed: true,
  }),
  'credits of a package': () => ({
    pointer: '/credits',
    send: asOperator('packages', '{"name":"p","price":5000,"credits":@}'),
  }),
  'price of a package': () => ({
    pointer: '/price',
    send: asOperator('packages', '{"name":"p","price":@,"credits":5}'),
  }),
  'cost of a service': () => ({
    pointer: '/credit_cost',
    send: asOperator('services', '{"name":"s","executor":{"endpoint":"https://example.com/x"},"credit_cost":@}'),
  }),
  'new cost of a service': () => ({
    pointer: '/credit_cost',
    send: asOperator(`services/${world.service.id}`, '{"credit_cost":@}', 'PATCH'),
  }),
  'expected cost of a run': () => ({
    pointer: '/expected_cost',
    send: (amount) =>
      post(
        ...([world.owner, world.farebox.url, 'POST', `/v1/workflows/${world.workflow.id}/runs`] as const),
        `{"expected_cost":${amount}}`,
      ),
  }),
};

const everything = async () => {
  const [counts] = await root`
    select (select count(*) from credits.transfers) as transfers, (select count(*) from payments.packages) as packages,
      (select sum(available) from credits.accounts) as credits, (select count(*) from workflows.runs) as runs,
      (select count(*) from workflows.services) as services, (select sum(credit_cost) from workflows.services) as costs,
      (select count(*) from platform.idempotency_keys) as keys, (select count(*) from platform.audit_log) as entries,
      (select count(*) from platform.events) as events`;
  return counts;
};

// REQ E9.4
describe.each(Object.entries(fields))('the %s', (_name, fieldOf) => {
  test('takes nothing that is not a whole amount, and stores nothing', async () => {
    const field = fieldOf();
    const before = await everything();
    for (const amount of notAmounts) {
      if (field.signed && ['-1', '-1e3'].includes(amount)) continue;
      expectFieldProblem(await field.send(amount), field.pointer);
    }
    for (const text of notJson) expectProblem(await field.send(text), 'malformed_request');
    expect(await everything()).toEqual(before);
  });
});

test('the whole numbers of JSON are taken exactly, however they are written', async () => {
  const { operator, other } = world;
  const grant = (fields['credits of a grant'] as () => Field)();
  let balance = 0;
  for (const [text, value] of whole) {
    const reply = await grant.send(text);
    expect([reply.status, reply.body.amount]).toEqual([201, value]);
    balance += value;
    expect((await other.ok('GET', '/v1/credits/balance')).available).toBe(balance);
  }
  const [row] = await root`select available::text as exact from credits.accounts where available > 1000000`;
  expect(row?.['exact']).toBe(String(balance));
  const service = (fields['cost of a service'] as () => Field)();
  for (const [text, value] of whole) expect((await service.send(text)).body.credit_cost).toBe(value);
  for (const name of ['credits of a package', 'price of a package']) {
    const field = (fields[name] as () => Field)();
    for (const [text, value] of whole) {
      const made = (await field.send(text)).body;
      expect((await operator.ok('GET', `/v1/admin/packages/${made.id}`))[field.pointer.slice(1)]).toBe(value);
    }
  }
});

test('an adjustment takes away what is there and not a credit more', async () => {
  const customer = await newCustomer(world.farebox);
  await world.give(customer, 5);
  const adjust = asOperator(`accounts/${customer.accountId}/adjustments`, '{"reason":"r","credits":@}');
  expect(expectProblem(await adjust('-6'), 'conflict').available).toBe(5);
  expect((await adjust('-1.0')).body).toMatchObject({ amount: -1, balance: { available: 4 } });
  expect((await adjust('-4')).body.balance.available).toBe(0);
  expectProblem(await adjust('-1'), 'conflict');
  expect((await customer.ok('GET', '/v1/credits/balance')).available).toBe(0);
});

test('the expected cost must be the cost', async () => {
  const field = (fields['expected cost of a run'] as () => Field)();
  const before = await world.owner.ok('GET', '/v1/credits/balance');
  expect(expectProblem(await field.send('2'), 'price_changed').cost).toBe(1);
  expect(expectProblem(await field.send('1e3'), 'price_changed').cost).toBe(1);
  expect(await world.owner.ok('GET', '/v1/credits/balance')).toEqual(before);
  expect((await field.send('1.0')).status).toBe(202);
});
