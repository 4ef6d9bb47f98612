import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fromWire } from '../../src/platform/ids.ts';
import { type Client, eventually, type Json } from '../harness/client.ts';
import { available, eventsOf, grant, runOf } from '../workflows/stage.ts';
import { type AskStage, askOf, movesOf, openAskStage, pay } from './stage.ts';

let stage: AskStage;
beforeAll(async () => {
  stage = await openAskStage({ env: { WORKERS: 'off' } });
});
afterAll(() => stage.close());

/** A run that waits for thirty credits. */
async function asked(policy: Json = {}): Promise<{ who: Client; ask: Json; run: Json; again(): Promise<Json> }> {
  const { who, start } = await stage.party({ mode: 'upfront', ...policy });
  const order = () => start({ payment: 'upfront' }, 'the-order');
  const ask = askOf(await order());
  return { who, ask, run: { id: ask.run_id }, again: async () => (await order()).body };
}

interface Payment {
  credits: number;
  /** The price holds no more when it comes; or came in time, and is looked at later. */
  when?: 'late' | 'in time, heard late';
}
interface Row {
  policy?: Json;
  payments: Payment[];
  ask: Json;
  run: string;
  available: number;
  moves: string[];
}

// REQ V5 V7
const rows: Record<string, Row> = {
  'exactly what was asked': {
    payments: [{ credits: 30 }],
    ask: { state: 'paid', received: 30, due: 0, surplus: 0 },
    ...{ run: 'queued', available: 0, moves: ['hold 30', 'capture 30'] },
  },
  'more than was asked': {
    payments: [{ credits: 50 }],
    ask: { state: 'paid', received: 30, due: 0, surplus: 20 },
    ...{ run: 'queued', available: 20, moves: ['hold 50', 'release 20', 'capture 30'] },
  },
  'less, where that is rejected': {
    payments: [{ credits: 29 }],
    ask: { state: 'open', received: 0, due: 30, surplus: 29 },
    ...{ run: 'awaiting_payment', available: 29, moves: ['hold 29', 'release 29'] },
  },
  'less and the rest, where that is rejected': {
    payments: [{ credits: 29 }, { credits: 1 }],
    ask: { state: 'open', received: 0, due: 30, surplus: 30 },
    ...{ run: 'awaiting_payment', available: 30, moves: ['hold 29', 'release 29', 'hold 1', 'release 1'] },
  },
  'less, where it adds up': {
    policy: { underpay: 'accumulate' },
    payments: [{ credits: 12 }],
    ask: { state: 'part_paid', received: 12, due: 18, surplus: 0 },
    ...{ run: 'awaiting_payment', available: 0, moves: ['hold 12'] },
  },
  'less and the rest and more, where it adds up': {
    policy: { underpay: 'accumulate' },
    payments: [{ credits: 12 }, { credits: 25 }],
    ask: { state: 'paid', received: 30, due: 0, surplus: 7 },
    ...{ run: 'queued', available: 7, moves: ['hold 12', 'hold 25', 'release 7', 'capture 12', 'capture 18'] },
  },
  'twice what was asked': {
    payments: [{ credits: 30 }, { credits: 30 }],
    ask: { state: 'paid', received: 30, due: 0, surplus: 30 },
    ...{ run: 'queued', available: 30, moves: ['hold 30', 'capture 30', 'hold 30', 'release 30'] },
  },
  'in time, and heard of when the time is over': {
    payments: [{ credits: 30, when: 'in time, heard late' }],
    ask: { state: 'paid', received: 30, due: 0, surplus: 0 },
    ...{ run: 'queued', available: 0, moves: ['hold 30', 'capture 30'] },
  },
  'too late': {
    payments: [{ credits: 30, when: 'late' }],
    ask: { state: 'expired', received: 0, due: 0, surplus: 30 },
    ...{ run: 'expired', available: 30, moves: ['hold 30', 'release 30'] },
  },
  'a part, and the rest too late': {
    policy: { underpay: 'accumulate' },
    payments: [{ credits: 12 }, { credits: 18, when: 'late' }],
    ask: { state: 'expired', received: 0, due: 0, surplus: 18 },
    ...{ run: 'expired', available: 30, moves: ['hold 12', 'release 12', 'hold 18', 'release 18'] },
  },
};

test.each(Object.entries(rows))('%s', async (_, row) => {
  const { who, ask, run } = await asked(row.policy);
  for (const { credits, when } of row.payments) {
    if (when === 'late') await stage.age(ask, 3_600);
    if (when === 'late') await stage.tick();
    expect(await stage.bring(who, ask, credits)).toBe(true);
    if (when === 'in time, heard late') {
      // The price held until a moment after it came.
      await stage.root`update workflows.asks set expires_at = (select max(created_at) from payments.arrivals)
        where id = (select for_id from payments.arrivals order by created_at desc limit 1)`;
      await stage.expire(); // it is looked at by the clock first
    }
    await stage.tick();
  }
  await stage.tick();
  expect(await stage.ask(who, ask.id)).toMatchObject(row.ask);
  expect(await runOf(who, run)).toMatchObject({ state: row.run, payment: { state: row.ask.state, due: row.ask.due } });
  expect(await who.ok('GET', '/v1/credits/balance')).toMatchObject({
    available: row.available,
    held: row.ask.state === 'part_paid' ? row.ask.received : 0,
  });
  expect(await movesOf(stage, run)).toEqual(row.moves);
});

// REQ V5
test('the same payment again changes nothing, however often and however much it says', async () => {
  const { who, ask } = await asked();
  const came = await Promise.all(Array.from({ length: 8 }, () => stage.bring(who, ask, 30, `one ${ask.id}`)));
  expect(came.filter(Boolean)).toHaveLength(1);
  expect(await stage.bring(who, ask, 1_000, `one ${ask.id}`)).toBe(false);
  await Promise.all([stage.tick(), stage.tick()]);
  expect(await stage.ask(who, ask.id)).toMatchObject({ state: 'paid', surplus: 0 });
  expect(await who.ok('GET', '/v1/credits/balance')).toMatchObject({ available: 0, held: 0 });
});

test('nobody else spends what has come, though nobody has heard of it yet', async () => {
  const { who, ask } = await asked();
  const other = await stage.party({ mode: 'upfront' });
  await stage.bring(who, ask, 30);
  expect(await who.ok('GET', '/v1/credits/balance')).toMatchObject({ available: 0, held: 30 });
  const workflow = await who.ok('POST', '/v1/workflows', { body: { service_id: other.service.id, name: 'greedy' } });
  expect((await who.post(`/v1/workflows/${workflow.id}/runs`, {})).body.code).toBe('insufficient_credits');
  await stage.tick();
  expect((await stage.ask(who, ask.id)).state).toBe('paid');
});

test('what has come is looked at first by whoever pays with credits: nothing is paid twice', async () => {
  const { who, ask } = await asked();
  await grant(stage.operator, who, 100);
  await stage.bring(who, ask, 30);
  expect((await pay(who, ask)).body.state).toBe('paid');
  expect((await stage.ask(who, ask.id)).settlements).toMatchObject([{ rail: 'test', taken: 30 }]);
  expect(await available(who)).toBe(100);
});

test('own credits that are spent elsewhere while they are looked at: what is left is set aside, and the rest is bought', async () => {
  const { who, ask } = await asked({ rails: [{ rail: 'omise', currency: 'THB', price_per_credit: 150 }] });
  await grant(stage.operator, who, 10);
  const { opening } = await stage.root.begin(async (tx) => {
    const account = fromWire('account', who.accountId);
    await tx`select credits.post(${account}::uuid, 'adjust', -7, 'test', gen_random_uuid(), null, null)`;
    const opening = pay(who, ask, { rail: 'omise' });
    await eventually(
      () => stage.root`select from pg_stat_activity where wait_event_type = 'Lock' and query like '%credits.hold%'`,
      ({ length }) => length > 0,
    );
    return { opening };
  });
  const opened = await opening;
  expect([opened.status, opened.body.received, opened.body.due], opened.text).toEqual([202, 3, 27]);
  expect((await who.ok('GET', `/v1/purchases/${opened.body.purchase_id}`)).credits).toBe(27);
});

test('a debt eats what comes, and what is left of it is a short payment', async () => {
  const { who, ask, run } = await asked({ underpay: 'accumulate' });
  await stage.root.begin(async (tx) => {
    const [account] = await tx`select id from identity.accounts where email = ${who.email}`;
    await tx`select credits.post(${account?.['id']}::uuid, 'clawback', 20, 'test', gen_random_uuid(), null, null)`;
  });
  await stage.bring(who, ask, 30);
  await stage.tick();
  expect(await stage.ask(who, ask.id)).toMatchObject({ state: 'part_paid', received: 10 });
  await stage.bring(who, ask, 20);
  await stage.tick();
  expect(await runOf(who, run)).toMatchObject({ state: 'queued' });
});

test('without a purpose it tops the account up', async () => {
  const who = await stage.customer();
  const { settle } = await import('../../src/payments/index.ts');
  const { fromWire } = await import('../../src/platform/ids.ts');
  const money = {
    rail: 'test',
    key: who.accountId,
    accountId: fromWire('account', who.accountId),
    credits: 7n,
    purpose: null,
  };
  const [first, second] = [
    await stage.db.transaction((tx) => settle(tx, money)),
    await stage.db.transaction((tx) => settle(tx, money)),
  ];
  expect([first?.credits, second]).toEqual([7n, undefined]);
  expect(await who.ok('GET', '/v1/credits/balance')).toMatchObject({ available: 7, held: 0 });
});

describe('over', () => {
  test('not paid in time: the run ends, says so once, and the order is answered 410', async () => {
    const { who, ask, run, again } = await asked();
    await stage.age(ask, 601);
    // The clock decides, before anybody has marked it.
    expect((await pay(who, ask)).body.code).toBe('ask_expired');
    expect((await again()).code).toBe('ask_expired');
    await Promise.all([stage.tick(), stage.tick()]);
    await stage.tick();
    expect(await runOf(who, run)).toMatchObject({
      state: 'expired',
      output: null,
      payment: { state: 'expired', paid: 0, due: 0 },
    });
    expect(await eventsOf(stage.root, run)).toEqual(['awaiting_payment', 'expired']);
    expect((await again()).code).toBe('ask_expired');
    expect((await who.post(`/v1/runs/${run.id}/cancel`)).body.code).toBe('run_finished');
  });

  test('cancelled while it waits: what was set aside is free, and money that comes later, too', async () => {
    const { who, ask, run, again } = await asked({ underpay: 'accumulate' });
    await stage.bring(who, ask, 12);
    await stage.tick();
    const cancelled = await who.ok('POST', `/v1/runs/${run.id}/cancel`);
    expect(cancelled).toMatchObject({ state: 'cancelled', returned: 0, payment: { state: 'released', due: 0 } });
    expect(await available(who)).toBe(12);
    await stage.bring(who, ask, 18);
    await stage.tick();
    expect(await stage.ask(who, ask.id)).toMatchObject({ state: 'released', received: 0, surplus: 18 });
    expect(await available(who)).toBe(30);
    expect((await pay(who, ask)).status).toBe(409);
    expect((await again()).code).toBe('run_finished');
  });

  test('paid and cancelled at once: paid and given back, or never taken', async () => {
    for (let n = 0; n < 4; n += 1) {
      const { who, ask, run } = await asked();
      await grant(stage.operator, who, 30);
      const [, cancelled] = await Promise.all([pay(who, ask), who.post(`/v1/runs/${run.id}/cancel`)]);
      expect(cancelled.status, cancelled.text).toBe(200);
      expect(await available(who)).toBe(30);
    }
  });

  test('paid and out of time at once: one of them', async () => {
    for (let n = 0; n < 4; n += 1) {
      const { who, ask, run } = await asked();
      await grant(stage.operator, who, 30);
      const paying = pay(who, ask);
      await stage.age(ask, 601);
      await Promise.all([paying, stage.tick()]);
      const { state } = await runOf(who, run);
      expect([state, await available(who)]).toEqual(state === 'queued' ? ['queued', 0] : ['expired', 30]);
    }
  });
});
