import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { fromWire } from '../../src/platform/ids.ts';
import { createVault } from '../../src/platform/secrets.ts';
import { signingSecretsOf } from '../../src/workflows/services.ts';
import { clientOf, newCustomer } from '../harness/client.ts';
import { accepted, ended, openStage, type Stage, workflowOf } from './stage.ts';

let stage: Stage;
beforeAll(async () => {
  stage = await openStage();
});
afterAll(() => stage.close());

const executorOf = (path = '/echo') => ({ endpoint: `${stage.executor.url}${path}` });

describe('offering', () => {
  test('a service shows what it was given, and its secret only once', async () => {
    const body = {
      name: 'Translate',
      description: 'From any language',
      credit_cost: 7,
      input_schema: { type: 'object', required: ['text'] },
      executor: { ...executorOf(), timeout_ms: 1000, max_attempts: 2, deadline_s: 60, report_interval_s: 5 },
      refund_on_failure: 'none',
    };
    const made = await stage.operator.post('/v1/admin/services', body);
    expect(made.status).toBe(201);
    expect(made.headers.get('location')).toBe(`/v1/admin/services/${made.body.id}`);
    const { signing_secret: secret, ...service } = made.body;
    expect(Buffer.from(secret.replace('whsec_', ''), 'base64')).toHaveLength(32);
    expect(service).toMatchObject({
      ...body,
      object: 'service',
      price_version: 1,
      active: true,
      executor: { ...body.executor, max_concurrency: 10 },
    });
    const read = await stage.operator.get(`/v1/admin/services/${service.id}`);
    expect(read.body).toEqual(service);
    const listed = await stage.operator.get('/v1/admin/services');
    expect(listed.text).not.toContain('whsec_');
    expect(listed.body.data[0]).toEqual(service);
  });

  test('the same key makes one service, and tells its secret again to whoever made it', async () => {
    const body = { name: 'Once', credit_cost: 1, executor: executorOf() };
    const first = await stage.operator.post('/v1/admin/services', body, { key: 'service-once' });
    const again = await stage.operator.post('/v1/admin/services', body, { key: 'service-once' });
    expect(again.body).toEqual(first.body);
    expect(again.headers.get('idempotent-replayed')).toBe('true');
  });

  test('the secret lies sealed in the database', async () => {
    const service = await stage.offer('/echo');
    const rows = await stage.root`select encode(signing_secret, 'escape') as sealed from workflows.services`;
    const bare = service.signing_secret.replace('whsec_', '');
    expect(rows.some((row) => String(row['sealed']).includes(bare))).toBe(false);
  });

  test('customers see active services, without their executors', async () => {
    const [shown, hidden] = [await stage.offer('/echo'), await stage.offer('/echo', { active: false })];
    const customer = await stage.customer();
    const list = await customer.get('/v1/services');
    const ids = list.body.data.map((one: { id: string }) => one.id);
    expect(ids).toContain(shown.id);
    expect(ids).not.toContain(hidden.id);
    expect(list.text).not.toMatch(/executor|endpoint|127\.0\.0\.1/);
    expect((await customer.get(`/v1/services/${hidden.id}`)).status).toBe(404);
    expect(Object.keys((await customer.get(`/v1/services/${shown.id}`)).body)).not.toContain('executor');
  });

  test('only operators, and only at the internal listener', async () => {
    const customer = await newCustomer(stage.farebox);
    const body = { name: 'Mine', credit_cost: 1, executor: executorOf() };
    const inside = clientOf(stage.farebox.internalUrl, customer);
    expect((await inside.post('/v1/admin/services', body)).body.code).toBe('forbidden');
    expect((await customer.post('/v1/admin/services', body)).status).toBe(404);
    const outside = clientOf(stage.farebox.url, stage.operator);
    expect((await outside.post('/v1/admin/services', body)).status).toBe(404);
  });
});

const amounts = [0, -1, 1.5, 1_000_000_000_001, 2 ** 53, '5', '5 ', '', null, true, [5], {}];
test.each(amounts)('a cost of %j is refused, and nothing is made', async (credit_cost) => {
  const before = await stage.root`select count(*)::int as n from workflows.services`;
  const made = await stage.operator.post('/v1/admin/services', { name: 'x', credit_cost, executor: executorOf() });
  expect(made.status).toBe(422);
  expect(made.body.errors[0].pointer).toBe('/credit_cost');
  expect(await stage.root`select count(*)::int as n from workflows.services`).toEqual(before);
});

test.each([
  [{ name: '' }, '/name'],
  [{ name: 'a\nb' }, '/name'],
  [{ price_version: 3 }, '/price_version'],
  [{ executor: { endpoint: 'https://example.com', max_attempts: 51 } }, '/executor/max_attempts'],
  [{ executor: { endpoint: 'https://example.com', signing_secret: 'whsec_x' } }, '/executor/signing_secret'],
  [{ executor: { endpoint: 'not a url' } }, '/executor/endpoint'],
  [{ executor: { endpoint: 'http://169.254.169.254/latest' } }, '/executor/endpoint'],
])('the term %j is refused at %s', async (terms, pointer) => {
  const body = { name: 'x', credit_cost: 1, executor: executorOf(), ...terms };
  const made = await stage.operator.post('/v1/admin/services', body);
  expect(made.status).toBe(422);
  expect(made.body.errors[0].pointer).toBe(pointer);
});

describe('changing', () => {
  test('a change sets what it names and nothing else', async () => {
    const { signing_secret: _, ...service } = await stage.offer('/echo', { description: 'old', credit_cost: 3 });
    const path = `/v1/admin/services/${service.id}`;
    const changed = await stage.operator.ok('PATCH', path, { body: { executor: { timeout_ms: 500 } } });
    expect(changed).toEqual({ ...service, executor: { ...service.executor, timeout_ms: 500 } });
    expect((await stage.operator.call('PATCH', path, { body: {} })).status).toBe(422);
    const refused = await stage.operator.call('PATCH', path, { body: { executor: { endpoint: 'https://[::1]/' } } });
    expect(refused.body.code).toBe('endpoint_refused');
    expect((await stage.operator.get(path)).body).toEqual(changed);
  });

  test('only another cost is another price version', async () => {
    const service = await stage.offer('/echo', { credit_cost: 3 });
    const change = (body: object) => stage.operator.ok('PATCH', `/v1/admin/services/${service.id}`, { body });
    expect((await change({ name: 'Other' })).price_version).toBe(1);
    expect((await change({ credit_cost: 3 })).price_version).toBe(1);
    expect(await change({ credit_cost: 4 })).toMatchObject({ price_version: 2, credit_cost: 4 });
  });

  test('what the operator does is in the audit log, without a secret', async () => {
    const service = await stage.offer('/echo');
    const path = `/v1/admin/services/${service.id}`;
    await stage.operator.ok('PATCH', path, { body: { active: false } });
    const { signing_secret: secret } = await stage.operator.ok('POST', `${path}/signing-secrets`);
    await stage.operator.ok('POST', `${path}/reprice-workflows`, { body: { reason: 'new year' } });
    const rows = await stage.root`select action, detail, actor from platform.audit_log
      where subject_id = (select id::text from workflows.services order by created_at desc limit 1) order by seq`;
    expect(rows.map((row) => row['action'])).toEqual([
      'workflows.service_created',
      'workflows.service_changed',
      'workflows.signing_secret_rotated',
      'workflows.repriced',
    ]);
    expect(JSON.stringify(rows)).not.toContain(secret.replace('whsec_', ''));
  });

  test('one that is not there is a 404', async () => {
    const nobody = '/v1/admin/services/svc_00000000000000000000000000';
    for (const [method, path, body] of [
      ['GET', nobody, undefined],
      ['PATCH', nobody, { active: false }],
      ['POST', `${nobody}/signing-secrets`, undefined],
      ['POST', `${nobody}/reprice-workflows`, { reason: 'x' }],
    ] as const) {
      const reply = await stage.operator.call(method, path, { body });
      expect(reply.body.code, `${method} ${path}`).toBe('not_found');
    }
  });
});

describe('signing secrets', () => {
  const verifies = (secret: string, call: { body: string; headers: object }) => {
    try {
      new Webhook(secret).verify(call.body, call.headers as Record<string, string>);
      return true;
    } catch {
      return false;
    }
  };

  test('while one is being replaced both sign, and a third party accepts either; the one before is void', async () => {
    const service = await stage.offer('/rotated');
    stage.executor.expectSecret(service.signing_secret, '/rotated');
    stage.executor.behave((run) => (run.path === '/rotated' ? { json: 'done' } : undefined));
    const customer = await stage.customer(100);
    const workflow = await workflowOf(customer, service);
    const call = async () => {
      const run = await ended(customer, await accepted(customer, workflow));
      expect(run.state).toBe('succeeded');
      const seen = stage.executor.runs.find((one) => one.runId === run.id);
      return { body: seen?.body ?? '', headers: seen?.headers ?? {} };
    };
    const rotate = async () =>
      (await stage.operator.ok('POST', `/v1/admin/services/${service.id}/signing-secrets`)).signing_secret;

    const old = service.signing_secret;
    expect(verifies(old, await call())).toBe(true);
    const second = await rotate();
    const both = await call();
    expect([verifies(old, both), verifies(second, both)]).toEqual([true, true]);
    expect(verifies(old, { ...both, body: `${both.body} ` })).toBe(false);

    const third = await rotate();
    stage.executor.expectSecret(third, '/rotated');
    const after = await call();
    expect([verifies(old, after), verifies(second, after), verifies(third, after)]).toEqual([false, true, true]);
  });

  test('the former one signs for a day', async () => {
    const service = await stage.offer('/echo');
    const { signing_secret: second } = await stage.operator.ok(
      'POST',
      `/v1/admin/services/${service.id}/signing-secrets`,
    );
    const id = fromWire('service', service.id);
    const [row] = await stage.root`select signing_secret from workflows.services where id = ${id}`;
    const vault = createVault([{ id: 'k1', key: Buffer.alloc(32, 7) }]);
    const signing = () => signingSecretsOf(vault, { id, signingSecret: row?.['signing_secret'] });
    const hours = (n: number) => new Date(Date.now() + n * 3_600_000);
    onTestFinished(() => void vi.useRealTimers());
    expect(signing()).toEqual([second, service.signing_secret]);
    vi.useFakeTimers({ toFake: ['Date'], now: hours(23.9) });
    expect(signing()).toHaveLength(2);
    vi.setSystemTime(hours(0.2));
    expect(signing()).toEqual([second]);
  });
});
