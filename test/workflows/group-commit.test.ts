import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fromWire } from '../../src/platform/ids.ts';
import { faultsInBooks } from '../harness/books.ts';
import { type Client, clientOf, eventually, type Json, type Reply } from '../harness/client.ts';
import type { TestFarebox } from '../harness/farebox.ts';
import { available, books, openStage, replicaOf, type Stage, startRun, workflowOf } from './stage.ts';

let stage: Stage;
let second: TestFarebox;
let service: Json;
beforeAll(async () => {
  stage = await openStage({ env: { WORKERS: 'off' } });
  second = await replicaOf(stage);
  service = await stage.offer('/echo', { credit_cost: 3 });
});
afterAll(async () => {
  await second.stop();
  await stage.close();
});

const accountOf = (customer: Client) => fromWire('account', customer.accountId) as string;
const times = (n: number) => Array.from({ length: n }, (_, i) => i);
const tally = (replies: Reply[]) =>
  Object.fromEntries(Object.entries(Object.groupBy(replies, ({ status }) => status)).map(([s, r]) => [s, r?.length]));
const customers = async (n: number, credits: number): Promise<{ customer: Client; workflow: Json }[]> =>
  Promise.all(
    times(n).map(async () => {
      const customer = await stage.customer(credits);
      return { customer, workflow: await workflowOf(customer, service) };
    }),
  );

/** Commits by their size so far, from the metrics: how many shared one at most, and how many there were. */
async function commits(): Promise<{ orders: number; commits: number }> {
  const text = await (await fetch(`${stage.farebox.internalUrl}/metrics`)).text();
  const read = (name: string) => Number(new RegExp(`^farebox_commit_size_${name} (\\d+)`, 'm').exec(text)?.[1] ?? 0);
  return { orders: read('sum'), commits: read('count') };
}

/** Holds a customer's account as a transaction does that never comes to its end. */
async function lockAccount(customer: Client): Promise<() => Promise<void>> {
  const holder = postgres(stage.farebox.database.superuserUrl, { max: 1 });
  await holder.unsafe('begin');
  await holder`select 1 from credits.accounts where account_id = ${accountOf(customer)} for update`;
  return () => holder.end();
}

test('orders that arrive while a commit is running share the next one', async () => {
  const all = await customers(40, 30);
  const before = await commits();
  const slow = postgres(stage.farebox.database.superuserUrl, { max: 1 });
  await slow.unsafe('begin; lock table workflows.runs in share mode');
  const answers = Promise.all(all.map(({ customer, workflow }) => startRun(customer, workflow)));
  await sleep(300); // the first commit is held up, and others have arrived; far less than the server waits for a lock
  await slow.end();
  expect(tally(await answers)).toEqual({ 202: 40 });
  const after = await commits();
  expect(after.orders - before.orders).toBe(40);
  expect(after.commits - before.commits).toBeLessThan(30);
});

test('orders that wait for their turn when the process is told to go are carried out and answered before it goes', async () => {
  const all = await customers(20, 9);
  const leaving = await replicaOf(stage);
  const slow = postgres(stage.farebox.database.superuserUrl, { max: 1 });
  await slow.unsafe('begin; lock table workflows.runs in share mode');
  const gone = () => undefined; // came too late: nobody listened any more
  const answers = Promise.all(
    all.flatMap(({ customer, workflow }) =>
      times(3).map(() => startRun(clientOf(leaving.url, customer), workflow).catch(gone)),
    ),
  );
  await sleep(500);
  const stopped = leaving.stop();
  await sleep(100);
  await slow.end();
  const accepted = (await answers).flatMap((reply) => (reply?.status === 202 ? [reply.body.run] : []));
  await stopped;
  expect(accepted.length, 'more than went with the commit that was held up').toBeGreaterThan(20);
  const accounts = all.map(({ customer }) => accountOf(customer));
  const kept = await stage.root`select id from workflows.runs where account_id = any(${accounts}::uuid[]) order by id`;
  expect(kept.map(({ id }) => id)).toEqual(accepted.map(({ id }) => fromWire('run', id)).sort());
});

test('an attack on three accounts, at two replicas, in groups and alone: exactly what they can pay, without a gap', async () => {
  const all = await customers(3, 100);
  const root = stage.root;
  const alone = postgres(stage.farebox.database.appUrl, { max: 4 });
  // Beside the groups: single spends, as the plain statement makes them.
  const spends = all.flatMap(({ customer }) =>
    times(30).map(() => alone`select result from credits.spend(${accountOf(customer)}::uuid, 3, gen_random_uuid())`),
  );
  const attack = all.flatMap(({ customer, workflow }) =>
    times(60).map((n) => startRun(n % 2 ? customer : clientOf(second.url, customer), workflow)),
  );
  const [replies, singles] = await Promise.all([Promise.all(attack), Promise.all(spends)]);
  await alone.end();
  for (const { customer } of all) {
    const accepted = replies.filter(({ status, body }) => status === 202 && body.run.id && body.balance);
    expect(accepted.length).toBeGreaterThan(0);
    expect(await available(customer)).toBe(1);
    const transfers = await root`select seq::int, available_after::int from credits.transfers
      where account_id = ${accountOf(customer)} order by seq`;
    expect(transfers.map((row) => row['seq'])).toEqual(times(34).map((n) => n + 1));
    expect(transfers.map((row) => row['available_after'])).toEqual(times(34).map((n) => 100 - 3 * n));
  }
  const posted = singles.filter(([row]) => row?.['result'] === 'posted').length;
  expect(replies.filter(({ status }) => status === 202).length + posted).toBe(99);
  expect(Object.keys(tally(replies)).sort()).toEqual(['202', '402']);
});

test('a group answers as one by one would: each order is judged by itself, in its place', async () => {
  const [mine, other] = await customers(2, 10);
  if (!mine || !other) throw new Error('no customers');
  await startRun(mine.customer, mine.workflow, {}, { key: 'known' });
  const asks: [Promise<Reply>, number, string?][] = [
    [startRun(mine.customer, mine.workflow), 202],
    [startRun(mine.customer, other.workflow), 403, 'not_workflow_owner'],
    [startRun(mine.customer, { id: 'wf_01m80yqknkf2v81dz78mq72q88' }), 404, 'workflow_not_found'],
    [startRun(mine.customer, mine.workflow, { expected_cost: 2 }), 409, 'price_changed'],
    [startRun(mine.customer, mine.workflow, { expected_cost: 3 }), 202],
    [startRun(mine.customer, mine.workflow, {}, { key: 'known' }), 202],
    [startRun(mine.customer, mine.workflow, { input: { other: 1 } }, { key: 'known' }), 422, 'idempotency_key_reused'],
    [startRun(mine.customer, mine.workflow), 402, 'insufficient_credits'],
    [startRun(other.customer, other.workflow, { expected_cost: 3 }), 202],
  ];
  const before = await commits();
  const replies = await Promise.all(asks.map(([reply]) => reply));
  expect(replies.map(({ status, body }) => [status, body.code])).toEqual(
    asks.map(([, status, code]) => [status, code]),
  );
  const after = await commits();
  expect(after.commits - before.commits).toBeLessThan(after.orders - before.orders);
  expect(await available(mine.customer)).toBe(1);
  expect(await available(other.customer)).toBe(7);
});

test('one locked account: the others run on, and its orders are answered when it is free', async () => {
  const [locked, ...others] = await customers(9, 300);
  if (!locked) throw new Error('no customer');
  const unlock = await lockAccount(locked.customer);
  let answered = 0;
  const waiting = Promise.all(
    times(40).map(() =>
      startRun(locked.customer, locked.workflow).then((reply) => {
        answered += 1;
        return reply;
      }),
    ),
  );
  const served = await Promise.all(
    times(5).flatMap(() => others.map(({ customer, workflow }) => startRun(customer, workflow))),
  );
  expect(tally(served)).toEqual({ 202: 40 });
  expect(answered).toBe(0);
  await unlock();
  expect(tally(await waiting)).toEqual({ 202: 40 });
  expect(await available(locked.customer)).toBe(300 - 120);
});

test('an account that stays locked is told to come back, and nobody else', async () => {
  const [locked, other] = await customers(2, 30);
  if (!locked || !other) throw new Error('no customers');
  const unlock = await lockAccount(locked.customer);
  const [refused] = await Promise.all([
    startRun(locked.customer, locked.workflow, {}, { key: 'patient' }),
    ...times(10).map(async (n) => {
      await sleep(n * 20);
      expect((await startRun(other.customer, other.workflow)).status).toBe(202);
    }),
  ]);
  expect(refused).toMatchObject({ status: 503, body: { code: 'database_unavailable' } });
  await unlock();
  expect((await startRun(locked.customer, locked.workflow, {}, { key: 'patient' })).status).toBe(202);
  expect(await available(locked.customer)).toBe(27);
});

test('a customer that repeats its key all the time keeps nobody else from running', async () => {
  const [stubborn, ...others] = await customers(5, 300);
  if (!stubborn) throw new Error('no customer');
  const repeats = Promise.all(
    times(300).map(() => startRun(stubborn.customer, stubborn.workflow, {}, { key: 'again' })),
  );
  const served: Reply[] = [];
  for (const _ of times(10))
    served.push(...(await Promise.all(others.map(({ customer, workflow }) => startRun(customer, workflow)))));
  expect(tally(served)).toEqual({ 202: 40 });
  const replies = await repeats;
  expect(new Set(replies.map(({ body }) => body.run?.id)).size).toBe(1);
  expect(await books(stage.root, stubborn.customer)).toMatchObject({ runs: 1, transfers: 2 });
});

test('one row that the database refuses fails alone, however often it is sent', async () => {
  const [poisoned, ...others] = await customers(9, 300);
  if (!poisoned) throw new Error('no customer');
  await stage.root.unsafe(`
    create function public.refuse() returns trigger language plpgsql as $$ begin
      if new.account_id = '${accountOf(poisoned.customer)}' then raise exception 'this row' using errcode = '53100'; end if;
      return new;
    end $$;
    create trigger refuse before insert on workflows.runs for each row execute function public.refuse()`);
  const poison = Promise.all(times(30).map(() => startRun(poisoned.customer, poisoned.workflow)));
  const served = await Promise.all(
    times(20).flatMap(() => others.map(({ customer, workflow }) => startRun(customer, workflow))),
  );
  expect(tally(served)).toEqual({ 202: 160 });
  expect(tally(await poison)).toEqual({ 503: 30 });
  await stage.root.unsafe('drop trigger refuse on workflows.runs; drop function public.refuse()');
  expect(await books(stage.root, poisoned.customer)).toMatchObject({
    runs: 0,
    transfers: 1,
    balance: { available: 300 },
  });
  await eventually(
    () => startRun(poisoned.customer, poisoned.workflow),
    ({ status }) => status === 202,
  );
});

test('connections that die under groups: who is told 503 repeats the key, and pays once', async () => {
  const all = await customers(20, 300);
  let isOver = false;
  const killer = (async () => {
    for (let kills = 0; !isOver && kills < 20; kills += 1) {
      await stage.root`select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and application_name = 'farebox:hot'`;
      await sleep(40);
    }
  })();
  const keys = times(10).flatMap((n) => all.map(({ customer, workflow }) => ({ customer, workflow, key: `key-${n}` })));
  await Promise.all(
    keys.map(({ customer, workflow, key }) =>
      eventually(
        () => startRun(customer, workflow, {}, { key }),
        ({ status }) => status === 202,
        15_000,
      ),
    ),
  );
  isOver = true;
  await killer;
  for (const { customer } of all) {
    expect(await books(stage.root, customer)).toMatchObject({ runs: 10, transfers: 11, balance: { available: 270 } });
  }
  expect(await faultsInBooks(stage.farebox.database.superuserUrl)).toEqual([]);
});
