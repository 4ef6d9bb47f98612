import { randomUUID } from 'node:crypto';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, clientOf, type Json, newCustomer } from '../harness/client.ts';
import { inProcess } from '../harness/in-process.ts';
import { expectProblem } from '../harness/problems.ts';
import { openWorld, type World } from './world.ts';

let world: World;
let root: postgres.Sql;
beforeAll(async () => {
  world = await openWorld();
  root = postgres(world.farebox.database.superuserUrl, { max: 2 });
});
afterAll(async () => {
  await root.end();
  await world.stop();
});

const grant = (to: Client, key: string, body: Json = { credits: 10, reason: 'r' }) =>
  world.operator.post(`/v1/admin/accounts/${to.accountId}/grants`, body, { key });
const available = async (client: Client) => (await client.ok('GET', '/v1/credits/balance')).available;

// REQ E7.1
test('a repeat is answered with the same status, bytes and place, says so, and does nothing', async () => {
  const customer = await newCustomer(world.farebox);
  const key = randomUUID();
  const [first, again] = [await grant(customer, key), await grant(customer, key)];
  expect([first.status, again.status, again.text]).toEqual([201, 201, first.text]);
  expect(first.headers.get('idempotent-replayed')).toBeNull();
  expect(again.headers.get('idempotent-replayed')).toBe('true');
  expect(await available(customer)).toBe(10);

  const body = { service_id: world.service.id, name: 'W' };
  const [made, same] = [
    await customer.post('/v1/workflows', body, { key }),
    await customer.post('/v1/workflows', body, { key }),
  ];
  expect(same.headers.get('location')).toBe(made.headers.get('location'));
  expect(made.headers.get('location')).toBe(`/v1/workflows/${made.body.id}`);
  expect(same.headers.get('request-id'), 'each request has its own id').not.toBe(made.headers.get('request-id'));
});

test('a key belongs to one account and one route', async () => {
  const [one, two] = [await newCustomer(world.farebox), await newCustomer(world.farebox)];
  const key = randomUUID();
  const body = { service_id: world.service.id, name: 'W' };
  const made = await Promise.all([one, two].map((client) => client.post('/v1/workflows', body, { key })));
  expect(new Set(made.map(({ body: { id } }) => id)).size).toBe(2);
  const other = await one.post('/v1/api-keys', { name: 'k', scopes: ['read'] }, { key });
  expect([other.status, other.headers.get('idempotent-replayed')]).toEqual([201, null]);
});

describe('the same key for another request is a 422:', () => {
  test.each<[string, Json]>([
    ['another amount', { credits: 11, reason: 'r' }],
    ['another reason', { credits: 10, reason: 'R' }],
  ])('%s', async (_name, body) => {
    const customer = await newCustomer(world.farebox);
    const key = randomUUID();
    await grant(customer, key);
    expectProblem(await grant(customer, key, body), 'idempotency_key_reused');
    expect(await available(customer)).toBe(10);
  });

  test('another object of the same route', async () => {
    const [one, two] = [await newCustomer(world.farebox), await newCustomer(world.farebox)];
    const key = randomUUID();
    await grant(one, key);
    expectProblem(await grant(two, key), 'idempotency_key_reused');
    expect(await available(two)).toBe(0);
  });
});

test('the order of members and the writing of numbers make no other request', async () => {
  const customer = await newCustomer(world.farebox);
  const key = randomUUID();
  const first = await grant(customer, key, { credits: 10, reason: 'r' });
  const headers = { authorization: `Bearer ${world.operator.token}`, 'content-type': 'application/json' };
  const response = await fetch(`${world.farebox.internalUrl}/v1/admin/accounts/${customer.accountId}/grants`, {
    ...{ method: 'POST', headers: { ...headers, 'idempotency-key': key } },
    body: '{ "reason": "\\u0072", "credits": 1.0e1 }',
  });
  expect(response.status).toBe(201);
  expect(await response.text()).toBe(first.text);
});

test('while the first is being worked on, the second is told to wait, and then gets the answer', async () => {
  const customer = await newCustomer(world.farebox);
  await world.give(customer, 1);
  const key = randomUUID();
  const hold = Promise.withResolvers<void>();
  const held = Promise.withResolvers<void>();
  const blocking = root.begin(async (tx) => {
    await tx`lock table credits.accounts in access exclusive mode`;
    held.resolve();
    await hold.promise;
  });
  await held.promise;
  const first = grant(customer, key);
  await new Promise((resolve) => setTimeout(resolve, 150));
  const second = await grant(customer, key);
  expectProblem(second, 'request_in_flight');
  expect(second.headers.get('retry-after')).toBe('1');
  hold.resolve();
  await blocking;
  const done = await first;
  expect(done.status).toBe(201);
  expect((await grant(customer, key)).text).toBe(done.text);
  expect(await available(customer)).toBe(11);
});

// REQ E7.1
test('a hundred requests with one key at once do it once', async () => {
  const customer = await newCustomer(world.farebox);
  const key = randomUUID();
  const replies = await Promise.all(Array.from({ length: 100 }, () => grant(customer, key)));
  const done = replies.filter(({ status }) => status === 201);
  expect(done.length).toBeGreaterThan(0);
  expect(new Set(done.map(({ text }) => text)).size).toBe(1);
  expect(done.filter(({ headers }) => headers.get('idempotent-replayed') === null)).toHaveLength(1);
  for (const reply of replies) if (reply.status !== 201) expectProblem(reply, 'request_in_flight');
  expect(await available(customer)).toBe(10);
});

describe('a refusal is not kept, and the same key succeeds later:', () => {
  test('after a 422', async () => {
    const customer = await newCustomer(world.farebox);
    const key = randomUUID();
    expectProblem(await grant(customer, key, { credits: -1, reason: 'r' }), 'validation_failed');
    expect((await grant(customer, key)).status).toBe(201);
  });

  test('after a 402', async () => {
    const customer = await newCustomer(world.farebox);
    const workflow = await customer.ok('POST', '/v1/workflows', { body: { service_id: world.service.id, name: 'W' } });
    const run = () => customer.post(`/v1/workflows/${workflow.id}/runs`, { input: {} }, { key: 'my-first-run' });
    const refused = await run();
    expect(expectProblem(refused, 'insufficient_credits')).toMatchObject({ required: 1, available: 0, shortfall: 1 });
    await world.give(customer, 1);
    const accepted = await run();
    expect([accepted.status, accepted.headers.get('idempotent-replayed')]).toEqual([202, null]);
    expect((await run()).headers.get('idempotent-replayed')).toBe('true');
    expect(await available(customer)).toBe(0);
  });

  test('after a 404, a 409 and a 401', async () => {
    const customer = await newCustomer(world.farebox);
    const key = randomUUID();
    const nobody = { accountId: 'acct_00000000000000000000000000' } as Client;
    expectProblem(await grant(nobody, key), 'not_found');
    const adjust = () =>
      world.operator.post(
        `/v1/admin/accounts/${customer.accountId}/adjustments`,
        { credits: -5, reason: 'r' },
        { key },
      );
    expectProblem(await adjust(), 'conflict');
    await world.give(customer, 5);
    expect((await adjust()).status).toBe(201);
    const body = { service_id: world.service.id, name: 'W' };
    expectProblem(await clientOf(world.farebox.url).post('/v1/workflows', body, { key }), 'unauthenticated');
    expect((await customer.post('/v1/workflows', body, { key })).status).toBe(201);
  });

  test('after a 503 of a database that is locked', async () => {
    const customer = await newCustomer(world.farebox);
    const key = randomUUID();
    await root.begin(async (tx) => {
      await tx`lock table credits.accounts in access exclusive mode`;
      const busy = await grant(customer, key);
      expectProblem(busy, 'database_unavailable');
      expect(Number(busy.headers.get('retry-after'))).toBeGreaterThan(0);
    });
    expect((await grant(customer, key)).status).toBe(201);
    expect(await available(customer)).toBe(10);
  });
});

describe('the key itself', () => {
  test('is required where money moves or work starts', async () => {
    const { owner, operator, pack, workflow } = world;
    const needy: [Client, string, Json][] = [
      [owner, '/v1/purchases', { package_id: pack.id, method: { type: 'promptpay' } }],
      [owner, `/v1/workflows/${workflow.id}/runs`, {}],
      [operator, `/v1/admin/accounts/${owner.accountId}/grants`, { credits: 1, reason: 'r' }],
      [operator, `/v1/admin/accounts/${owner.accountId}/adjustments`, { credits: 1, reason: 'r' }],
    ];
    for (const [client, path, body] of needy) {
      expectProblem(await client.call('POST', path, { body }), 'idempotency_key_required');
    }
  });

  test('may be left out elsewhere, and then each request counts', async () => {
    const customer = await newCustomer(world.farebox);
    const body = { service_id: world.service.id, name: 'W' };
    const [one, two] = [
      await customer.call('POST', '/v1/workflows', { body }),
      await customer.call('POST', '/v1/workflows', { body }),
    ];
    expect(one.body.id).not.toBe(two.body.id);
  });

  test('has 1 to 255 visible characters, bare or quoted', async () => {
    const customer = await newCustomer(world.farebox);
    for (const key of [
      'x',
      'k'.repeat(255),
      `"${'q'.repeat(255)}"`,
      '!#$%&()*+,-./:;<=>?@[]^_`{|}~',
      '4242424242424242',
    ]) {
      expect((await grant(customer, key)).status, key).toBe(201);
    }
    expect((await grant(customer, '"x"')).headers.get('idempotent-replayed'), 'quoted is the same as bare').toBe(
      'true',
    );
    for (const key of ['', '""', 'k'.repeat(256), `"${'q'.repeat(256)}"`, 'with space', 'tab\there', 'é', '" "']) {
      expectProblem(await grant(customer, key), 'idempotency_key_invalid');
    }
  });

  test('must be one', async () => {
    const customer = await newCustomer(world.farebox);
    const headers = { 'idempotency-key': 'one, two' }; // as Node joins two headers
    const reply = await world.operator.call('POST', `/v1/admin/accounts/${customer.accountId}/grants`, {
      headers,
      body: { credits: 1, reason: 'r' },
    });
    expectProblem(reply, 'idempotency_key_invalid');
  });
});

test('what is kept of an answer is sealed: it may show a secret', async () => {
  const customer = await newCustomer(world.farebox);
  const made = await customer.post('/v1/api-keys', { name: 'k', scopes: ['read'] }, { key: 'sealed' });
  const [row] = await root`select reply, k::text as line from platform.idempotency_keys k where key = 'sealed'`;
  expect(row?.['reply'].toString('latin1')).not.toContain('fbx_');
  expect(row?.['line']).not.toContain(made.body.key);
  expect(row?.['line']).not.toContain(Buffer.from(made.body.key).toString('hex'));
});

test('keys are forgotten after three days, thousands at a time, and no key before', async () => {
  const customer = await newCustomer(world.farebox);
  await grant(customer, 'old');
  await grant(customer, 'young');
  const [days] = await root`
    select extract(epoch from expires_at - now()) / 3600 as hours from platform.idempotency_keys where key = 'old'`;
  expect(Number(days?.['hours'])).toBeCloseTo(72, 1);
  await root`update platform.idempotency_keys set expires_at = now() where key = 'old'`;
  await root`
    insert into platform.idempotency_keys (account_id, route, key, fingerprint, resource_id, expires_at)
    select gen_random_uuid(), 'POST /x', 'bulk', sha256(''), gen_random_uuid(), now() - interval '1 minute'
    from generate_series(1, 2500)`;
  const { work } = await inProcess(world.farebox);
  await work('idempotency-reaper');
  const left = await root`select key from platform.idempotency_keys where key in ('old', 'young', 'bulk')`;
  expect(left.map(({ key }) => key)).toEqual(['young']);
  expect((await grant(customer, 'young')).headers.get('idempotent-replayed')).toBe('true');
  expect((await grant(customer, 'old')).headers.get('idempotent-replayed')).toBeNull();
  expect(await available(customer)).toBe(30);
});
