import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Client, eventually, type Json } from '../harness/client.ts';
import { listen } from '../workflows/event-stream.ts';
import { available, books, ended, eventsOf, grant, hurriedToEnd, runOf } from '../workflows/stage.ts';
import { type AskStage, askOf, movesOf, openAskStage, type Party, pay } from './stage.ts';

let stage: AskStage;
beforeAll(async () => {
  stage = await openAskStage();
});
afterAll(() => stage.close());

const after = (more: Json = {}) => ({ mode: 'after', after: { credit_limit: 100, max_unpaid_runs: 2, ...more } });

/** A run that is done, and its ask. */
async function done({ who, start }: Party, body: Json = {}): Promise<{ run: Json; ask: Json }> {
  const reply = await start(body);
  expect(reply.status, reply.text).toBe(202);
  const run = await ended(who, reply.body.run);
  return { run, ask: { id: run.payment.ask_id } };
}

const tabOf = async (who: Client): Promise<Json> => {
  const [tab] = await stage.root`
    select t.runs, t.credits::int, t.written_off::int from workflows.tabs t join identity.accounts a on a.id = t.account_id
    where a.email = ${who.email}`;
  return tab;
};

// REQ V1 V6 V10
test('a run starts without a credit, and its result comes with what is due', async () => {
  const party = await stage.party(after());
  const { run, ask } = await done(party, { input: { n: 1 } });
  expect(run).toMatchObject({
    state: 'succeeded',
    output: { echo: { n: 1 } },
    payment: { mode: 'after', state: 'open', paid: 0, due: 30 },
  });
  expect(await stage.ask(party.who, ask.id)).toMatchObject({ kind: 'result', state: 'open', due: 30 });
  expect(await tabOf(party.who)).toEqual({ runs: 1, credits: 30, written_off: 0 });
  expect((await pay(party.who, ask)).body.code).toBe('payment_required');
  await grant(stage.operator, party.who, 50);
  expect((await pay(party.who, ask)).body).toMatchObject({ state: 'paid', due: 0 });
  expect(await runOf(party.who, run)).toMatchObject({
    state: 'succeeded',
    payment: { state: 'paid', paid: 30, due: 0 },
  });
  expect(await movesOf(stage, run)).toEqual(['hold 30', 'capture 30']);
  expect(await available(party.who)).toBe(20);
  expect(await tabOf(party.who)).toEqual({ runs: 0, credits: 0, written_off: 0 });
  expect(await eventsOf(stage.root, run)).toEqual(['queued', 'dispatched', 'succeeded', 'paid']);
});

test('its stream goes on until it is paid', async () => {
  const party = await stage.party(after());
  const { run, ask } = await done(party);
  const follow = (last?: string) => listen(party.who, stage.farebox.url, `/v1/runs/${run.id}/events`, last);
  const stream = await follow();
  await eventually(
    async () => stream.events,
    (told) => told.at(-1)?.type === 'succeeded',
  );
  await grant(stage.operator, party.who, 30);
  await pay(party.who, ask);
  await stream.over;
  expect(stream.events.map(({ type }) => type)).toEqual(['queued', 'dispatched', 'succeeded', 'paid']);
  expect((await follow(stream.events.at(-1)?.id)).status).toBe(204);
});

// REQ V6 V10
test.each([
  ['two runs at most', { credit_limit: 1_000, max_unpaid_runs: 2 }],
  ['sixty credits at most', { credit_limit: 89, max_unpaid_runs: 50 }],
])('fifty at once: %s are begun, the others are refused', async (_, limit) => {
  const { who, start } = await stage.party(after(limit));
  const replies = await Promise.all(Array.from({ length: 50 }, () => start()));
  const told = replies.map(({ status, body }) => `${status} ${body.code ?? ''}`.trim());
  expect(told.toSorted()).toEqual([...Array(2).fill('202'), ...Array(48).fill('402 credit_limit_reached')]);
  expect((await tabOf(who)).runs).toBe(2);
});

test('ten at once with one key are one run, which is no refusal to any of them', async () => {
  const { who, start } = await stage.party(after({ max_unpaid_runs: 1 }));
  const replies = await Promise.all(Array.from({ length: 10 }, () => start({}, 'all-at-once')));
  expect(new Set(replies.map(({ status, body }) => `${status} ${body.run?.id ?? body.code}`)).size).toBe(1);
  expect(replies[0]?.status).toBe(202);
  expect((await tabOf(who)).runs).toBe(1);
});

test('beyond the limit the oldest debt is what is asked for, and paying it makes room', async () => {
  const party = await stage.party(after());
  const [first] = [await done(party), await done(party)];
  const before = await books(stage.root, party.who);
  const refused = await party.start();
  expect(refused.body).toMatchObject({ status: 402, code: 'credit_limit_reached', ask_id: first.ask.id, amount: 30 });
  expect(await books(stage.root, party.who)).toEqual(before);
  await grant(stage.operator, party.who, 30);
  await pay(party.who, askOf(refused));
  expect((await party.start()).status).toBe(202);
});

test('a run that costs more than the limit is refused, and says that nothing is to be paid for it yet', async () => {
  const { start } = await stage.party(after({ credit_limit: 29 }));
  expect((await start()).body).toMatchObject({ status: 402, code: 'credit_limit_reached', ask_id: null, pay_with: [] });
});

test('what fails, and what is cancelled, is not owed', async () => {
  const failing = await stage.party(after(), { path: '/refuse' });
  const { body } = await failing.start();
  expect(await hurriedToEnd(stage, failing.who, body.run)).toMatchObject({
    state: 'failed',
    returned: 0,
    payment: { state: 'none', due: 0, ask_id: null },
  });
  const slow = await stage.party(after(), { path: '/async-silent' });
  const { run } = (await slow.start()).body;
  await slow.who.ok('POST', `/v1/runs/${run.id}/cancel`);
  for (const { who } of [failing, slow]) expect(await tabOf(who)).toEqual({ runs: 0, credits: 0, written_off: 0 });
});

// REQ V7
test('a debt that is never paid is written off; then runs are paid upfront until it is', async () => {
  const party = await stage.party(after());
  const { run, ask } = await done(party);
  await stage.age(ask, 86_399);
  await stage.tick();
  expect((await stage.ask(party.who, ask.id)).state).toBe('open');
  await stage.age(ask, 60);
  await stage.tick();
  await stage.tick();
  expect(await stage.ask(party.who, ask.id)).toMatchObject({ state: 'written_off', due: 30 });
  expect(await runOf(party.who, run)).toMatchObject({ state: 'succeeded', payment: { state: 'written_off', due: 30 } });
  expect(await tabOf(party.who)).toEqual({ runs: 0, credits: 0, written_off: 30 });
  const upfront = await party.start();
  expect(upfront.body).toMatchObject({ status: 402, code: 'payment_required', amount: 30 });
  const waiting = await runOf(party.who, { id: upfront.body.run_id });
  expect(waiting.payment).toMatchObject({ mode: 'upfront', info: expect.stringContaining('never paid') });
  await grant(stage.operator, party.who, 30);
  expect((await pay(party.who, ask)).body).toMatchObject({ state: 'paid' });
  expect(await tabOf(party.who)).toEqual({ runs: 0, credits: 0, written_off: 0 });
  expect((await party.start()).body.run.payment.mode).toBe('after');
});

// REQ V1
test.each([
  [{}, 'upfront', undefined],
  [{ default: 'after' }, 'after', undefined],
  [{}, 'after', 'after'],
  [{ default: 'after' }, 'upfront', 'upfront'],
])('flexible: policy %j is paid %s by who asks for %s', async (policy, mode, payment) => {
  const { start } = await stage.party({ mode: 'flexible', ...policy }, { credits: 100 });
  const { body } = await start(payment === undefined ? {} : { payment });
  expect(body.run.payment).toMatchObject({ mode, state: mode === 'after' ? 'none' : 'paid' });
});

test('a service that is paid afterwards is not paid before', async () => {
  const { start } = await stage.party(after(), { credits: 100 });
  expect((await start({ payment: 'upfront' })).body.code).toBe('payment_mode_unavailable');
});

test('paid and written off at once: one of them, and the tab is right', async () => {
  const parties = await Promise.all(Array.from({ length: 4 }, () => stage.party(after())));
  for (const party of parties) {
    const { ask } = await done(party);
    await grant(stage.operator, party.who, 30);
    await stage.age(ask, 90_000);
    await Promise.all([stage.tick(), pay(party.who, ask), stage.tick()]);
    expect(await stage.ask(party.who, ask.id)).toMatchObject({ state: 'paid' });
    expect(await tabOf(party.who)).toEqual({ runs: 0, credits: 0, written_off: 0 });
    expect(await available(party.who)).toBe(0);
  }
});
