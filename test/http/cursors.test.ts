import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Client, Json } from '../harness/client.ts';
import { expectFieldProblem, expectProblem } from '../harness/problems.ts';
import { openWorld, type World } from './world.ts';

let world: World;
/** Client and path of every list, each with at least three entries. */
let lists: [path: string, client: Client][];
beforeAll(async () => {
  world = await openWorld();
  const { owner, other, operator, service, startRun, buy, give } = world;
  const { run, callback } = await startRun();
  for (const part of [1, 2, 3]) {
    const body = { part, content: part };
    await owner.ok('POST', `/v1/executor/runs/${run.id}/parts`, { token: callback, body });
  }
  for (const client of [owner, other]) {
    await give(client, 1);
    for (let i = 0; i < 3; i += 1) {
      await buy(client);
      await client.ok('POST', '/v1/workflows', { body: { service_id: service.id, name: `W${i}` } });
      await client.ok('POST', '/v1/api-keys', { body: { name: `K${i}`, scopes: ['read'] } });
      await startRun();
      const admin = { name: `X${i}`, credits: 1, price: 5_000 };
      await operator.ok('POST', '/v1/admin/packages', { body: admin });
      const executor = { endpoint: 'https://example.com/x' };
      await operator.ok('POST', '/v1/admin/services', { body: { name: `S${i}`, credit_cost: 1, executor } });
    }
  }
  lists = [
    ['/v1/api-keys', owner],
    ['/v1/credits/transfers', owner],
    ['/v1/packages', owner],
    ['/v1/purchases', owner],
    ['/v1/services', owner],
    ['/v1/workflows', owner],
    ['/v1/runs', owner],
    [`/v1/runs?workflow_id=${world.workflow.id}`, owner],
    [`/v1/runs/${run.id}/parts`, owner],
    ['/v1/admin/accounts', operator],
    ['/v1/admin/packages', operator],
    ['/v1/admin/purchases', operator],
    ['/v1/admin/services', operator],
  ];
});
afterAll(() => world.stop());

const page = (client: Client, path: string, query: Record<string, string | number>) => {
  const url = new URL(path, 'http://x');
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, String(value));
  return client.get(url.pathname + url.search);
};

test('a walk page by page meets every entry once, in the order of the whole', async () => {
  for (const [path, client] of lists) {
    const whole = (await page(client, path, { limit: 100 })).body;
    expect(whole, path).toMatchObject({ object: 'list', has_more: false, next_cursor: null });
    expect(whole.data.length, path).toBeGreaterThanOrEqual(3);
    const met: Json[] = [];
    let cursor: string | undefined;
    do {
      const { body } = await page(client, path, { limit: 2, ...(cursor ? { starting_after: cursor } : {}) });
      expect(body.has_more).toBe(body.next_cursor !== null);
      met.push(...body.data);
      cursor = body.next_cursor ?? undefined;
    } while (cursor);
    expect(met, path).toEqual(whole.data);
  }
});

test('what comes new while somebody walks changes nothing in what he still meets', async () => {
  const { owner, service } = world;
  const first = (await page(owner, '/v1/workflows', { limit: 2 })).body;
  const before = (await page(owner, '/v1/workflows', { limit: 100 })).body.data;
  await owner.ok('POST', '/v1/workflows', { body: { service_id: service.id, name: 'newcomer' } });
  const rest = (await page(owner, '/v1/workflows', { limit: 100, starting_after: first.next_cursor })).body;
  expect([...first.data, ...rest.data]).toEqual(before);
});

describe('a cursor is good for its list and its account, and nothing else:', () => {
  const cursorOf = async (client: Client, path: string): Promise<string> =>
    (await page(client, path, { limit: 1 })).body.next_cursor;
  const refused = async (client: Client, path: string, cursor: string) =>
    expectProblem(await page(client, path, { starting_after: cursor }), 'invalid_cursor');

  test('tampered with', async () => {
    for (const [path, client] of lists) {
      const cursor = await cursorOf(client, path);
      const bytes = Buffer.from(cursor, 'base64url');
      for (const at of [0, 7, 8, bytes.length - 1]) {
        const changed = Buffer.from(bytes);
        changed[at] = (changed[at] ?? 0) ^ 1;
        await refused(client, path, changed.toString('base64url'));
      }
      for (const form of [
        `${cursor}=`,
        `${cursor}A`,
        cursor.slice(0, -1),
        ` ${cursor}`,
        `${cursor.slice(0, 4)}!${cursor.slice(4)}`,
      ]) {
        await refused(client, path, form);
      }
    }
  });

  test('of another account', async () => {
    for (const path of ['/v1/api-keys', '/v1/purchases', '/v1/workflows']) {
      await refused(world.owner, path, await cursorOf(world.other, path));
    }
    await refused(world.owner, '/v1/packages', await cursorOf(world.operator, '/v1/admin/packages'));
  });

  test('of another list', async () => {
    const cursors = await Promise.all(lists.map(([path, client]) => cursorOf(client, path)));
    for (const [i, [path, client]] of lists.entries()) {
      for (const [j, cursor] of cursors.entries()) if (i !== j) await refused(client, path, cursor);
    }
  });

  test.each([
    '',
    'x',
    'null',
    '0',
    '-1',
    '%00',
    "' or 1=1 --",
    'A'.repeat(200),
    Buffer.alloc(60).toString('base64url'),
  ])('made up: "%s"', async (cursor) => {
    const reply = await world.owner.get(`/v1/workflows?starting_after=${encodeURIComponent(cursor)}`);
    expectProblem(reply, 'invalid_cursor');
  });

  test('too long', async () => {
    const reply = await world.owner.get(`/v1/workflows?starting_after=${'A'.repeat(201)}`);
    expectFieldProblem(reply, '/querystring/starting_after');
  });
});

test.each(['0', '-1', '101', '999', '1000', '1e9', '1000000000', '1.5', '', ' 1', '+1', '0x10', 'ten', 'null', '１'])(
  'a limit of "%s" is a 422',
  async (limit) => {
    for (const [path, client] of lists) {
      expectFieldProblem(await page(client, path, { limit }), '/querystring/limit');
    }
  },
);

test('without a limit twenty are shown, and a hundred at most', async () => {
  const { owner, service } = world;
  for (let i = 0; i < 22; i += 1) {
    await owner.ok('POST', '/v1/workflows', { body: { service_id: service.id, name: `many ${i}` } });
  }
  expect((await owner.ok('GET', '/v1/workflows')).data).toHaveLength(20);
  expect((await owner.ok('GET', '/v1/workflows?limit=1')).data).toHaveLength(1);
  expect((await owner.ok('GET', '/v1/workflows?limit=100')).data.length).toBeGreaterThan(20);
});
