import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually, type Json, type Reply } from '../harness/client.ts';
import { faultsAtRest } from '../harness/whole-books.ts';
import { grant, runOf } from '../workflows/stage.ts';
import { type AskStage, askOf, openAskStage, type Party, pay } from './stage.ts';

/** What happens to a run and its payment, and how the customer is told: every trigger of the design, by each way in. */

let stage: AskStage;
beforeAll(async () => {
  stage = await openAskStage();
});
afterAll(async () => {
  await stage.executor.idle();
  expect(await faultsAtRest(stage.farebox.database.superuserUrl)).toEqual([]);
  await stage.close();
});

const stands = (party: Party, run: Json, isSo: (now: Json) => boolean): Promise<Json> =>
  eventually(() => runOf(party.who, run), isSo);

const UPFRONT = { payment: 'upfront' };
const KEY = 'the-order';

/** A run that waits for its first payment. */
async function waiting(party: Party): Promise<{ ask: Json; run: Json }> {
  const ask = askOf(await party.start(UPFRONT, KEY));
  return { ask, run: { id: ask.run_id } };
}

/** A run that is done and not paid. */
async function owing(party: Party): Promise<{ ask: Json; run: Json }> {
  const { run } = (await party.start({}, KEY)).body;
  const { payment } = await stands(party, run, ({ payment: now }) => now.due > 0);
  return { run, ask: { id: payment.ask_id } };
}

interface Told {
  status: number;
  /** Of a refusal. */
  code?: string;
  body?: Json;
}

interface Row {
  policy?: Json;
  path?: string;
  credits?: number;
  terms?: Json;
  /** Pulls the trigger; resolves to the run, where there is one, and to the reply that tells of it. */
  pull(party: Party): Promise<{ run?: Json; reply: Reply }>;
  rest: Told;
  /** Where the run stands then, and its payment. */
  run?: string;
  payment?: Json;
  /** Credits that are available then. */
  available: number;
}

const rows: Record<string, Row> = {
  'job in, invalid': {
    terms: { input_schema: { properties: { n: { type: 'integer' } } } },
    pull: async ({ start }) => ({ reply: await start({ ...UPFRONT, input: { n: 'x' } }) }),
    rest: { status: 422, code: 'input_invalid' },
    available: 0,
  },
  'job in, unsupported': {
    pull: async ({ who }) => ({
      reply: await who.post('/v1/workflows/wf_00000000000000000000000000/runs', UPFRONT),
    }),
    rest: { status: 404, code: 'workflow_not_found' },
    available: 0,
  },
  'job in, unreadable': {
    pull: async ({ who }) => ({ reply: await who.post('/v1/workflows/nonsense/runs', UPFRONT) }),
    rest: { status: 400, code: 'invalid_id' },
    available: 0,
  },
  'job in, too old': {
    pull: async (party) => {
      const { ask } = await waiting(party);
      await stage.age(ask, 700);
      return { reply: await party.start(UPFRONT, KEY) };
    },
    rest: { status: 410, code: 'ask_expired' },
    available: 0,
  },
  'bid < price': {
    credits: 100,
    pull: async ({ start }) => ({ reply: await start({ max_price: 29 }) }),
    rest: { status: 402, code: 'price_above_max', body: { amount: 30, max_price: 29 } },
    available: 100,
  },
  'upfront, balance enough': {
    path: '/async-silent',
    credits: 100,
    pull: async ({ start }) => {
      const reply = await start(UPFRONT);
      return { run: reply.body.run, reply };
    },
    rest: { status: 202, body: { run: { state: 'queued' } } },
    ...{ run: 'running', payment: { state: 'paid', paid: 30, due: 0 }, available: 70 },
  },
  'upfront, not enough': {
    credits: 12,
    pull: async ({ start }) => {
      const reply = await start(UPFRONT);
      return { run: { id: reply.body.run_id }, reply };
    },
    rest: { status: 402, code: 'payment_required', body: { amount: 30, currency: 'credit', shortfall: 18 } },
    ...{ run: 'awaiting_payment', payment: { state: 'open', paid: 0, due: 30 }, available: 12 },
  },
  'settlement >= ask': {
    path: '/async-silent',
    pull: async (party) => {
      const { ask, run } = await waiting(party);
      await grant(stage.operator, party.who, 30);
      return { run, reply: await pay(party.who, ask) };
    },
    rest: { status: 200, body: { state: 'paid', due: 0 } },
    ...{ run: 'running', payment: { state: 'paid', paid: 30 }, available: 0 },
  },
  'settlement < ask, added up': {
    policy: { underpay: 'accumulate' },
    pull: async (party) => {
      const { ask, run } = await waiting(party);
      await stage.bring(party.who, ask, 12);
      await stage.tick();
      return { run, reply: await party.start(UPFRONT, KEY) };
    },
    rest: { status: 402, code: 'payment_required', body: { amount: 18, state: 'part_paid' } },
    ...{ run: 'awaiting_payment', payment: { state: 'part_paid', due: 18 }, available: 0 },
  },
  'settlement < ask, rejected': {
    pull: async (party) => {
      const { ask, run } = await waiting(party);
      await stage.bring(party.who, ask, 12);
      await stage.tick();
      return { run, reply: await party.start(UPFRONT, KEY) };
    },
    rest: { status: 402, code: 'payment_required', body: { amount: 30, state: 'open', available: 12 } },
    ...{ run: 'awaiting_payment', payment: { state: 'open', due: 30 }, available: 12 },
  },
  'duplicate or late settlement': {
    path: '/async-silent',
    pull: async (party) => {
      const { ask, run } = await waiting(party);
      for (const _ of [1, 2]) {
        await stage.bring(party.who, ask, 30);
        await stage.tick();
      }
      return { run, reply: await pay(party.who, ask) };
    },
    rest: { status: 200, body: { state: 'paid', surplus: 30 } },
    ...{ run: 'running', payment: { state: 'paid', paid: 30 }, available: 30 },
  },
  'ask expired': {
    pull: async (party) => {
      const { ask, run } = await waiting(party);
      await stage.age(ask, 700);
      await stage.tick();
      return { run, reply: await pay(party.who, ask) };
    },
    rest: { status: 410, code: 'ask_expired' },
    ...{ run: 'expired', payment: { state: 'expired', paid: 0, due: 0 }, available: 0 },
  },
  'after: limit reached': {
    policy: { mode: 'after' },
    pull: async (party) => {
      const { run } = await owing(party);
      return { run, reply: await party.start() };
    },
    rest: { status: 402, code: 'credit_limit_reached', body: { amount: 30, state: 'open' } },
    ...{ run: 'succeeded', payment: { state: 'open', due: 30 }, available: 0 },
  },
  'after: finished': {
    policy: { mode: 'after' },
    pull: async (party) => {
      const { run } = await owing(party);
      return { run, reply: await party.who.get(`/v1/runs/${run.id}`) };
    },
    rest: { status: 200, body: { output: { echo: {} }, payment: { due: 30 } } },
    ...{ run: 'succeeded', payment: { mode: 'after', state: 'open', due: 30 }, available: 0 },
  },
  'after: grace over': {
    policy: { mode: 'after' },
    pull: async (party) => {
      const { ask, run } = await owing(party);
      await stage.age(ask, 90_000);
      await stage.tick();
      return { run, reply: await party.start() };
    },
    rest: { status: 402, code: 'payment_required', body: { amount: 30 } }, // upfront, from now on
    ...{ run: 'succeeded', payment: { state: 'written_off', due: 30 }, available: 0 },
  },
  'milestone done, the next one unpaid': {
    policy: { milestones: [10, 20] },
    path: '/milestones',
    credits: 10,
    pull: async (party) => {
      const { run } = (await party.start()).body;
      await stands(party, run, ({ state }) => state === 'paused');
      expect((await party.who.get(`/v1/runs/${run.id}/parts/1`)).status).toBe(200);
      return { run, reply: await party.who.get(`/v1/runs/${run.id}/parts/2`) };
    },
    rest: { status: 402, code: 'payment_required', body: { amount: 20 } },
    ...{ run: 'paused', payment: { state: 'open', paid: 10, due: 20, parts: { paid: 1, of: 2 } }, available: 0 },
  },
  'work failed': {
    path: '/refuse',
    credits: 30,
    pull: async (party) => {
      const { run } = (await party.start(UPFRONT)).body;
      await stands(party, run, ({ state }) => state === 'failed');
      return { run, reply: await party.who.get(`/v1/runs/${run.id}`) };
    },
    rest: { status: 200, body: { state: 'failed', returned: 30 } },
    ...{ run: 'failed', payment: { state: 'paid', paid: 30, due: 0 }, available: 30 },
  },
  'cancelled by the customer': {
    pull: async (party) => {
      const { run } = await waiting(party);
      return { run, reply: await party.who.post(`/v1/runs/${run.id}/cancel`) };
    },
    rest: { status: 200, body: { state: 'cancelled', returned: 0 } },
    ...{ run: 'cancelled', payment: { state: 'released', due: 0 }, available: 0 },
  },
};

// REQ V1 V5 V6 V7 V8 V10
test.each(Object.entries(rows))('%s', async (_, row) => {
  const { path = '/echo', credits = 0, policy = {}, terms = {} } = row;
  const party = await stage.party(policy, { path, credits, ...terms });
  const { run, reply } = await row.pull(party);
  const { status, code, body = {} } = row.rest;
  expect([reply.status, reply.body.code], reply.text).toEqual([status, code]);
  expect(reply.body).toMatchObject(body);
  if (run) {
    const now = await stands(party, run, ({ state }) => state === row.run);
    expect(now.payment).toMatchObject(row.payment);
  }
  expect(await party.who.ok('GET', '/v1/credits/balance')).toMatchObject({ available: row.available });
  // Nothing upfront was worked on before it was paid.
  const worked = stage.executor.runs.some(({ runId }) => runId === run?.id);
  if (row.run === 'awaiting_payment' || row.run === 'expired') expect(worked).toBe(false);
});
