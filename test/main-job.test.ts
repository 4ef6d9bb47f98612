import { randomUUID } from 'node:crypto';
import { expect, test } from 'vitest';
import { startExecutor } from '../sandbox/executor/server.ts';
import { clientOf, eventually, type Json, newOperator, PASSWORD } from './harness/client.ts';
import { fareboxForTest } from './harness/farebox.ts';

// REQ E1.1, E1.2, E2.1, E2.2, E3.1, E3.2, E3.5, E4.2, E4.3, E4.5, E5.1, E5.2
test('the main job: register, buy credits by PromptPay, run a workflow, all of it by HTTP', async () => {
  const executor = await startExecutor();
  const farebox = await fareboxForTest({ env: { EGRESS_ALLOW: `127.0.0.1:${executor.port}` } });
  const operator = await newOperator(farebox);
  const pack = await operator.ok('POST', '/v1/admin/packages', {
    body: { name: 'Starter', credits: 500, price: 50_000 },
  });
  const offer = { name: 'Summarize', credit_cost: 120, executor: { endpoint: `${executor.url}/summarize` } };
  const service = await operator.ok('POST', '/v1/admin/services', { body: offer });
  executor.expectSecret(service.signing_secret, '/summarize');

  // 1. A customer registers and logs in.
  const stranger = clientOf(farebox.url);
  const credentials = { email: 'ada@example.com', password: PASSWORD };
  const account = await stranger.ok('POST', '/v1/auth/register', { body: credentials });
  const session = await stranger.ok('POST', '/v1/auth/login', { body: credentials });
  const ada = clientOf(farebox.url, { token: session.access_token, accountId: account.id });
  expect(await ada.ok('GET', '/v1/me')).toEqual(account);

  // 4a. A workflow from the catalogue; its run is refused before it is paid for, and nothing has happened.
  const [listed] = (await ada.ok('GET', '/v1/services')).data;
  expect(listed).toMatchObject({ id: service.id, name: 'Summarize', credit_cost: 120 });
  const workflow = await ada.ok('POST', '/v1/workflows', { body: { service_id: listed.id, name: 'Mine' } });
  expect((await ada.ok('GET', '/v1/workflows')).data).toMatchObject([{ name: 'Mine', credit_cost: 120 }]);
  const key = randomUUID();
  const order = { input: { text: 'Paid before it runs. Never twice. Never lost.' } };
  const refused = await ada.post(`/v1/workflows/${workflow.id}/runs`, order, { key });
  expect(refused.status).toBe(402);
  expect(refused.body).toMatchObject({
    code: 'insufficient_credits',
    required: 120,
    available: 0,
    shortfall: 120,
    currency: 'credit',
  });
  expect(refused.body.pay_with[0]).toMatchObject({ package_id: pack.id, credits: 500, price: 50_000 });
  expect((await ada.ok('GET', '/v1/runs')).data).toEqual([]);
  expect(executor.runs).toEqual([]);

  // 2. The customer picks a package; a charge exists at Omise, and its QR code is shown.
  const bought = await ada.post('/v1/purchases', { package_id: pack.id, method: { type: 'promptpay' } });
  expect(bought.status).toBe(201);
  expect(bought.body).toMatchObject({
    status: 'pending',
    credits: 500,
    price: 50_000,
    currency: 'THB',
    livemode: false,
  });
  const image = await fetch(bought.body.qr_url);
  expect(image.headers.get('content-type')).toMatch(/^image\//);
  const [charge] = farebox.omise.control.charges() as Json[];
  expect(charge).toMatchObject({ amount: 50_000, status: 'pending', source: { type: 'promptpay' } });

  // 3. The customer pays; Omise calls the webhook, signed; the charge is read back; the credits are there.
  farebox.omise.control.pay(charge.id);
  const paid = await eventually(
    () => ada.ok('GET', `/v1/purchases/${bought.body.id}`),
    ({ status }) => status === 'completed',
  );
  expect(paid.completed_at).not.toBeNull();
  expect(farebox.omise.control.calls()['POST /charges']).toBe(1);
  expect(await ada.ok('GET', '/v1/credits/balance')).toMatchObject({ available: 500, held: 0, debt: 0 });

  // 4b. The same request with the same key: deducted, recorded and queued.
  const started = await ada.post(`/v1/workflows/${workflow.id}/runs`, order, { key });
  expect(started.status).toBe(202);
  expect(started.body).toMatchObject({ run: { state: 'queued', cost: 120 }, balance: { available: 380 } });
  expect(started.headers.get('location')).toBe(`/v1/runs/${started.body.run.id}`);

  // 5. The executor was called, signed, once; the result is on the run.
  const run = await eventually(
    () => ada.ok('GET', `/v1/runs/${started.body.run.id}`),
    ({ finished_at }) => finished_at !== null,
  );
  expect(run).toMatchObject({ state: 'succeeded', attempt: 1, returned: 0, failure: null, output: { words: 8 } });
  expect(executor.runs).toMatchObject([{ signature: 'valid', runId: run.id, attempt: 1 }]);
  expect(await ada.ok('GET', '/v1/credits/balance')).toMatchObject({ available: 380 });
  expect((await ada.ok('GET', '/v1/credits/transfers')).data).toMatchObject([
    { seq: 2, kind: 'spend', amount: 120, available_after: 380, cause: { type: 'run', id: run.id } },
    { seq: 1, kind: 'purchase', amount: 500, available_after: 500, cause: { type: 'purchase', id: paid.id } },
  ]);
  const stream = await ada.get(`/v1/runs/${run.id}/events`);
  expect([...stream.text.matchAll(/^event: (.+)$/gm)].map(([, type]) => type)).toEqual([
    'workflows.run_queued',
    'workflows.run_dispatched',
    'workflows.run_succeeded',
  ]);
  await executor.close();
});

// REQ E4.4, E8.2
test('a run whose executor fails for good gives its credits back, once', async () => {
  const executor = await startExecutor();
  const farebox = await fareboxForTest({ env: { EGRESS_ALLOW: `127.0.0.1:${executor.port}` } });
  const operator = await newOperator(farebox);
  const offer = { name: 'Broken', credit_cost: 30, executor: { endpoint: `${executor.url}/refuse` } };
  const service = await operator.ok('POST', '/v1/admin/services', { body: offer });
  const customer = clientOf(farebox.url, operator);
  await operator.ok('POST', `/v1/admin/accounts/${operator.accountId}/grants`, {
    body: { credits: 100, reason: 'to try it' },
  });
  const workflow = await customer.ok('POST', '/v1/workflows', { body: { service_id: service.id, name: 'Mine' } });
  const { run } = await customer.ok('POST', `/v1/workflows/${workflow.id}/runs`, { body: {} });
  const failed = await eventually(
    () => customer.ok('GET', `/v1/runs/${run.id}`),
    ({ finished_at }) => finished_at !== null,
  );
  expect(failed).toMatchObject({ state: 'failed', cost: 30, returned: 30, failure: { code: 'executor_refused' } });
  expect(await customer.ok('GET', '/v1/credits/balance')).toMatchObject({ available: 100 });
  expect((await customer.ok('GET', '/v1/credits/transfers')).data.map(({ kind }: Json) => kind)).toEqual([
    'return',
    'spend',
    'grant',
  ]);
  await executor.close();
});
