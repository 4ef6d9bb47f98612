import { afterAll, beforeAll, expect, test } from 'vitest';
import { fromWire } from '../../src/platform/ids.ts';
import type { Client } from '../harness/client.ts';
import { accepted, ended, eventsOf, movesOf, openStage, type Stage, workflowOf } from './stage.ts';

/** Where runs are posted to: refused when it is written down, and again at the call. */

let stage: Stage;
let customer: Client;
beforeAll(async () => {
  stage = await openStage();
  customer = await stage.customer(1_000);
});
afterAll(() => stage.close());

/** Addresses of this installation's own inside. */
const inside = () => {
  const { port } = new URL(stage.farebox.database.appUrl);
  return [
    `http://127.0.0.1:${port}/`,
    `https://127.0.0.1:${port}/`,
    `https://localhost:${port}/`,
    `${stage.farebox.internalUrl}/v1/admin/services`,
    `${stage.farebox.url}/v1/webhooks/omise`,
    `${stage.farebox.omise.url}/charges`,
    `http://127.0.0.1:${stage.executor.port + 1}/`,
    `http://localhost:${stage.executor.port}/`,
    'https://169.254.169.254/latest/meta-data/',
  ];
};

test('the inside of the installation is refused at the write, in a new service and in a change', async () => {
  const service = await stage.offer('/echo');
  for (const endpoint of inside()) {
    const made = await stage.operator.post('/v1/admin/services', { name: 'x', credit_cost: 1, executor: { endpoint } });
    const changed = await stage.operator.call('PATCH', `/v1/admin/services/${service.id}`, {
      body: { executor: { endpoint } },
    });
    for (const { body } of [made, changed]) {
      expect(body, endpoint).toMatchObject({
        status: 422,
        code: 'endpoint_refused',
        errors: [{ pointer: '/executor/endpoint', code: 'endpoint_refused' }],
      });
    }
  }
  expect((await stage.operator.get(`/v1/admin/services/${service.id}`)).body.executor).toEqual(service.executor);
});

test('one that came to be there in another way is not called: the run fails, and the credits come back', async () => {
  const service = await stage.offer('/echo');
  const workflow = await workflowOf(customer, service);
  for (const endpoint of [...inside(), 'http://example.com/', 'https://user:pw@example.com/']) {
    await stage.root`update workflows.services set endpoint = ${endpoint} where id = ${fromWire('service', service.id)}`;
    const run = await ended(customer, await accepted(customer, workflow));
    expect(run, endpoint).toMatchObject({
      state: 'failed',
      attempt: 1,
      returned: 10,
      failure: { code: 'executor_blocked' },
    });
    expect(run.failure.message).not.toMatch(/127\.0\.0\.1|169\.254|localhost|example|pw/);
    expect(await movesOf(stage.root, run)).toEqual(['spend 10', 'return 10']);
    expect(await eventsOf(stage.root, run)).toEqual(['queued', 'dispatched', 'failed']);
  }
});

test('a redirect into the inside is not followed', async () => {
  const to = `${stage.farebox.internalUrl}/metrics`;
  const service = await stage.offer(`/redirect?to=${encodeURIComponent(to)}`);
  const run = await ended(customer, await accepted(customer, await workflowOf(customer, service)));
  expect(run).toMatchObject({ state: 'failed', output: null, failure: { code: 'executor_redirected' } });
});
