import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { fromWire } from '../../src/platform/ids.ts';
import type { Json } from '../harness/client.ts';
import { faultsAtRest, faultsInWholeBooks } from '../harness/whole-books.ts';
import { checkInvoices, unheardInvoices } from './invoices.ts';
import { askRelaysAgain, checkJobs, sendWhatWasLost, unfinishedJobs } from './job-checks.ts';
import { checkChain } from './payers.ts';
import { ask, type Wish } from './people.ts';
import { checkOrders } from './readers.ts';
import { checkRefunds, unseenRefunds } from './refunds.ts';
import type { Tally } from './tally.ts';
import { GRANTED, passTime, type World } from './world.ts';

const READ_EVERY_MS = 700;
const CALM_WITHIN_MS = 90_000;
const HEAR_AGAIN_MS = 6_000; // longer than what relays are asked for stays the same

/** Reads all books in one snapshot again and again: they are right at every moment, not only in the end. */
export async function readBooks(world: World, tally: Tally, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      const faults = await faultsInWholeBooks(world.superuserUrl);
      tally.count('read all books', faults.length === 0 ? 'right' : 'wrong');
      for (const fault of faults) tally.fault(`in the midst of it: ${fault}`);
    } catch {
      tally.count('read all books', 'database away');
    }
    await sleep(READ_EVERY_MS, undefined, { signal }).catch(() => {});
  }
}

/** Clients repeat what they have no answer to, everything that is on its way arrives, and then all must agree. */
export async function reckon(world: World, wishes: Wish[], tally: Tally): Promise<void> {
  for (const wish of wishes) {
    for (let tries = 0; !(await ask(wish, tally)) && tries < 3; tries += 1) await sleep(50);
  }
  await sendWhatWasLost(world, tally);
  await calm(world, tally);
  const sql = postgres(world.superuserUrl, { max: 1, onnotice: () => {} });
  try {
    for (const fault of await faultsAtRest(world.superuserUrl)) tally.fault(fault);
    await checkWishes(sql, world, wishes, tally);
    await checkJobs(sql, world, tally);
    await checkInvoices(sql, world.invoices, tally);
    await checkProvider(sql, world, tally);
    const purses = world.people.flatMap(({ purse }) => purse ?? []);
    await checkRefunds(sql, world, tally);
    await checkOrders(sql, world, tally);
    if (world.onChain) await checkChain(sql, world.onChain, purses, tally);
    await checkExecutor(sql, world, tally);
    for (const { who } of world.people) await checkBalance(sql, fromWire('account', who.accountId), tally);
  } finally {
    await sql.end();
  }
}

async function calm(world: World, tally: Tally): Promise<void> {
  let heardAt = 0;
  const sql = postgres(world.superuserUrl, { max: 1, onnotice: () => {} });
  try {
    for (const end = Date.now() + CALM_WITHIN_MS; ; await sleep(400)) {
      await passTime(world);
      await world.omise.settled();
      await world.onChain?.chain.control.mine(2);
      const paid = world.omise.charges().flatMap((one) => (one['status'] === 'successful' ? [String(one['id'])] : []));
      const [open] = await sql`
        select (select count(*)::int from workflows.runs where state in ('queued', 'running')) as runs,
          (select count(*)::int from payments.charges where state = 'creating') as unanswered,
          (select count(*)::int from payments.webhook_inbox where state = 'received') as notifications,
          (select count(*)::int from payments.payment_requests where state = 'confirming')
            + (select count(*)::int from payments.request_transactions where state = 'waiting' and outcome = 'tx_pending') as "on chain",
          (select count(*)::int from payments.arrivals v where v.for_type = 'ask' and v.held > 0 and not exists
            (select from workflows.settlements s where s.id = v.id)) as "money for asks",
          (select count(*)::int from refunds.refunds where next_step_at is not null) as refunds,
          (select count(*)::int from refunds.sightings where next_look_at is not null) as sightings,
          ${await unseenRefunds(sql, world)}::int as "refunds elsewhere",
          (select count(*)::int from payments.chain_cursors where next_block < ${await headOf(world)}) as unwatched,
          (select count(*)::int from unnest(${paid}::text[]) as id where not exists
            (select from payments.claims where reference = id) and not exists
            (select from payments.differences where reference = id)) as unknown`;
      const jobs = { ...(await unfinishedJobs(sql, world)), ...(await unheardInvoices(sql, world.invoices)) };
      if (Object.values({ ...open, ...jobs }).every((n) => n === 0)) return;
      if (Date.now() > heardAt + HEAR_AGAIN_MS) {
        askRelaysAgain(world.jobs);
        heardAt = Date.now();
      }
      if (Date.now() < end) continue;
      tally.fault(`not calm in time: ${JSON.stringify({ ...open, ...jobs })}; ${await whatIsOpen(sql, world)}`);
      return;
    }
  } finally {
    await sql.end();
  }
}

/** What the watcher has to have seen; blocks go on while it looks. */
async function headOf({ people }: World): Promise<number> {
  const wallet = people.find(({ purse }) => purse)?.purse?.wallet;
  return wallet ? Number(await wallet.getBlockNumber({ cacheTime: 0 })) - 4 : 0;
}

/** For whoever has to find out why. */
async function whatIsOpen(sql: postgres.Sql, world: World): Promise<string> {
  const runs = await sql`
    select r.state, r.attempt, s.endpoint, round(extract(epoch from r.next_attempt_at - now()))::int as due_in_s, count(*)::int as n
    from workflows.runs r join workflows.services s on s.id = r.service_id
    where r.state in ('queued', 'running') group by 1, 2, 3, 4 order by 5 desc limit 20`;
  const sessions = await sql`
    select state, wait_event_type, wait_event, left(query, 80) as query, round(extract(epoch from now() - state_change))::int as s
    from pg_stat_activity where usename = 'farebox_app' and state <> 'idle'`;
  const said = world.replicas.map(({ logged }) => logged.slice(-5).map((line) => JSON.stringify(line).slice(0, 600)));
  const isIdle = await Promise.race([world.executor.idle().then(() => true), sleep(5).then(() => false)]);
  return JSON.stringify({ isIdle, runs, sessions, said });
}

/** Everything that was acknowledged is there, and nothing that nobody asked for. */
async function checkWishes(sql: postgres.Sql, { jobs }: World, wishes: Wish[], tally: Tally): Promise<void> {
  const runs = await sql<{ id: string; key: string }[]>`select id, idempotency_key as key from workflows.runs`;
  const known = new Map(runs.map(({ id, key }) => [key, id]));
  const idsIn = async (table: string) => new Set((await sql.unsafe(`select id from ${table}`)).map((row) => row['id']));
  const [purchases, refunds] = [
    await idsIn('payments.purchases where order_id is null'),
    await idsIn('refunds.refunds'),
  ];
  for (const { path, key, made } of wishes) {
    if (made === undefined) continue;
    const isThere =
      path === '/v1/purchases'
        ? purchases.has(fromWire('purchase', made))
        : path === '/v1/refunds'
          ? refunds.has(fromWire('refund', made))
          : known.get(key) === fromWire('run', made);
    if (!isThere) tally.fault(`${made} was acknowledged and is not there`);
  }
  const asked = new Set(wishes.map(({ key }) => key));
  for (const { request } of jobs.askings) asked.add(`nostr:${request.id}`);
  for (const { id, key } of runs) if (!asked.has(key)) tally.fault(`nobody asked for the run ${id}`);
  const forAsks = await idsIn('payments.purchases where for_id is not null');
  const wished = wishes.filter(({ path }) => path === '/v1/purchases').length;
  const own = purchases.size - forAsks.size;
  if (own > wished) tally.fault(`${own} purchases for ${wished} wishes`);
}

/** Each payment at the provider is credited, or a person is told; nothing is credited without one; no attempt charged twice. */
async function checkProvider(sql: postgres.Sql, { omise }: World, tally: Tally): Promise<void> {
  const claims = new Set(
    (await sql`select reference from payments.claims where rail = 'omise'`).map((row) => String(row['reference'])),
  );
  const told = new Set((await sql`select reference from payments.differences`).map((row) => String(row['reference'])));
  const charges = new Map(omise.charges().map((charge: Json) => [String(charge.id), String(charge.status)]));
  for (const [id, status] of charges) {
    if (status === 'successful' && !claims.has(id) && !told.has(id)) tally.fault(`${id} is paid and nobody knows`);
  }
  for (const id of claims) if (charges.get(id) !== 'successful') tally.fault(`${id} is credited and not paid`);
  for (const [attempt, n] of Object.entries(omise.chargesPerAttempt())) {
    if (n > 1) tally.fault(`attempt ${attempt} made ${n} charges`);
  }
}

/** Executors were called for paid runs only, no more often than we know of, and whatever succeeded was done. */
async function checkExecutor(sql: postgres.Sql, { executor }: World, tally: Tally): Promise<void> {
  const rows = await sql<
    { id: string; state: string; attempt: number }[]
  >`select id, state, attempt from workflows.runs`;
  const calls = new Map<string, number>();
  for (const { runId, refusal } of executor.runs) {
    if (refusal === null) calls.set(fromWire('run', runId), (calls.get(fromWire('run', runId)) ?? 0) + 1);
  }
  const known = new Set(rows.map(({ id }) => id));
  for (const id of calls.keys()) if (!known.has(id)) tally.fault(`the executor worked for ${id}, unpaid`);
  for (const { id, state, attempt } of rows) {
    const times = calls.get(id) ?? 0;
    if (state === 'succeeded' && times === 0) tally.fault(`${id} has succeeded and was never sent`);
    if (times > attempt) tally.fault(`${id} is ${state} after ${attempt} attempts, and was sent ${times} times`);
    tally.count('runs in the end', state);
  }
}

/** By another way than the ledger's: from what was granted, bought, paid and given back; what is set aside is still there, and debt is missing. */
async function checkBalance(sql: postgres.Sql, account: string, tally: Tally): Promise<void> {
  const [row] = await sql<{ has: number; expected: number }[]>`
    select (select available + held - debt from credits.accounts where account_id = ${account})::int as has,
      ${GRANTED}::int
        + (select coalesce(sum(credits), 0)::int from payments.purchases
           where account_id = ${account} and state in ('completed', 'partially_refunded', 'refunded'))
        - (select coalesce(sum(case when quote is null then cost else paid end - returned), 0)::int from workflows.runs where account_id = ${account})
        - (select coalesce(sum(credits), 0)::int from refunds.refunds
           where account_id = ${account} and subject_type = 'purchase' and state = 'completed')
        - (select coalesce(sum(credits), 0)::int from refunds.clawbacks
           where account_id = ${account} and restored_at is null) as expected`;
  if (row?.has !== row?.expected) tally.fault(`${account} has ${row?.has}, and should ${row?.expected}`);
}
