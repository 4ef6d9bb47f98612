import { afterAll, beforeAll, expect, test } from 'vitest';
import { startsMoney } from '../../src/platform/http/access.ts';
import { fromWire } from '../../src/platform/ids.ts';
import { type Client, clientOf, eventually, type Json } from '../harness/client.ts';
import type { TestFarebox } from '../harness/farebox.ts';
import { expectProblem } from '../harness/problems.ts';
import { type Shop, shopOf } from '../payments/shop.ts';
import { accepted, openStage, replicaOf, type Stage, startRun, workflowOf } from '../workflows/stage.ts';
import { LIVE_CHECKS, tellOfOperator } from './lived-in.ts';

/** Operators ask for audits; with AUDIT_HALT one that finds money wrong stops what is new. Two replicas, one books. */

let stage: Stage;
let shop: Shop;
let other: TestFarebox;
let ada: Client;
/** Somebody who does nothing, so that what is wrong with it stays as it is. */
let victim: Client;
let workflow: Json;
beforeAll(async () => {
  const env = { AUDIT_HALT: 'true', AUDIT_EXCEPT: 'D03', AUDIT_EVERY_MIN: '0' };
  stage = await openStage({ env });
  shop = await shopOf(stage.farebox);
  for (const operator of [stage.operator, shop.operator]) await tellOfOperator(stage.root, operator);
  other = await replicaOf(stage, { WORKERS: 'off' });
  const webhooks = `${stage.farebox.url}/v1/webhooks/omise`;
  stage.farebox.omise.control.account({ webhook_uri: webhooks }); // and not to the replica
  ada = await stage.customer(1000);
  victim = await stage.customer(10);
  workflow = await workflowOf(ada, await stage.offer('/async-silent'));
});
afterAll(async () => {
  await other.stop();
  await shop.stop();
  await stage.close();
});

const read = () => stage.operator.ok('GET', '/v1/admin/audit');
let asked = 0;
/** Asks for an audit, and waits for what it found: the ids of what is broken. */
async function audited(operator = stage.operator): Promise<string[]> {
  asked += 1;
  const reply = await operator.call('POST', '/v1/admin/audit');
  expect(reply.status).toBe(202);
  expect(reply.headers.get('location')).toBe('/v1/admin/audit');
  const kept = async () => Number((await stage.root`select count(*) as n from platform.audits`)[0]?.['n']);
  await eventually(kept, (n) => n === asked);
  const { last } = await read();
  return last.checks.filter((one: Json) => one.offending > 0).map((one: Json) => one.id);
}
const raise = (by: number) =>
  stage.root`update credits.accounts set available = available + ${by} where account_id = ${fromWire('account', victim.accountId)}`;
const clear = (body: Json = { reason: 'it was me' }) => stage.operator.post('/v1/admin/audit/clear', body);
const metric = async (name: string, { internalUrl }: { internalUrl: string } = stage.farebox) => {
  const text = await (await fetch(`${internalUrl}/metrics`)).text();
  return text
    .split('\n')
    .find((line) => line.startsWith(`${name} `))
    ?.split(' ')[1];
};

test('before the first audit there is none to tell of', async () => {
  expect(await read()).toEqual({ object: 'audit', status: 'idle', halted: false, last: null });
  expect(await metric('farebox_audit_age_seconds')).toBeUndefined();
});

test('an operator asks for an audit, at either replica, and reads what it found; so does the monitoring', async () => {
  expect(await audited()).toEqual([]);
  const { last, halted } = await read();
  expect([last.sound, halted]).toEqual([true, false]);
  expect(last.checks.find(({ id }: Json) => id === 'L07')).toMatchObject({
    ...{
      rule: expect.stringMatching(/^Balances after/),
      over: 'transfers',
      checked: 2,
      offending: 0,
      examples: [],
      money: true,
    },
  });
  expect(last.checks).toHaveLength(LIVE_CHECKS);
  expect(Number(await metric('farebox_audit_age_seconds'))).toBeLessThan(30);
  expect(await metric('farebox_audit_offending{invariant="L03"}')).toBe('0');
  const there = clientOf(other.internalUrl, { token: stage.operator.token });
  expect(await audited(there), 'also where no worker is').toEqual([]);
  const rows = await stage.root`select action from platform.audit_log where action like 'platform.audit%'`;
  expect(rows.map(({ action }) => action)).toEqual(['platform.audit_asked', 'platform.audit_asked']);
});

// REQ E6.5
test('money that is found wrong stops new purchases, payments and runs in every replica, until an operator clears it', async () => {
  const { run } = (await startRun(ada, workflow)).body;
  const link = await shop.buy(ada, { type: 'payment_link' });
  const paid = await shop.buy(ada);
  await raise(5);
  expect(await audited()).toEqual(['L03']);
  expect(await read()).toMatchObject({ halted: true, last: { sound: false } });
  expect((await read()).last.checks[0], 'what is broken comes first').toMatchObject({ id: 'L03', offending: 1 });

  const there = clientOf(other.url, ada);
  const refused = (reply: Parameters<typeof expectProblem>[0]) => {
    expectProblem(reply, 'audit_halt');
    expect(reply.headers.get('retry-after')).toBe('60');
  };
  const order = { package_id: shop.pack.id, method: { type: 'promptpay' } };
  refused(await startRun(ada, workflow));
  refused(await ada.post('/v1/purchases', order));
  await eventually(
    () => startRun(there, workflow),
    ({ status }) => status === 503,
  );
  refused(await startRun(there, workflow));
  refused(await there.post('/v1/purchases', order));
  const form = await fetch(`${link.status_url}/pay`, {
    method: 'POST',
    body: new URLSearchParams({ method: 'promptpay' }),
  });
  expect(form.status).toBe(503);

  // What is under way goes on, and so does whoever mends it.
  await ada.ok('POST', `/v1/runs/${run.id}/cancel`);
  shop.omise.pay(shop.chargeOf(paid));
  await eventually(
    () => ada.ok('GET', `/v1/purchases/${paid.id}`),
    ({ status }) => status === 'completed',
  );
  await stage.operator.ok('POST', `/v1/admin/accounts/${ada.accountId}/adjustments`, {
    body: { credits: 1, reason: 'x' },
  });
  expect((await ada.get('/v1/credits/balance')).status).toBe(200);
  expect(await metric('farebox_audit_halted')).toBe('1');
  const [alarm] = await stage.root`select actor, detail from platform.audit_log where action = 'security.audit_broken'`;
  expect(alarm).toEqual({ actor: 'worker:self-audit', detail: '{"offending":{"L03":1},"halts":true}' });

  expect((await clear({})).status).toBe(422);
  expect((await clear()).body).toMatchObject({ object: 'audit', halted: false });
  expectProblem(await clear(), 'conflict');
  await accepted(ada, workflow);
  await eventually(
    () => startRun(there, workflow),
    ({ status }) => status === 202,
  );
  const [decision] =
    await stage.root`select actor, detail from platform.audit_log where action = 'platform.audit_cleared'`;
  expect(decision).toEqual({ actor: fromWire('account', stage.operator.accountId), detail: '{"reason":"it was me"}' });
});

test('what an operator has seen and cleared does not stop it again; more of it does, and what comes back after it was mended', async () => {
  expect(await audited()).toEqual(['L03']);
  expect((await read()).halted, 'seen and cleared').toBe(false);
  const bob = await stage.customer(10);
  await stage.root`update credits.accounts set held = held + 1 where account_id = ${fromWire('account', bob.accountId)}`;
  expect(await audited()).toEqual(['L03']);
  expect((await read()).halted, 'two accounts are more than one').toBe(true);
  await clear();
  await stage.root`update credits.accounts set held = 0`;
  await raise(-5);
  expect(await audited()).toEqual([]);
  expect((await read()).halted).toBe(false);
  await raise(5);
  expect(await audited()).toEqual(['L03']);
  expect((await read()).halted, 'it was mended, and is back').toBe(true);
});

test('a replica that is started while it is stopped refuses from its first request on', async () => {
  const late = await replicaOf(stage);
  const careless = await replicaOf(stage, { AUDIT_HALT: 'false' });
  expectProblem(await startRun(clientOf(late.url, ada), workflow), 'audit_halt');
  expect((await startRun(clientOf(careless.url, ada), workflow)).status, 'without AUDIT_HALT').toBe(202);
  await Promise.all([late.stop(), careless.stop()]);
  await clear();
  await raise(-5);
});

test('what is wrong without being about money stops nothing', async () => {
  await stage.root`insert into identity.accounts (id, email, role) values (gen_random_uuid(), 'mallory@example.com', 'operator')`;
  expect(await audited()).toEqual(['I05']);
  expect(await read()).toMatchObject({ halted: false, last: { sound: false } });
  await accepted(ada, workflow);
});

test('only routes that put new money on its way are stopped, and all of them', async () => {
  const config = (access: string, idempotency: string, rate = 'money') => ({ access, idempotency, rate });
  const starts = (method: string, one: object) => startsMoney({ method, routeOptions: { config: one } } as never);
  expect(starts('POST', config('runs:write', 'required'))).toBe(true);
  expect(starts('POST', config('anyone', 'none')), 'the payment of a link').toBe(true);
  expect(starts('POST', config('runs:write', 'accepted')), 'a cancellation').toBe(false);
  expect(starts('POST', config('operator', 'required')), 'a correction').toBe(false);
  expect(starts('POST', config('signed', 'none', 'webhook')), 'what the provider tells').toBe(false);
  expect(starts('GET', config('anyone', 'none'))).toBe(false);
});
