import { decrypt as decrypt04, encrypt as encrypt04 } from 'nostr-tools/nip04';
import { decrypt, encrypt, getConversationKey } from 'nostr-tools/nip44';
import { afterAll, test as baseTest, beforeAll, describe, expect } from 'vitest';
import { eventually, type Json } from '../harness/client.ts';
import { faultsAtRest } from '../harness/whole-books.ts';
import { balanceOf, type Customer, type DvmStage, infoOf, type Job, msatOf, openDvmStage } from './stage.ts';

/** The Nostr column of the table of triggers (research §6.3): what customers hear of each, over two relays of two makers. */

let stage: DvmStage;
/** Kinds of the services that are offered, by what is special about them. */
const kinds = {} as Record<keyof typeof offers, number>;
const after = (more: Json = {}) => ({
  ...{ mode: 'after', after: { credit_limit: 60, max_unpaid_runs: 1, grace_s: 3600 }, ...more },
});
const offers = {
  plain: [{}],
  summary: [{}, { path: '/summarize' }],
  reject: [{ underpay: 'reject' }],
  gather: [{ underpay: 'accumulate' }],
  broken: [{}, { path: '/refuse' }],
  after: [after()],
  flexible: [after({ mode: 'flexible', default: 'upfront' })],
  parts: [{ milestones: [10, 5, 15] }, { path: '/milestones' }],
  counting: [{}, { input_schema: { type: 'object', properties: { count: { type: 'integer' } } } }],
  gone: [{}],
} satisfies Record<string, Json[]>;

beforeAll(async () => {
  stage = await openDvmStage();
  for (const [name, [payment, terms]] of Object.entries(offers) as [keyof typeof offers, Json[]][])
    kinds[name] = (await stage.sell(payment, terms)).kind;
});
afterAll(async () => {
  expect(await faultsAtRest(stage.farebox.database.superuserUrl)).toEqual([]);
  await stage.close();
});

/** Each test has a customer of its own, so that they can all go on at once. */
const test = baseTest.extend<{ customer: Customer }>({
  // biome-ignore lint/correctness/noEmptyPattern: vitest reads what a fixture needs from its first parameter
  customer: async ({}, use) => {
    const customer = stage.newCustomer();
    await use(customer);
    customer.close();
  },
});

const [ASKED, BEGUN, PART, ERROR] = ['7000 payment-required', '7000 processing', '7000 partial', '7000 error'];
const callsOf = (path: string) => stage.executor.runs.filter((run) => run.path === path).length;
/** A job that is asked for and paid at once. */
async function paidJob(customer: Customer, kind: number, tags?: string[][]): Promise<Job> {
  const job = await customer.ask(kind, tags);
  const asked = await job.word(ASKED);
  await customer.zap(asked, msatOf(asked));
  return job;
}
/** Credits that a customer has from an earlier payment, which came too late or was too much. */
async function withCredits(customer: Customer, kind: number, credits: bigint): Promise<void> {
  const job = await customer.ask(kind);
  await customer.zap(await job.word(ASKED), credits * 1000n + 30_000n);
  await job.over();
}
const holds = (customer: Customer, credits: number) =>
  eventually(
    () => balanceOf(stage, customer),
    ({ available, held }) => available === credits && held === 0,
  );
const paymentIs = (job: Job, state: string) =>
  eventually(
    () =>
      stage.root`select payment_state from workflows.runs r join workflows.nostr_jobs j on j.run_id = r.id where j.id = ${job.id}`,
    ([row]) => row?.['payment_state'] === state,
  );
const older = (event: Json, ms: number) =>
  stage.root`update workflows.asks set expires_at = expires_at - make_interval(secs => ${ms / 1000})
    where id = (select ask_id from workflows.nostr_events where id = ${event.id})`;

describe.concurrent('upfront', () => {
  // REQ V2 V3 V6
  test('asked for before any work, paid by a zap, done, and delivered', async ({ customer }) => {
    const kind = kinds.summary;
    const job = await customer.ask(kind, [['param', 'text', 'hello']]);
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
    expect(await balanceOf(stage, customer)).toMatchObject({ available: 0, held: 0 });
  });

  test('with enough credits of an earlier payment it begins at once', async ({ customer }) => {
    const kind = kinds.plain;
    await withCredits(customer, kind, 30n);
    const job = await customer.ask(kind);
    expect(await job.over()).toEqual([BEGUN, String(kind + 1000)]);
    expect(await balanceOf(stage, customer)).toMatchObject({ available: 0 });
  });

  // REQ V5 V7
  test('a zap that is short is an error that ends the job, and its credits are the customer’s', async ({
    customer,
  }) => {
    const kind = kinds.reject;
    const job = await customer.ask(kind);
    await customer.zap(await job.word(ASKED), 20_000n);
    expect(await job.over()).toEqual([ASKED, ERROR]);
    expect(infoOf(await job.word(ERROR))).toMatch(/^Insufficient payment: 20 of 30 credits/);
    expect(await balanceOf(stage, customer)).toMatchObject({ available: 20, held: 0 });
  });

  // REQ V5
  test('or, where the policy gathers payments, the rest is asked for', async ({ customer }) => {
    const kind = kinds.gather;
    const job = await customer.ask(kind);
    await customer.zap(await job.word(ASKED), 20_000n);
    const rest = await job.word(ASKED, 2);
    expect([msatOf(rest), infoOf(rest)]).toEqual([10_000n, '10 of 30 credits are still to be paid.']);
    await customer.zap(rest, 10_000n);
    expect(await job.over()).toEqual([ASKED, ASKED, BEGUN, String(kind + 1000)]);
  });

  test('what comes too much, twice or late is credits of the customer, and starts nothing again', async ({
    customer,
  }) => {
    const kind = kinds.plain;
    const job = await customer.ask(kind);
    const asked = await job.word(ASKED);
    await customer.zap(asked, 35_000n);
    await job.over();
    await customer.zap(asked, 30_000n);
    await holds(customer, 35);
    expect(job.words()).toEqual([ASKED, BEGUN, String(kind + 1000)]);
  });

  // REQ V7
  test('not paid in time: payment timeout, once; a late zap starts nothing and is not lost', async ({ customer }) => {
    const kind = kinds.plain;
    const job = await customer.ask(kind);
    const asked = await job.word(ASKED);
    await older(asked, 3_600_000);
    expect(await job.over()).toEqual([ASKED, ERROR]);
    expect(infoOf(await job.word(ERROR))).toMatch(/^Payment timeout/);
    await customer.zap(asked, 30_000n);
    await holds(customer, 30);
    expect(job.words()).toEqual([ASKED, ERROR]);
  });

  test('a bid below the price is told the price, and begins when that is paid; never from credits', async ({
    customer,
  }) => {
    const kind = kinds.plain;
    await withCredits(customer, kind, 50n);
    const job = await customer.ask(kind, [['bid', '29999']]);
    const asked = await job.word(ASKED);
    expect([msatOf(asked), infoOf(asked)]).toEqual([30_000n, expect.stringContaining('more than you wanted to pay')]);
    await customer.zap(asked, 30_000n);
    expect(await job.over()).toEqual([ASKED, BEGUN, String(kind + 1000)]);
    expect(await balanceOf(stage, customer)).toMatchObject({ available: 50 });
    const enough = await customer.ask(kind, [['bid', '30000']]);
    expect(await enough.over()).toEqual([BEGUN, String(kind + 1000)]);
  });

  // REQ V7
  test('work that fails: an error that says what became of the money', async ({ customer }) => {
    const kind = kinds.broken;
    const job = await paidJob(customer, kind);
    expect(await job.over()).toEqual([ASKED, BEGUN, ERROR]);
    expect(infoOf(await job.word(ERROR))).toContain('What was paid is on your account again.');
    expect(await balanceOf(stage, customer)).toMatchObject({ available: 30, held: 0 });
  });
});

describe.concurrent('after', () => {
  // REQ V4 V6
  test('the result comes first, with the amount; it can be zapped, or its request', async ({ customer }) => {
    const kind = kinds.after;
    for (const zaps of ['result', 'request'] as const) {
      const job = await customer.ask(kind);
      expect(await job.over()).toEqual([BEGUN, String(kind + 1000)]);
      const result = await job.word(String(kind + 1000));
      expect(msatOf(result)).toBe(30_000n);
      await customer.zap(zaps === 'result' ? result : job, 30_000n);
      await paymentIs(job, 'paid');
    }
  });

  test('beyond the limit the old debt is asked for; paying it lets jobs run again', async ({ customer }) => {
    const kind = kinds.after;
    const first = await customer.ask(kind);
    await first.over();
    const refused = await customer.ask(kind);
    const asked = await refused.word(ASKED);
    expect([msatOf(asked), infoOf(asked)]).toEqual([30_000n, 'An earlier job is to be paid first.']);
    await customer.zap(asked, 30_000n);
    await paymentIs(first, 'paid');
    expect(await (await customer.ask(kind)).over()).toEqual([BEGUN, String(kind + 1000)]);
    expect(refused.words()).toEqual([ASKED]);
  });

  // REQ V1
  test('flexible: the customer says how; a written-off debt means upfront, and says so', async ({ customer }) => {
    const kind = kinds.flexible;
    const job = await customer.ask(kind, [['param', 'payment', 'after']]);
    expect(await job.over()).toEqual([BEGUN, String(kind + 1000)]);
    await older(await job.word(String(kind + 1000)), 7_200_000);
    await paymentIs(job, 'written_off');
    const next = await customer.ask(kind, [['param', 'payment', 'after']]);
    expect(infoOf(await next.word(ASKED))).toContain('an earlier run was never paid');
    const unasked = await stage.newCustomer().ask(kind);
    await unasked.word(ASKED);
  });
});

// REQ V8
test('part by part: each is delivered when it is paid, and the next one asked for', async ({ customer }) => {
  const kind = kinds.parts;
  const job = await customer.ask(kind);
  for (const [n, msat] of [10_000n, 5_000n, 15_000n].entries()) {
    const asked = await job.word(ASKED, n + 1);
    expect(msatOf(asked)).toBe(msat);
    expect(job.words().filter((word) => word === PART)).toHaveLength(n);
    await customer.zap(asked, msat);
  }
  expect(await job.over()).toEqual([ASKED, BEGUN, PART, ASKED, PART, ASKED, PART, String(kind + 1000)]);
});

describe.concurrent('refused', () => {
  // REQ V7
  test('what cannot be begun: one error that says why', async ({ customer }) => {
    const kind = kinds.counting;
    await stage.root`update workflows.services set active = false where nostr_kind = ${kinds.gone}`;
    const told = async (job: Job) => [await job.over(), infoOf(await job.word(ERROR))];
    const refusals: [Promise<Job>, RegExp][] = [
      [customer.ask(kinds.gone), /^No job of this kind/],
      [customer.ask(kind, [['param', 'count', 'many']]), /\/input\/count/],
      [customer.ask(kind, [['encrypted']], { content: 'AgAAAA' }), /cannot be read/],
    ];
    for (const [job, says] of refusals) expect(await told(await job)).toEqual([[ERROR], expect.stringMatching(says)]);
  });

  test('what was taken in and lay for a day is not begun, and not paid', async ({ customer }) => {
    const job = await customer.ask(kinds.plain, [], { created_at: Math.floor(Date.now() / 1000) - 90_000 });
    const request = JSON.stringify(job.request);
    await stage.root`insert into workflows.nostr_customers (pubkey, account_id) values (${customer.pubkey}, gen_random_uuid())`;
    await stage.root`insert into workflows.nostr_jobs (id, account_id, pubkey, request, relays, last_word_at)
      select ${job.id}, account_id, pubkey, ${request}::text::json, '[]', ${job.request.created_at}
      from workflows.nostr_customers where pubkey = ${customer.pubkey}`;
    expect(await job.over()).toEqual([ERROR]);
    expect(infoOf(await job.word(ERROR))).toMatch(/older than a day/);
  });

  test('numbers and objects in tags are what the schema says they are', async ({ customer }) => {
    const kind = kinds.counting;
    const job = await paidJob(customer, kind, [
      ['param', 'count', '3'],
      ['i', 'https://example.com', 'url', '', 'source'],
    ]);
    await job.over();
    expect(JSON.parse((await job.word(String(kind + 1000))).content)).toMatchObject({
      echo: { count: 3, inputs: [{ data: 'https://example.com', type: 'url', marker: 'source' }] },
    });
  });
});

test('its author deletes the request: cancelled, and what was paid for work that was not begun goes back', async ({
  customer,
}) => {
  const kind = kinds.plain;
  const job = await customer.ask(kind);
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
  const stranger = stage.newCustomer();
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

test.for(['nip44', 'nip04'] as const)(
  'an encrypted request is answered in the same way (%s); what it costs stays in clear',
  async (cipher, { customer }) => {
    const kind = kinds.plain;
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
