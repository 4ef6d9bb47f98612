import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Code, codes } from '../../src/platform/http/codes.ts';
import { type Client, clientOf, type Json } from '../harness/client.ts';
import { inProcess } from '../harness/in-process.ts';
import { type Documented, documented } from '../harness/openapi.ts';
import { expectProblem } from '../harness/problems.ts';
import { type Caller, callers, codeOf, internalRoutes, publicRoutes, type Row } from './matrix.ts';
import { requests } from './matrix-requests.ts';
import { logInAgain, openWorld, type World } from './world.ts';

const SCOPES = [
  'read',
  'purchases:write',
  'payment_requests:write',
  'orders:write',
  'refunds:write',
  'workflows:write',
  'runs:write',
  'webhooks:write',
];
interface Who {
  token: string | null;
  email: string;
}
/** Replies that are an image or a stream, which the document calls JSON. */
const OTHER_TYPES = ['/v1/purchases/:id/qr', '/v1/runs/:id/events', '/v1/events/stream'];
let world: World;
let documents: Record<'public' | 'internal', Documented>;
let people: Record<Exclude<Caller, 'key'>, Who>;
/** `only read`, `all but read`, … and `all` that an account without the operator role can have. */
const keysOf: { owner: Record<string, string>; operator: Record<string, string> } = { owner: {}, operator: {} };

beforeAll(async () => {
  world = await openWorld();
  documents = { public: await documented(world.farebox.url), internal: await documented(world.farebox.internalUrl) };
  const { owner, other, operator } = world;
  people = {
    nobody: { token: null, email: '' },
    bad: { token: 'not.a.token', email: '' },
    ...{ other: { ...other }, operator: { ...operator }, owner: { ...owner } },
  };
  const make = async (client: Client, name: string, scopes: string[]) =>
    (await client.ok('POST', '/v1/api-keys', { body: { name, scopes } })).key;
  for (const [who, client] of Object.entries({ owner, operator: clientOf(world.farebox.url, operator) })) {
    const ring = keysOf[who as 'owner' | 'operator'];
    const own = who === 'operator' ? [...SCOPES, 'operator'] : SCOPES;
    ring['all'] = await make(client, 'all', SCOPES);
    for (const scope of own) {
      ring[`only ${scope}`] = await make(client, scope, [scope]);
      const others = own.filter((one) => one !== scope);
      ring[`all but ${scope}`] = await make(client, `not ${scope}`, others);
    }
  }
});
afterAll(() => world.stop());

async function send(url: string, method: string, pattern: string, who: Who, caller: Caller) {
  const ask = requests[`${method} ${pattern}`];
  if (!ask) throw new Error(`matrix-requests.ts does not say how to ask ${method} ${pattern}`);
  const asked = await ask(world, { caller });
  const response = await fetch(url + asked.path, {
    method,
    redirect: 'manual',
    headers: {
      ...((asked.token ?? who.token) ? { authorization: `Bearer ${asked.token ?? who.token}` } : {}),
      ...(asked.body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(method === 'POST' ? { 'idempotency-key': randomUUID() } : {}),
      ...asked.headers,
    },
    ...(asked.body === undefined ? {} : { body: JSON.stringify(asked.body) }),
    ...(asked.form === undefined ? {} : { body: asked.form }),
  });
  const isEndless = asked.endless && response.ok;
  const text = isEndless ? '' : await response.text();
  if (isEndless) await response.body?.cancel();
  return { asked, reply: { status: response.status, headers: response.headers, text } };
}

/** After a request that ends a log-in: whoever it was logs in again. */
async function renew(text: string): Promise<void> {
  const changed = text.startsWith('{') ? JSON.parse(text) : {};
  for (const name of ['other', 'operator', 'owner'] as const) {
    const who = people[name];
    if (changed.email !== undefined && changed.id === world[name].accountId) {
      who.email = changed.email;
      world[name].email = changed.email;
    }
    who.token = (await logInAgain(world.farebox, who.email)).access_token;
    // The same object is in the world's hands.
    const url = name === 'operator' ? world.farebox.internalUrl : world.farebox.url;
    Object.assign(world[name], clientOf(url, { ...world[name], token: who.token ?? '' }));
  }
}

async function cells(url: string, [method, pattern, openedBy, ...statuses]: Row, isInternal: boolean) {
  const ring = isInternal ? keysOf.operator : keysOf.owner;
  const owner = isInternal ? people.operator : people.owner;
  const complaints: string[] = [];
  const seen: Record<string, string> = {};
  const wanted: Record<string, string> = {};
  const ask = async (name: string, caller: Caller, who: Who, status: number) => {
    const { asked, reply } = await send(url, method, pattern, who, caller);
    const code = reply.status >= 400 ? JSON.parse(reply.text).code : undefined;
    seen[name] = [reply.status, code].join(' ');
    wanted[name] = [status, codeOf(status, caller, pattern)].join(' ');
    if (code !== undefined) {
      expect(Object.keys(codes), 'the closed list').toContain(code);
      expectProblem(reply, code as Code);
    }
    const complaint = (isInternal ? documents.internal : documents.public).complain(method, pattern, reply);
    if (complaint && !OTHER_TYPES.includes(pattern)) complaints.push(complaint);
    if (!isInternal && caller !== 'owner' && caller !== 'key') {
      for (const secret of [world.owner.accountId, world.owner.email]) {
        expect(reply.text, `${caller} sees the owner at ${pattern}`).not.toContain(secret);
      }
    }
    if (asked.endsLogin && reply.status < 400) await renew(reply.text);
  };
  for (const [i, caller] of callers.entries()) {
    const withoutIt = { token: ring[`all but ${openedBy}`] ?? ring['all'] ?? '', email: '' };
    const who = caller === 'key' ? withoutIt : caller === 'owner' ? owner : people[caller];
    await ask(caller, caller, who, statuses[i] ?? 0);
  }
  const withIt = ring[`only ${openedBy}`];
  if (withIt) await ask('a key that may', 'owner', { token: withIt, email: '' }, statuses.at(-1) ?? 0);
  expect(seen).toEqual(wanted);
  expect(complaints, 'replies are as the OpenAPI document says').toEqual([]);
}

describe('every public route answers each caller as the table says', () => {
  test.each(publicRoutes)('%s %s', (...row) => cells(world.farebox.url, row, false));
});

// REQ E6.4
describe('every internal route answers each caller as the table says', () => {
  test.each(internalRoutes)('%s %s', (...row) => cells(world.farebox.internalUrl, row, true));
});

// REQ E1.3
test('no route is missing in the tables, and no row lacks its route', async () => {
  const { front, internal } = await inProcess(world.farebox);
  const names = (list: (readonly [string, string, ...unknown[]])[]) =>
    list.map(([method, pattern]) => `${method} ${pattern}`).sort();
  expect(names(publicRoutes)).toEqual(names(front.routeList));
  expect(names(internalRoutes)).toEqual(names(internal.routeList));
  for (const row of [...publicRoutes, ...internalRoutes]) expect(row, row.join(' ')).toHaveLength(3 + callers.length);
});

// REQ E6.4
test('what one listener has the other does not know, whoever asks', async () => {
  const shared = new Set(publicRoutes.map(([, pattern]) => pattern));
  const both = internalRoutes.filter(([, pattern]) => shared.has(pattern)).map(([, pattern]) => pattern);
  expect(both).toEqual(['/openapi.json', '/docs/errors', '/docs', '/docs/', '/docs/js/scalar.js']);
  const ask = async (url: string, method: string, pattern: string) => {
    const path = pattern.replace(':id', world.owner.accountId).replace(':token', 'A'.repeat(43));
    return clientOf(url, world.operator).call(method, path);
  };
  for (const [method, pattern] of publicRoutes) {
    if (!both.includes(pattern))
      expectProblem(await ask(world.farebox.internalUrl, method, pattern), 'route_not_found');
  }
  for (const [method, pattern] of internalRoutes) {
    if (!both.includes(pattern)) expectProblem(await ask(world.farebox.url, method, pattern), 'route_not_found');
  }
});

// REQ E5.4
test('the lists of one account show nothing of another', async () => {
  const lists = ['api-keys', 'credits/transfers', 'purchases', 'workflows', 'runs', 'refunds'];
  await world.buy(world.owner);
  await world.startRun();
  const stranger = await world.operator.ok('GET', `/v1/admin/accounts?email=${world.other.email}`);
  expect(stranger.data[0].id).toBe(world.other.accountId);
  for (const list of lists) {
    const own = await world.owner.ok('GET', `/v1/${list}?limit=100`);
    const others = await world.other.ok('GET', `/v1/${list}?limit=100`);
    const ids = new Set(own.data.map((one: Json) => one.id));
    expect(ids.size, list).toBeGreaterThan(0);
    expect(others.data.filter((one: Json) => ids.has(one.id))).toEqual([]);
  }
});
