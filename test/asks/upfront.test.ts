import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually, type Json } from '../harness/client.ts';
import { available, books, eventsOf, grant, runOf } from '../workflows/stage.ts';
import { type AskStage, askOf, movesOf, openAskStage, pay } from './stage.ts';

let stage: AskStage;
beforeAll(async () => {
  stage = await openAskStage({ env: { WORKERS: 'off' } });
});
afterAll(() => stage.close());

const upfront = { mode: 'upfront' };

// REQ V1 V6 V10
test('with enough credits a run that is to be paid upfront is paid and queued by one transaction', async () => {
  const { who, start } = await stage.party(upfront, { credits: 100 });
  const reply = await start({ payment: 'upfront' });
  expect(reply.status, reply.text).toBe(202);
  const { run, balance } = reply.body;
  expect(balance).toMatchObject({ available: 70, held: 0 });
  expect(run).toMatchObject({
    state: 'queued',
    payment: { mode: 'upfront', state: 'paid', paid: 30, due: 0, parts: null, info: null },
  });
  expect(await movesOf(stage, run)).toEqual(['hold 30', 'capture 30']);
  expect(await eventsOf(stage.root, run)).toEqual(['queued']);
  const ask = await stage.ask(who, run.payment.ask_id);
  expect(ask).toMatchObject({ run_id: run.id, seq: 1, kind: 'start', state: 'paid', amount: 30, due: 0, pay_with: [] });
  expect(ask.settlements).toMatchObject([{ rail: 'credits', credits: 30, taken: 30, released: 0, returned: 0 }]);
  const [row] = await stage.root`
    select count(distinct t.xmin::text)::int as n from credits.transfers t, workflows.runs r, workflows.asks a
    where t.ref_type = 'settlement' and t.account_id = r.account_id and a.run_id = r.id and t.xmin = r.xmin and r.xmin = a.xmin
      and r.created_at = t.created_at`;
  expect(row).toEqual({ n: 1 });
});

describe('with too few credits', () => {
  // REQ V6 V10
  test('402 leads to an ask, and nothing starts before it is paid', async () => {
    const { who, start } = await stage.party(upfront, { credits: 12 });
    const refused = await start({ payment: 'upfront' });
    expect(refused.headers.get('content-type')).toContain('application/problem+json');
    expect(refused.body).toMatchObject({
      status: 402,
      code: 'payment_required',
      amount: 30,
      currency: 'credit',
      available: 12,
      shortfall: 18,
      state: 'open',
      pay_with: [{ rail: 'credits', amount: 30, method: 'POST', body: { rail: 'credits' } }],
    });
    const ask = askOf(refused);
    const run = await runOf(who, { id: ask.run_id });
    expect(run).toMatchObject({
      state: 'awaiting_payment',
      payment: { state: 'open', paid: 0, due: 30, ask_id: ask.id },
      started_at: null,
    });
    expect(await available(who)).toBe(12);
    const [queued] =
      await stage.root`select count(*)::int as n from workflows.runs where state = 'queued' and attempt = 0
      and account_id = (select account_id from workflows.asks order by created_at desc limit 1)`;
    expect(queued).toEqual({ n: 0 });
    const short = await pay(who, ask);
    expect([short.status, short.body.code, short.body.ask_id]).toEqual([402, 'payment_required', ask.id]);
    await grant(stage.operator, who, 18);
    const [way] = refused.body.pay_with;
    const paid = await who.call(way.method, way.href, { body: way.body, key: 'pay-it' });
    expect([paid.status, paid.body.state, paid.body.due]).toEqual([200, 'paid', 0]);
    expect(await runOf(who, run)).toMatchObject({ state: 'queued', payment: { state: 'paid', paid: 30, due: 0 } });
    expect(await available(who)).toBe(0);
    expect(await eventsOf(stage.root, run)).toEqual(['awaiting_payment', 'queued']);
  });

  test('without a word about payment a plain service answers as ever, and keeps nothing', async () => {
    const { who, start } = await stage.party(upfront, { credits: 12 });
    const before = await books(stage.root, who);
    expect((await start()).body).toMatchObject({ status: 402, code: 'insufficient_credits', shortfall: 18 });
    expect(await books(stage.root, who)).toEqual(before);
    expect((await who.ok('GET', '/v1/asks')).data).toEqual([]);
  });

  test('the same request again pays it as soon as the credits are there; one run, however often', async () => {
    const { who, start } = await stage.party(upfront, { credits: 12 });
    const order = () => start({ payment: 'upfront' }, 'until-it-works');
    const [first, second] = [await order(), await order()];
    expect([first.status, second.status]).toEqual([402, 402]);
    expect(second.body.ask_id).toBe(first.body.ask_id);
    await grant(stage.operator, who, 100);
    const [third, fourth] = [await order(), await order()];
    expect([third.status, fourth.status]).toEqual([202, 202]);
    expect(fourth.headers.get('idempotent-replayed')).toBe('true');
    expect([third.body.run.id, fourth.body.run.id]).toEqual([first.body.run_id, first.body.run_id]);
    expect(await available(who)).toBe(82);
    expect((await start({ payment: 'upfront', max_price: 99 }, 'until-it-works')).body.code).toBe(
      'idempotency_key_reused',
    );
  });

  test('ten at once with one key make one run and one ask', async () => {
    const { who, start } = await stage.party(upfront);
    const replies = await Promise.all(Array.from({ length: 10 }, () => start({ payment: 'upfront' }, 'all-at-once')));
    expect(new Set(replies.map(({ status, body }) => `${status} ${body.ask_id}`)).size).toBe(1);
    expect((await who.ok('GET', '/v1/asks')).data).toHaveLength(1);
  });

  test('paid ten times at once, by any keys, it takes its price once', async () => {
    const { who, start } = await stage.party(upfront);
    const ask = askOf(await start({ payment: 'upfront' }));
    await grant(stage.operator, who, 100);
    const replies = await Promise.all(Array.from({ length: 10 }, () => pay(who, ask)));
    expect(replies.map(({ status, body }) => `${status} ${body.state}`)).toEqual(Array(10).fill('200 paid'));
    expect(await available(who)).toBe(70);
  });

  test('two asks that one balance can pay once: one is paid', async () => {
    const { who, start } = await stage.party(upfront);
    const asks = [askOf(await start({ payment: 'upfront' })), askOf(await start({ payment: 'upfront' }))];
    await grant(stage.operator, who, 45);
    const replies = await Promise.all(asks.map((ask) => pay(who, ask)));
    expect(replies.map(({ status }) => status).toSorted()).toEqual([200, 402]);
    expect(await available(who)).toBe(15);
  });
});

describe('refused, and nothing is kept', () => {
  test.each([
    ['a bid below the price', { max_price: 29 }, 402, 'price_above_max', { amount: 30, max_price: 29 }],
    ['another cost was expected', { payment: 'upfront', expected_cost: 31 }, 409, 'price_changed', { cost: 30 }],
    ['a service that is not paid afterwards', { payment: 'after' }, 422, 'payment_mode_unavailable', {}],
    ['a way to pay that is none', { payment: 'never' }, 422, 'validation_failed', {}],
    ['a bid of nothing', { max_price: 0 }, 422, 'validation_failed', {}],
    ['a bid that is text', { max_price: '30' }, 422, 'validation_failed', {}],
    ['an input that does not fit', { payment: 'upfront', input: { n: 'x' } }, 422, 'input_invalid', {}],
  ])('%s', async (_, body, status, code, more) => {
    const terms = { credits: 100, input_schema: { properties: { n: { type: 'integer' } } } };
    const { who, start } = await stage.party(upfront, terms);
    const before = await books(stage.root, who);
    expect((await start(body)).body).toMatchObject({ status, code, ...more });
    expect(await books(stage.root, who)).toEqual(before);
  });

  test("another's workflow, one that is gone, a service that is closed", async () => {
    const { who, service, workflow } = await stage.party(upfront, { credits: 100 });
    const stranger = await stage.customer(100);
    const tell = async (by: typeof who, id = workflow.id) => {
      const reply = await by.post(`/v1/workflows/${id}/runs`, { payment: 'upfront' });
      return [reply.status, reply.body.code];
    };
    expect(await tell(stranger)).toEqual([403, 'not_workflow_owner']);
    expect(await tell(who, 'wf_00000000000000000000000000')).toEqual([404, 'workflow_not_found']);
    await stage.operator.ok('PATCH', `/v1/admin/services/${service.id}`, { body: { active: false } });
    expect(await tell(who)).toEqual([409, 'service_inactive']);
  });

  test("an ask of somebody else's, and a rail that the service does not take", async () => {
    const { who, start } = await stage.party(upfront);
    const ask = askOf(await start({ payment: 'upfront' }));
    const stranger = await stage.customer(100);
    expect((await pay(stranger, ask)).status).toBe(404);
    expect((await stranger.get(`/v1/asks/${ask.id}`)).status).toBe(404);
    const refused = await pay(who, ask, { rail: 'omise' });
    expect(refused.body).toMatchObject({ status: 422, code: 'method_unavailable', errors: [{ pointer: '/rail' }] });
  });
});

// REQ V1
test('a service that is no longer paid upfront leaves what was started before as it was', async () => {
  const { who, service, workflow, start } = await stage.party(upfront, { credits: 100 });
  const first = await start({}, 'a-plain-one');
  const later = { mode: 'after', after: { max_unpaid_runs: 5 } };
  await stage.operator.ok('PATCH', `/v1/admin/services/${service.id}`, { body: { payment: later } });
  const again = await start({}, 'a-plain-one');
  expect([again.status, again.text]).toEqual([202, first.text]);
  const after = await start({}, 'one-on-the-tab');
  expect(after.body.run.payment).toMatchObject({ mode: 'after', state: 'none', paid: 0 });
  await stage.operator.ok('PATCH', `/v1/admin/services/${service.id}`, { body: { payment: upfront } });
  const known = await start({}, 'one-on-the-tab');
  expect([known.status, known.body.run.id]).toEqual([202, after.body.run.id]);
  const plain = await who.post(`/v1/workflows/${workflow.id}/runs`, {});
  expect(plain.body.run.payment).toMatchObject({ mode: 'upfront', paid: 30 });
});

test('lists: own asks, newest first, by run and by state', async () => {
  const { who, start } = await stage.party(upfront);
  const made: Json[] = [];
  for (let n = 0; n < 3; n += 1) made.push(askOf(await start({ payment: 'upfront' })));
  const ids = async (query: string) => (await who.ok('GET', `/v1/asks?${query}`)).data.map((ask: Json) => ask.id);
  expect(await ids('')).toEqual(made.map(({ id }) => id).toReversed());
  expect(await ids(`run_id=${made[1].run_id}`)).toEqual([made[1].id]);
  expect(await ids('state=paid')).toEqual([]);
  const { next_cursor: cursor } = await who.ok('GET', '/v1/asks?limit=2');
  expect(await ids(`limit=2&starting_after=${cursor}`)).toEqual([made[0].id]);
  expect((await who.get(`/v1/asks?starting_after=${cursor}x`)).body.code).toBe('invalid_cursor');
});

test('no more than a hundred runs of an account wait for their payment', async () => {
  const { who, start } = await stage.party(upfront);
  const replies = await Promise.all(Array.from({ length: 104 }, () => start({ payment: 'upfront' })));
  const told = replies.map(({ body }) => body.code).toSorted();
  expect(told.filter((code) => code === 'payment_required')).toHaveLength(100);
  expect(told.filter((code) => code === 'too_many_unpaid')).toHaveLength(4);
  await grant(stage.operator, who, 30);
  expect((await start({ payment: 'upfront' })).status, 'with the credits it does not wait').toBe(202);
  const [, first] = (await who.ok('GET', '/v1/asks')).data;
  await who.ok('POST', `/v1/runs/${first.run_id}/cancel`);
  expect((await start({ payment: 'upfront' })).body.code).toBe('payment_required');
  await eventually(
    () => stage.ask(who, first.id),
    (ask) => ask.state === 'released',
  );
});
