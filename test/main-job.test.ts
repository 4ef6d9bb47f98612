import { expect, test } from 'vitest';
import { startExecutor } from '../sandbox/executor/server.ts';
import { eventually, newCustomer, newOperator } from './harness/client.ts';
import { fareboxForTest } from './harness/farebox.ts';

test('the main job, by HTTP only', async () => {
  const executor = await startExecutor();
  const farebox = await fareboxForTest({ env: { EGRESS_ALLOW: `127.0.0.1:${executor.port}` } });
  const operator = await newOperator(farebox);
  const one = await operator.ok('POST', '/v1/admin/packages', {
    body: { name: 'Starter', credits: 500, price: 50_000 },
  });
  const service = await operator.ok('POST', '/v1/admin/services', {
    body: { name: 'Summarize', credit_cost: 120, executor: { endpoint: `${executor.url}/summarize` } },
  });
  executor.expectSecret(service.signing_secret, '/summarize');
  const customer = await newCustomer(farebox);
  const purchase = await customer.ok('POST', '/v1/purchases', {
    body: { package_id: one.id, method: { type: 'promptpay' } },
  });
  const [charge] = farebox.omise.control.charges();
  farebox.omise.control.pay(String(charge?.['id']));
  await eventually(
    () => customer.ok('GET', `/v1/purchases/${purchase.id}`),
    (p) => p.status === 'completed',
  );
  const workflow = await customer.ok('POST', '/v1/workflows', { body: { service_id: service.id, name: 'Mine' } });
  const started = await customer.post(`/v1/workflows/${workflow.id}/runs`, { input: { text: 'One. Two. Three.' } });
  const run = await eventually(
    () => customer.ok('GET', `/v1/runs/${started.body.run.id}`),
    (r) => r.finished_at !== null,
  );
  expect(run.state).toBe('succeeded');
  await executor.close();
});
