import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { fromWire, toWire } from '../../src/platform/ids.ts';
import { linkProof } from '../dvm/link-proof.ts';
import { type Customer, invoiceOf, msatOf, offering, wordOf } from '../dvm/stage.ts';
import { type Client, newCustomer } from '../harness/client.ts';
import type { Cell, Scenario } from './cell.ts';
import { INVOICED, lendInvoices } from './lightning-scenarios.ts';
import type { RelaysHere } from './relays.ts';
import type { CrashStage } from './stage.ts';

/** A job that comes over relays, is asked for, paid by a zap, done and answered. It costs 30. */
interface Asking {
  customer: Customer;
  kind: number;
  /** Of the request. */
  id: string;
  isCut?: boolean;
  /** Until when its run was handed to a replica, at the last look. */
  lease?: string;
}

const [ASKED, BEGUN] = ['7000 payment-required', '7000 processing'];

const relaysOf = ({ relays }: CrashStage): RelaysHere => {
  if (!relays) throw new Error('there are no relays here');
  return relays;
};

async function kindOn(stage: CrashStage): Promise<number> {
  const executor = { max_attempts: 50, timeout_ms: 5_000, report_interval_s: 600 };
  const service = await stage.service('/echo?over=relays', { ...offering(), executor });
  return service.nostr_kind;
}

/** The request: signed, and not published yet. */
async function sign(stage: CrashStage): Promise<Asking & { send(): Promise<void> }> {
  const [kind, customer] = [await kindOn(stage), relaysOf(stage).customer()];
  const request = customer.sign(kind, [
    ['i', 'hello', 'text'],
    ['p', relaysOf(stage).us],
  ]);
  return { customer, kind, id: request.id, send: () => customer.publish(request) };
}

const said = (cell: Pick<Cell, 'stage'>, { id }: Asking, word: string) =>
  relaysOf(cell.stage)
    .about(id)
    .find((event) => wordOf(event) === word);

async function pay(cell: Cell, state: Asking): Promise<void> {
  const asked = await cell.until('it is asked for', async () => said(cell, state, ASKED));
  await state.customer.zap(asked, msatOf(asked));
  await answered(cell, state);
}

async function answered(cell: Cell, state: Asking): Promise<void> {
  await cell.until('it is answered', async () => said(cell, state, String(state.kind + 1000)));
  await cell.until('all of it is published', async () => {
    const [row] = await cell.stage.sql`
      select count(*)::int as n from workflows.nostr_events where job_id = ${state.id} and published_at is null`;
    return row?.['n'] === 0;
  });
}

/**
 * Leases run out that have stood since the last look: the answer to one that was given a moment ago may be on its way. And
 * the network is lost once, after which a relay tells again what was not taken.
 */
async function lend(stage: CrashStage, state: Asking): Promise<void> {
  if (!state.isCut) relaysOf(stage).cut();
  state.isCut = true;
  const isIdle = await Promise.race([stage.executor.idle().then(() => true), sleep(5).then(() => false)]);
  const [run] = await stage.sql`
    select r.id, r.next_attempt_at::text as lease from workflows.nostr_jobs j join workflows.runs r on r.id = j.run_id
    where j.id = ${state.id} and r.state in ('queued', 'running') and r.next_attempt_at > now()`;
  if (isIdle && run && run['lease'] === state.lease)
    await stage.sql`
      update workflows.runs set next_attempt_at = now()
      where id = ${run['id']} and state in ('queued', 'running') and next_attempt_at::text = ${run['lease']}`;
  state.lease = run?.['lease'];
}

/** Whatever was published twice is one event; it was credited once, taken once and ended once. Answers how often it was called for. */
async function doneOnce(stage: CrashStage, state: Asking): Promise<number> {
  const [row] = await stage.sql`
    select r.id as run, r.state, r.paid::int, r.returned::int, j.closed_at is not null as closed,
      (select array_agg(t.kind || ' ' || t.amount order by t.seq) from credits.transfers t where t.account_id = j.account_id) as moves,
      (select count(*)::int from workflows.runs o where o.account_id = j.account_id) as runs,
      (select array_agg(w.id order by w.seq) from workflows.nostr_events w where w.job_id = j.id) as words,
      (select count(*)::int from workflows.nostr_events w where w.job_id = j.id and w.is_last) as ended
    from workflows.nostr_jobs j left join workflows.runs r on r.account_id = j.account_id and r.id = j.run_id
    where j.id = ${state.id}`;
  const heard = relaysOf(stage).about(state.id);
  expect(heard.map(wordOf)).toEqual([ASKED, BEGUN, String(state.kind + 1000)]);
  const { run, ...stands } = row ?? {};
  expect(stands).toEqual({
    ...{ state: 'succeeded', paid: 30, returned: 0, closed: true, runs: 1, ended: 1 },
    moves: ['purchase 30', 'hold 30', 'capture 30'],
    words: heard.map(({ id }) => id),
  });
  return stage.executor.runs.filter(({ runId }) => runId === toWire('run', run)).length;
}

const asked: Scenario<Awaited<ReturnType<typeof sign>>> = {
  name: 'a job comes over relays and is asked for',
  points: ['workflows.nostr.after_intake', 'workflows.nostr.after_say'],
  set: sign,
  play: async (cell, state) => {
    await state.send();
    await pay(cell, state);
    state.customer.close();
  },
  lend,
  check: async (stage, state) => expect(await doneOnce(stage, state), 'calls').toBe(1),
};

const zapped: Scenario<Asking> = {
  name: 'a job is zapped, done and answered',
  points: [
    'workflows.nostr.before_zap_commit',
    'workflows.nostr.before_follow_commit',
    'workflows.nostr.after_publish',
  ],
  set: async (stage) => {
    const state = await sign(stage);
    await state.send();
    while (!said({ stage }, state, ASKED)) await sleep(20);
    return state;
  },
  play: async (cell, state) => {
    await pay(cell, state);
    state.customer.close();
  },
  lend,
  // Who dies while it is done leaves open whether it was; then it is called for again, as the same run.
  check: async (stage, state) => expect(await doneOnce(stage, state), 'calls').toBeGreaterThan(0),
};

/** By the invoice of our wallet that stands in the ask, and told of by the wallet alone. */
const invoiced: Scenario<Awaited<ReturnType<typeof sign>>> = {
  name: 'a job is paid by its invoice',
  points: [...INVOICED, 'workflows.nostr.before_follow_commit'],
  set: async (stage) => {
    stage.wallet.faults({});
    return sign(stage);
  },
  play: async (cell, state) => {
    await state.send();
    const ask = await cell.until('it is asked for', async () => said(cell, state, ASKED));
    await cell.stage.wallet.pay(invoiceOf(ask));
    await answered(cell, state);
    state.customer.close();
  },
  lend: async (stage, state) => {
    await lendInvoices(stage);
    await stage.sql`update platform.deliveries set next_attempt_at = now() where next_attempt_at is not null`;
    await lend(stage, state);
  },
  check: async (stage, state) => expect(await doneOnce(stage, state), 'calls').toBeGreaterThan(0),
};

interface Linking {
  person: Client;
  customer: Customer;
  shadow: string;
}

/** The key has 45 credits of a zap that was too much. */
const linked: Scenario<Linking> = {
  name: 'a key of Nostr is taken to an account',
  points: ['workflows.nostr.before_link_commit'],
  set: async (stage) => {
    const customer = relaysOf(stage).customer();
    const shadow = randomUUID();
    await stage.sql.begin(async (sql) => {
      await sql`insert into identity.accounts (id, shadow_of) values (${shadow}, ${`nostr:${customer.pubkey}`})`;
      await sql`insert into workflows.nostr_customers (pubkey, account_id) values (${customer.pubkey}, ${shadow})`;
    });
    customer.close();
    const body = { credits: 45, reason: 'zapped too much' };
    await stage.operator.ok('POST', `/v1/admin/accounts/${toWire('account', shadow)}/grants`, { body });
    return { person: await newCustomer(stage.farebox), customer, shadow };
  },
  play: async (cell, { person, customer }) => {
    const link = () => linkProof(cell.stage.farebox.url, person.accountId, { secret: customer.secret });
    await cell.until('the key is linked', async () => {
      const reply = await cell.insist(person, 'POST', '/v1/nostr/keys', { body: { proof: link() } });
      return reply.object === 'nostr_key';
    });
  },
  check: async ({ sql }, { person, customer, shadow }) => {
    expect((await person.ok('GET', '/v1/credits/balance')).available).toBe(45);
    const moves = await sql`
      select debit || ' ' || credit as move from credits.transfers
      where kind = 'link' and account_id in (${shadow}, ${fromWire('account', person.accountId)}) order by debit`;
    expect(moves.map((row) => row['move'])).toEqual(['available linked', 'linked available']);
    const [row] = await sql`select account_id from workflows.nostr_customers where pubkey = ${customer.pubkey}`;
    expect(row?.['account_id']).toBe(fromWire('account', person.accountId));
  },
};

export const dvmScenarios = [asked, zapped, invoiced, linked];
