import { decrypt as decrypt04, encrypt as encrypt04 } from 'nostr-tools/nip04';
import { decrypt, encrypt, getConversationKey } from 'nostr-tools/nip44';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Json } from '../harness/client.ts';
import { faultsAtRest } from '../harness/whole-books.ts';
import { balanceOf, type Customer, type DvmStage, infoOf, type Job, msatOf, openDvmStage } from './stage.ts';

/** The Nostr column of the table of triggers (research §6.3): what customers hear of each, over two relays of two makers. */

let stage: DvmStage;
let customer: Customer;
beforeAll(async () => {
  stage = await openDvmStage();
});
afterEach(async () => {
  customer.close();
  expect(await faultsAtRest(stage.farebox.database.superuserUrl)).toEqual([]);
});
afterAll(() => stage.close());

const newcomer = () => {
  customer = stage.customer_();
  return customer;
};
const [ASKED, BEGUN, PART, ERROR] = ['7000 payment-required', '7000 processing', '7000 partial', '7000 error'];
const callsOf = (path: string) => stage.executor.runs.filter((run) => run.path === path).length;
const balance = () => balanceOf(stage, customer);
/** A job that is asked for and paid at once. */
async function paidJob(kind: number, tags?: string[][]): Promise<Job> {
  const job = await customer.ask(kind, tags);
  const asked = await job.word(ASKED);
  await customer.zap(asked, msatOf(asked));
  return job;
}
/** Credits that a customer has from an earlier payment, which came too late or was too much. */
async function withCredits(kind: number, credits: bigint): Promise<void> {
  const job = await customer.ask(kind);
  await customer.zap(await job.word(ASKED), credits * 1000n + 30_000n);
  await job.over();
}
const older = (event: Json, ms: number) =>
  stage.root`update workflows.asks set expires_at = expires_at - make_interval(secs => ${ms / 1000})
    where id = (select ask_id from workflows.nostr_events where id = ${event.id})`;

describe('upfront', () => {
  // REQ V2 V3 V6
  test('asked for before any work, paid by a zap, done, and delivered', async () => {
    const { kind } = await stage.sell({}, { path: '/summarize' });
    const job = await newcomer().ask(kind, [['param', 'text', 'hello']]);
    const asked = await job.word(ASKED);
    expect(msatOf(asked)).toBe(30_000n);
    expect(callsOf('/summarize')).toBe(0);
    await customer.zap(asked, 30_000n);
    expect(await job.over()).toEqual([ASKED, BEGUN, String(kind + 1000)]);
    expect(callsOf('/summarize')).toBe(1);
    const result = await job.word(String(kind + 1000));
    expect(JSON.parse(result.tags.find(([name]) => name === 'request')?.[1] ?? '')).toMatchObject({ id: job.id });
    expect(result.tags).toContainEqual(['p', customer.pubkey]);
    expect(job.answers().every((one, at, all) => at === 0 || one.created_at > (all[at - 1]?.created_at ?? 0))).toBe(
      true,
    );
    expect(await balance()).toMatchObject({ available: 0, held: 0 });
  });

  test('with enough credits of an earlier payment it begins at once', async () => {
    const { kind } = await stage.sell();
    newcomer();
    await withCredits(kind, 30n);
    const job = await customer.ask(kind);
    expect(await job.over()).toEqual([BEGUN, String(kind + 1000)]);
    expect(await balance()).toMatchObject({ available: 0 });
  });

  // REQ V5 V7
  test('a zap that is short is an error that ends the job, and its credits are the customer’s', async () => {
    const { kind } = await stage.sell({ underpay: 'reject' });
    const job = await newcomer().ask(kind);
    await customer.zap(await job.word(ASKED), 20_000n);
    expect(await job.over()).toEqual([ASKED, ERROR]);
    expect(infoOf(await job.word(ERROR))).toMatch(/^Insufficient payment: 20 of 30 credits/);
    expect(await balance()).toMatchObject({ available: 20, held: 0 });
  });

  // REQ V5
  test('or, where the policy gathers payments, the rest is asked for', async () => {
    const { kind } = await stage.sell({ underpay: 'accumulate' });
    const job = await newcomer().ask(kind);
    await customer.zap(await job.word(ASKED), 20_000n);
    const rest = await job.word(ASKED, 2);
    expect([msatOf(rest), infoOf(rest)]).toEqual([10_000n, '10 of 30 credits are still to be paid.']);
    await customer.zap(rest, 10_000n);
    expect(await job.over()).toEqual([ASKED, ASKED, BEGUN, String(kind + 1000)]);
  });

  test('what comes too much, twice or late is credits of the customer, and starts nothing again', async () => {
    const { kind } = await stage.sell();
    const job = await newcomer().ask(kind);
    const asked = await job.word(ASKED);
    await customer.zap(asked, 35_000n);
    await job.over();
    await customer.zap(asked, 30_000n);
    await expect.poll(balance, { timeout: 20_000 }).toMatchObject({ available: 35, held: 0 });
    expect(job.words()).toEqual([ASKED, BEGUN, String(kind + 1000)]);
  });

  // REQ V7
  test('not paid in time: payment timeout, once; a late zap starts nothing and is not lost', async () => {
    const { kind } = await stage.sell();
    const job = await newcomer().ask(kind);
    const asked = await job.word(ASKED);
    await older(asked, 3_600_000);
    expect(await job.over()).toEqual([ASKED, ERROR]);
    expect(infoOf(await job.word(ERROR))).toMatch(/^Payment timeout/);
    await customer.zap(asked, 30_000n);
    await expect.poll(balance, { timeout: 20_000 }).toMatchObject({ available: 30, held: 0 });
    expect(job.words()).toEqual([ASKED, ERROR]);
  });

  test('a bid below the price is told the price, and begins when that is paid; never from credits', async () => {
    const { kind } = await stage.sell();
    newcomer();
    await withCredits(kind, 50n);
    const job = await customer.ask(kind, [['bid', '29999']]);
    const asked = await job.word(ASKED);
    expect([msatOf(asked), infoOf(asked)]).toEqual([30_000n, expect.stringContaining('more than you wanted to pay')]);
    await customer.zap(asked, 30_000n);
    expect(await job.over()).toEqual([ASKED, BEGUN, String(kind + 1000)]);
    expect(await balance()).toMatchObject({ available: 50 });
    const enough = await customer.ask(kind, [['bid', '30000']]);
    expect(await enough.over()).toEqual([BEGUN, String(kind + 1000)]);
  });

  // REQ V7
  test('work that fails: an error that says what became of the money', async () => {
    const { kind } = await stage.sell({}, { path: '/refuse' });
    newcomer();
    const job = await paidJob(kind);
    expect(await job.over()).toEqual([ASKED, BEGUN, ERROR]);
    expect(infoOf(await job.word(ERROR))).toContain('What was paid is on your account again.');
    expect(await balance()).toMatchObject({ available: 30, held: 0 });
  });
});

describe('after', () => {
  const after = (more: Json = {}) => ({
    mode: 'after',
    after: { credit_limit: 60, max_unpaid_runs: 1, grace_s: 3600, ...more },
  });

  // REQ V4 V6
  test('the result comes first, with the amount; it can be zapped, or its request', async () => {
    const { kind } = await stage.sell(after());
    for (const zaps of ['result', 'request'] as const) {
      const job = await newcomer().ask(kind);
      expect(await job.over()).toEqual([BEGUN, String(kind + 1000)]);
      const result = await job.word(String(kind + 1000));
      expect(msatOf(result)).toBe(30_000n);
      await customer.zap(zaps === 'result' ? result : job, 30_000n);
      const [run] = await stage.root`select run_id from workflows.nostr_jobs where id = ${job.id}`;
      await expect
        .poll(
          async () =>
            (await stage.root`select payment_state from workflows.runs where id = ${run?.['run_id']}`)[0]?.[
              'payment_state'
            ],
          { timeout: 20_000 },
        )
        .toBe('paid');
      customer.close();
    }
  });

  test('beyond the limit the old debt is asked for; paying it lets jobs run again', async () => {
    const { kind } = await stage.sell(after());
    await (await newcomer().ask(kind)).over();
    const refused = await customer.ask(kind);
    const asked = await refused.word(ASKED);
    expect([msatOf(asked), infoOf(asked)]).toEqual([30_000n, 'An earlier job is to be paid first.']);
    await customer.zap(asked, 30_000n);
    await expect
      .poll(
        async () =>
          (
            await stage.root`select count(*)::int as n from workflows.asks where state = 'open' and id in (select ask_id from workflows.nostr_events where id = ${asked.id})`
          )[0]?.['n'],
        { timeout: 20_000 },
      )
      .toBe(0);
    expect(await (await customer.ask(kind)).over()).toEqual([BEGUN, String(kind + 1000)]);
    expect(refused.words()).toEqual([ASKED]);
  });

  // REQ V1
  test('flexible: the customer says how; a written-off debt means upfront, and says so', async () => {
    const { kind } = await stage.sell({ ...after(), mode: 'flexible', default: 'upfront' });
    const job = await newcomer().ask(kind, [['param', 'payment', 'after']]);
    expect(await job.over()).toEqual([BEGUN, String(kind + 1000)]);
    await older(await job.word(String(kind + 1000)), 7_200_000);
    await expect
      .poll(
        async () =>
          (
            await stage.root`select state from workflows.asks where id = (select ask_id from workflows.nostr_events where job_id = ${job.id} and is_last)`
          )[0]?.['state'],
        { timeout: 20_000 },
      )
      .toBe('written_off');
    const next = await customer.ask(kind, [['param', 'payment', 'after']]);
    expect(infoOf(await next.word(ASKED))).toContain('an earlier run was never paid');
    const unasked = await stage.customer_().ask(kind);
    await unasked.word(ASKED);
  });
});

// REQ V8
test('part by part: each is delivered when it is paid, and the next one asked for', async () => {
  const { kind } = await stage.sell({ milestones: [10, 5, 15] }, { path: '/milestones' });
  const job = await newcomer().ask(kind);
  for (const [n, msat] of [10_000n, 5_000n, 15_000n].entries()) {
    const asked = await job.word(ASKED, n + 1);
    expect(msatOf(asked)).toBe(msat);
    expect(job.words().filter((word) => word === PART)).toHaveLength(n);
    await customer.zap(asked, msat);
  }
  expect(await job.over()).toEqual([ASKED, BEGUN, PART, ASKED, PART, ASKED, PART, String(kind + 1000)]);
});

describe('refused', () => {
  // REQ V7
  test.each<[string, (kind: number) => Promise<Job>, RegExp]>([
    [
      'of a kind that nobody does any more',
      async (kind) => {
        await stage.root`update workflows.services set active = false where nostr_kind = ${kind}`;
        return customer.ask(kind);
      },
      /^No job of this kind/,
    ],
    [
      'of two days ago',
      (kind) => customer.ask(kind, [], { created_at: Math.floor(Date.now() / 1000) - 86_400 - 100 }),
      /older than a day/,
    ],
    ['that does not fit the schema', (kind) => customer.ask(kind, [['param', 'count', 'many']]), /\/input\/count/],
    [
      'that cannot be decrypted',
      (kind) => customer.ask(kind, [['encrypted']], { content: 'AgAAAA' }),
      /cannot be read/,
    ],
    ['with a NUL in it', (kind) => customer.ask(kind, [['param', 'text', 'a\0b']]), /no text/],
  ])('%s: one error that says why', async (_, send, says) => {
    const schema = { type: 'object', properties: { count: { type: 'integer' } } };
    const { kind } = await stage.sell({}, { input_schema: schema });
    newcomer();
    await expect.poll(async () => (await stage.root`select 1`).length).toBe(1);
    const job = await send(kind);
    expect(await job.over()).toEqual([ERROR]);
    expect(infoOf(await job.word(ERROR))).toMatch(says);
  });

  test('numbers and objects in tags are what the schema says they are', async () => {
    const schema = { type: 'object', properties: { count: { type: 'integer' } }, required: ['count'] };
    const { kind } = await stage.sell({}, { input_schema: schema });
    newcomer();
    const job = await paidJob(kind, [
      ['param', 'count', '3'],
      ['i', 'https://example.com', 'url', '', 'source'],
    ]);
    await job.over();
    expect(JSON.parse((await job.word(String(kind + 1000))).content)).toMatchObject({
      echo: { count: 3, inputs: [{ data: 'https://example.com', type: 'url', marker: 'source' }] },
    });
  });
});

test('its author deletes the request: cancelled, and what was paid for work that was not begun goes back', async () => {
  const { kind } = await stage.sell();
  const job = await newcomer().ask(kind);
  await job.word(ASKED);
  await customer.publish(
    customer.sign(5, [
      ['e', job.id],
      ['k', String(kind)],
      ['p', stage.us],
    ]),
  );
  expect(await job.over()).toEqual([ASKED, ERROR]);
  expect(infoOf(await job.word(ERROR))).toBe('Cancelled. Nothing was charged.');
  // Somebody else's word counts for nothing.
  const other = await customer.ask(kind);
  await other.word(ASKED);
  const stranger = stage.customer_();
  await stranger.publish(
    stranger.sign(5, [
      ['e', other.id],
      ['p', stage.us],
    ]),
  );
  await customer.zap(await other.word(ASKED), 30_000n);
  expect(await other.over()).toEqual([ASKED, BEGUN, String(kind + 1000)]);
  stranger.close();
});

test.each(['nip44', 'nip04'] as const)(
  'an encrypted request is answered in the same way (%s); what it costs stays in clear',
  async (cipher) => {
    const { kind } = await stage.sell();
    newcomer();
    const tags = JSON.stringify([['param', 'text', 'a secret']]);
    const shared = getConversationKey(customer.secret, stage.us);
    const content = cipher === 'nip44' ? encrypt(tags, shared) : encrypt04(customer.secret, stage.us, tags);
    const job = await customer.ask(kind, [['encrypted']], { content });
    const asked = await job.word(ASKED);
    expect(msatOf(asked)).toBe(30_000n);
    await customer.zap(asked, 30_000n);
    await job.over();
    const result = await job.word(String(kind + 1000));
    expect(result.content).not.toContain('secret');
    const text =
      cipher === 'nip44' ? decrypt(result.content, shared) : decrypt04(customer.secret, stage.us, result.content);
    expect(JSON.parse(text)).toMatchObject({ echo: { text: 'a secret' } });
  },
);
