import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fromWire } from '../../src/platform/ids.ts';
import { type Client, clientOf, type Json, newCustomer } from '../harness/client.ts';
import { expectProblem } from '../harness/problems.ts';
import { endpointOf, type Mailbox, openMailbox } from './mailbox.ts';

/** Endpoints as accounts write them down. */

let box: Mailbox;
let ada: Client;
const EXECUTOR = '127.0.0.1:9';
const lines: string[] = [];
beforeAll(async () => {
  box = await openMailbox({ log: { write: (line) => lines.push(line) }, env: { EGRESS_ALLOW: EXECUTOR } });
  ada = await newCustomer(box.farebox);
});
afterAll(() => box.close());

const at = (endpoint: Json, more = '') => `/v1/webhook-endpoints/${endpoint.id}${more}`;
const create = (client: Client, body: Json) => client.post('/v1/webhook-endpoints', body);

test('an endpoint is made, read, listed, changed and deleted', async () => {
  const eve = await newCustomer(box.farebox);
  const made = await create(eve, {
    url: `${box.receiver.url}/x`,
    events: ['payments.*', 'payments.*', 'workflows.run_failed'],
  });
  expect([made.status, made.headers.get('location')]).toEqual([201, at(made.body)]);
  const { signing_secret, ...endpoint } = made.body;
  expect(endpoint).toMatchObject({
    ...{ object: 'webhook_endpoint', events: ['payments.*', 'workflows.run_failed'], description: '', enabled: true },
    ...{ disabled_reason: null, failing_since: null },
  });
  expect(signing_secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
  expect(await eve.ok('GET', at(endpoint))).toEqual(endpoint);
  const second = await endpointOf(eve, `${box.receiver.url}/y`);
  const { data } = await eve.ok('GET', '/v1/webhook-endpoints');
  expect(data.map(({ id }: Json) => id)).toEqual([second.id, endpoint.id]);
  const change = { description: 'for the shop', events: ['*'] };
  expect(await eve.ok('PATCH', at(endpoint), { body: change })).toEqual({ ...endpoint, ...change });
  expect((await eve.call('DELETE', at(endpoint))).status).toBe(204);
  expectProblem(await eve.get(at(endpoint)), 'not_found');
  expectProblem(await eve.call('DELETE', at(endpoint)), 'not_found');
  expect((await eve.ok('GET', '/v1/webhook-endpoints')).data).toHaveLength(1);
});

test.each(['payments.purchase_exploded', 'payments', 'payments.', 'pay*', 'workflows.run_*', 'test.*', '', '**'])(
  'a wish for events of a type that there is not is refused: %s',
  async (filter) => {
    const url = `${box.receiver.url}/x`;
    const reply = await create(ada, { url, events: ['workflows.run_failed', filter] });
    expectProblem(reply, 'validation_failed');
    expect(reply.body.errors[0].pointer).toBe('/events/1');
  },
);

test.each([
  'http://example.com/', // not https
  'https://127.0.0.1/',
  'https://[::1]/',
  'https://[::ffff:169.254.169.254]/',
  'https://169.254.169.254/latest/meta-data/',
  'https://2130706433/',
  'https://0x7f.1/',
  'https://10.0.0.1/',
  'https://[64:ff9b::a9fe:a9fe]/',
  'https://localhost/',
  'https://db.internal/',
  'https://user:password@example.com/',
  'https://example.com:5432/',
  'ftp://example.com/',
  'file:///etc/passwd',
  'nonsense',
])('an address that points inward, or nowhere, is refused when it is written down: %s', async (url) => {
  expectProblem(await create(ada, { url, events: ['*'] }), 'endpoint_refused');
  const endpoint = await endpointOf(ada, `${box.receiver.url}/x`);
  const reply = await ada.call('PATCH', at(endpoint), { body: { url } });
  expectProblem(reply, 'endpoint_refused');
  expect(reply.body.errors[0].pointer).toBe('/url');
  await ada.ok('DELETE', at(endpoint));
});

test('what the operator lets executors live at is not for customers to call', async () => {
  expectProblem(await create(ada, { url: `http://${EXECUTOR}`, events: ['*'] }), 'endpoint_refused');
});

test('an account has at most ten endpoints, also when it makes them all at once', async () => {
  const eve = await newCustomer(box.farebox);
  const body = { url: `${box.receiver.url}/x`, events: ['payments.*'] };
  const replies = await Promise.all(Array.from({ length: 14 }, () => create(eve, body)));
  expect(replies.map(({ status }) => status).toSorted()).toEqual([...Array(10).fill(201), ...Array(4).fill(409)]);
  const [first] = (await eve.ok('GET', '/v1/webhook-endpoints')).data;
  await eve.ok('DELETE', at(first));
  expect((await create(eve, body)).status).toBe(201);
});

test('another account’s endpoint is not there, for nothing that can be done to it', async () => {
  const endpoint = await endpointOf(ada, `${box.receiver.url}/x`);
  const eve = await newCustomer(box.farebox);
  const delivery = endpoint.id.replace('whe_', 'whd_');
  for (const [method, path, body] of [
    ['GET', ''],
    ['PATCH', '', { enabled: false }],
    ['DELETE', ''],
    ['POST', '/signing-secrets'],
    ['GET', '/deliveries'],
    ['GET', `/deliveries/${delivery}`],
    ['POST', `/deliveries/${delivery}/redeliver`],
  ] as const) {
    const reply = await eve.call(method, at(endpoint, path), body ? { body } : {});
    expectProblem(reply, 'not_found');
  }
  expect(await ada.ok('GET', at(endpoint))).toMatchObject({ enabled: true });
  await ada.ok('DELETE', at(endpoint));
});

test('an API key needs the scope', async () => {
  const { key } = await ada.ok('POST', '/v1/api-keys', { body: { name: 'w', scopes: ['webhooks:write'] } });
  const machine = clientOf(box.farebox.url, { token: key });
  const endpoint = await endpointOf(machine, `${box.receiver.url}/x`);
  expectProblem(await machine.get(at(endpoint)), 'insufficient_scope');
  await machine.ok('DELETE', at(endpoint));
});

test('a secret is shown once, and is in no log and in no column as it is', async () => {
  const key = randomUUID();
  const body = { url: `${box.receiver.url}/x`, events: ['*'] };
  const { signing_secret: first, id } = (await ada.post('/v1/webhook-endpoints', body, { key })).body;
  const again = await ada.post('/v1/webhook-endpoints', body, { key });
  expect([again.body.id, again.headers.get('idempotent-replayed')]).toEqual([id, 'true']);
  const { signing_secret: second } = await ada.ok('POST', at({ id }, '/signing-secrets'));
  const replies = [
    await ada.get(at({ id })),
    await ada.get('/v1/webhook-endpoints'),
    await ada.call('PATCH', at({ id }), { body: { description: 'x' } }),
    await ada.get(at({ id }, '/deliveries')),
  ];
  const kept = await box.root`select * from platform.webhook_endpoints where id = ${fromWire('webhookEndpoint', id)}`;
  const audited = await box.root`select detail from platform.audit_log`;
  const bytes = kept[0]?.['signing_secret'].toString('utf8');
  const everything = [...replies.map(({ text }) => text), ...lines, JSON.stringify([kept, audited]), bytes].join('\n');
  for (const secret of [first, second]) expect(everything).not.toContain(secret.slice('whsec_'.length));
  await ada.ok('DELETE', at({ id }));
});
