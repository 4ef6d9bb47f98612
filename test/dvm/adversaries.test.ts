import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { eq, sql } from 'drizzle-orm';
import { decrypt, encrypt, getConversationKey } from 'nostr-tools/nip44';
import { afterAll, test as baseTest, beforeAll, describe, expect } from 'vitest';
import { openDatabase } from '../../src/platform/database/clients.ts';
import { toWire } from '../../src/platform/ids.ts';
import { createMetrics } from '../../src/platform/metrics.ts';
import { rememberDefinitions } from '../../src/workflows/definitions.ts';
import { begin } from '../../src/workflows/dvm/begin.ts';
import { accountOfKey, workflowFor } from '../../src/workflows/dvm/customers.ts';
import type { DvmDeps } from '../../src/workflows/dvm/deps.ts';
import { createIntake } from '../../src/workflows/dvm/intake.ts';
import { jobs } from '../../src/workflows/dvm/tables.ts';
import { services } from '../../src/workflows/tables.ts';
import { type Client, clientOf, eventually } from '../harness/client.ts';
import { startProxy } from '../harness/tcp-proxy.ts';
import { faultsAtRest } from '../harness/whole-books.ts';
import { linkProof } from './link-proof.ts';
import { balanceOf, type Customer, type DvmStage, infoOf, msatOf, openDvmStage } from './stage.ts';

/** Requests that are made to hurt, and moments at which things cross: nothing waits for ever, and nothing is paid unasked. */

let stage: DvmStage;
let silentAt: string;
const kinds = { plain: 0, fussy: 0, silent: 0, empty: 0 };
const schema = { type: 'object', properties: { count: { type: 'integer' }, what: { type: 'object' } } };
/** Takes every call, and never says a word. */
const silent = createServer(() => {});
beforeAll(async () => {
  await once(silent.listen(0, '127.0.0.1'), 'listening');
  silentAt = `127.0.0.1:${(silent.address() as AddressInfo).port}`;
  stage = await openDvmStage({ env: { NOSTR_ALLOW: silentAt } });
  stage.executor.behave((run) => (run.path === '/empty' ? { json: '' } : undefined));
  kinds.plain = (await stage.sell()).kind;
  kinds.fussy = (await stage.sell({}, { input_schema: schema })).kind;
  kinds.silent = (await stage.sell({}, { path: '/async-silent' })).kind;
  kinds.empty = (await stage.sell({}, { path: '/empty' })).kind;
});
afterAll(async () => {
  expect(await faultsAtRest(stage.farebox.database.superuserUrl)).toEqual([]);
  await stage.close();
  silent.close();
});

const test = baseTest.extend<{ customer: Customer }>({
  // biome-ignore lint/correctness/noEmptyPattern: vitest reads what a fixture needs from its first parameter
  customer: async ({}, use) => {
    const customer = stage.newCustomer();
    await use(customer);
    customer.close();
  },
});
const [ASKED, ERROR] = ['7000 payment-required', '7000 error'];
const seconds = () => Math.floor(Date.now() / 1000);
/** Credits from a payment that was too much. */
async function withCredits(customer: Customer, credits: bigint): Promise<void> {
  const job = await customer.ask(kinds.plain);
  await customer.zap(await job.word(ASKED), credits * 1000n + 30_000n);
  await job.over();
}

describe.concurrent('poison', () => {
  test('a deletion of what can be no id makes nobody deaf', async ({ customer }) => {
    const since = new Date();
    const deletion = [
      ['e', 'a\0b'],
      ['e', 'nothing'],
      ['p', stage.us],
    ];
    await customer.publish(customer.sign(5, deletion));
    for (const relay of stage.relays) relay.cut();
    await eventually(
      () => stage.root`select relay from workflows.nostr_cursors where heard_until > ${since}`,
      (heard) => heard.length === stage.relays.length,
    );
  });

  test('what is said of a request from the future is said today', async ({ customer }) => {
    const job = await customer.ask(kinds.plain, [], { created_at: seconds() + 600 });
    expect((await job.word(ASKED)).created_at).toBeLessThan(seconds() + 60);
  });

  test.for([
    ['characters that are no text', '{"a":["\\u0000"]}', /no text/],
    ['half of a pair in a name', '{"\\ud800":1}', /no text/],
    ['a depth without end', '['.repeat(9_000) + ']'.repeat(9_000), /nested deeper/],
  ] as const)('a parameter with %s is refused once', async ([, what, says], { customer }) => {
    const job = await customer.ask(kinds.fussy, [['param', 'what', what]]);
    expect(await job.over()).toEqual([ERROR]);
    expect(infoOf(await job.word(ERROR))).toMatch(says);
  });

  test('a result of nothing at all reaches whoever asked in secret', async ({ customer }) => {
    const shared = getConversationKey(customer.secret, stage.us);
    const job = await customer.ask(kinds.empty, [['encrypted']], { content: encrypt('[]', shared) });
    await customer.zap(await job.word(ASKED), 30_000n);
    await job.over();
    expect(decrypt((await job.word(String(kinds.empty + 1000))).content, shared)).toBe('""');
  });
});

test('what goes wrong with a secret request is told in secret', async ({ customer }) => {
  const shared = getConversationKey(customer.secret, stage.us);
  const tags = [
    ['param', 'count', 'a secret'],
    ['relays', 'wss://secret.example'],
  ];
  const job = await customer.ask(kinds.fussy, [['encrypted']], { content: encrypt(JSON.stringify(tags), shared) });
  await job.over();
  const { tags: said, content } = await job.word(ERROR);
  expect(JSON.stringify(said)).not.toMatch(/count|secret/);
  expect(JSON.parse(decrypt(content, shared))).toEqual([['status', 'error', expect.stringMatching(/\/input\/count/)]]);
});

test('what cannot be read is told where its author listens, and in secret who asked in secret', async ({
  customer,
}) => {
  const shared = getConversationKey(customer.secret, stage.us);
  const tags = [
    ['bid', '21.5'],
    ['relays', `ws://${silentAt}/there`],
  ];
  const job = await customer.ask(kinds.plain, [['encrypted']], { content: encrypt(JSON.stringify(tags), shared) });
  const open = await customer.ask(kinds.plain, tags);
  for (const { id, over } of [job, open]) {
    expect(await over()).toEqual([ERROR]);
    const [kept] = await stage.root`select relays from workflows.nostr_jobs where id = ${id}`;
    expect(kept?.['relays']).toEqual([`ws://${silentAt}/there`]);
  }
  const { tags: said, content } = await job.word(ERROR);
  expect(JSON.stringify(said)).not.toMatch(/bid/);
  expect(JSON.parse(decrypt(content, shared))).toEqual([['status', 'error', expect.stringMatching(/bid/)]]);
  expect(infoOf(await open.word(ERROR))).toMatch(/bid/);
});

// REQ E6.1
test.for([
  ['a parameter', [['param', 'note', '4242 4242 4242 4242']], ''],
  ['JSON in a parameter', [['param', 'what', '{"\\u0000":1,"note":["4242424242424242"]}']], ''],
  ['an input', [['i', '4242424242424242', 'text']], ''],
  ['a tag that nobody reads', [['t', '4242-4242-4242-4242']], ''],
  ['the content', [], '4242424242424242'],
  ['what is encrypted', [['encrypted']], JSON.stringify([['param', 'note', '4242424242424242']])],
] as [string, string[][], string][])(
  'a card number in %s is refused, and nowhere kept',
  async ([, tags, text], { customer }) => {
    const isHidden = tags.some(([name]) => name === 'encrypted');
    const content = isHidden ? encrypt(text, getConversationKey(customer.secret, stage.us)) : text;
    const job = await customer.ask(kinds.fussy, tags, { content });
    expect(await job.over()).toEqual([ERROR]);
    expect(infoOf(await job.word(ERROR))).toMatch(/looks like a card number/);
    const [kept] = await stage.root`select request::text, run_id from workflows.nostr_jobs where id = ${job.id}`;
    expect(kept?.['run_id']).toBeNull();
    expect(kept?.['request']).not.toMatch(/4242.?4242/);
    if (isHidden) expect(kept?.['request']).not.toContain(content);
  },
);

test('a bid of nothing takes no credits, and one that cannot be read takes no job', async ({ customer }) => {
  await withCredits(customer, 100n);
  const nothing = await customer.ask(kinds.plain, [['bid', '0']]);
  expect(msatOf(await nothing.word(ASKED))).toBe(30_000n);
  const odd = await customer.ask(kinds.plain, [['bid', '21.5']]);
  expect([await odd.over(), infoOf(await odd.word(ERROR))]).toEqual([[ERROR], expect.stringMatching(/bid/)]);
  expect(await balanceOf(stage, customer)).toMatchObject({ available: 100, held: 0 });
});

const runsOf = (customer: Customer) =>
  stage.root`select r.state, r.paid::int, r.returned::int from workflows.runs r
    join workflows.nostr_customers c on c.account_id = r.account_id where c.pubkey = ${customer.pubkey} order by r.created_at`;

test('begun and paid before whoever began it died, withdrawn before it is looked at again: it ends, and is told so', async ({
  customer,
}) => {
  await withCredits(customer, 30n);
  const job = await customer.ask(kinds.silent);
  await job.word('7000 processing');
  await stage.root.begin(async (tx) => {
    await tx`set local session_replication_role = replica`; // as if that had never been written down
    await tx`update workflows.nostr_jobs set run_id = null, is_withdrawn = true where id = ${job.id}`;
  });
  expect((await job.over()).at(-1)).toBe(ERROR);
  expect(infoOf(await job.word(ERROR))).toBe('Cancelled. What was paid stays paid.');
  expect((await runsOf(customer)).at(-1)).toEqual({ state: 'cancelled', paid: 30, returned: 0 });
});

test('a relay that somebody has named to be waited for is waited for by nobody', async ({ customer }) => {
  const named = Array.from({ length: 8 }, (_, n) => `ws://${silentAt}/${n}`);
  const began = performance.now();
  const job = await customer.ask(kinds.plain, [['relays', ...named]]);
  await customer.zap(await job.word(ASKED), 30_000n);
  await job.over();
  expect(performance.now() - began, 'three words, of which each would wait for eight seconds').toBeLessThan(15_000);
});

const linking = (person: Client, customer: Customer) =>
  person.call('POST', '/v1/nostr/keys', {
    body: { proof: linkProof(stage.farebox.url, person.accountId, { secret: customer.secret }) },
  });
const availableOf = async (person: Client) => (await person.ok('GET', '/v1/credits/balance')).available;

test('what is too large for relays is told by its hash, and the request by its id alone', async ({ customer }) => {
  for (const [length, isRepeated, isWhole] of [
    [15_000, true, true],
    [30_000, false, true],
    [61_000, false, false],
  ] as const) {
    const job = await customer.ask(kinds.plain, [], { content: 'x'.repeat(length) });
    await customer.zap(await job.word(ASKED), 30_000n);
    const result = await job.word(String(kinds.plain + 1000));
    expect(result.tags.some(([name]) => name === 'request')).toBe(isRepeated);
    expect(JSON.parse(result.content)).toMatchObject(
      isWhole ? { echo: { content: 'x'.repeat(length) } } : { too_large: true },
    );
    expect(JSON.stringify(result).length).toBeLessThan(65_536);
  }
});

describe('a work list that is full', () => {
  const open = async () =>
    (
      await stage.root`select count(*)::int as n from payments.differences where kind = 'zap_receipt' and resolved_at is null`
    )[0]?.['n'];
  const bring = (receipt: object) => clientOf(stage.farebox.url).ok('POST', '/v1/receipts', { body: { receipt } });
  beforeAll(async () => {
    await stage.root`insert into payments.differences (kind, reference, detail)
      select 'zap_receipt', 'made up ' || n, '{}' from generate_series(1, 200 - ${await open()}::int) n`;
  });
  afterAll(async () => {
    await stage.root`delete from payments.differences where reference like 'made up %'`;
  });

  test('receipts that anybody can make for nothing fill it, and not the disk', async ({ customer }) => {
    const asked = await (await customer.ask(kinds.plain)).word(ASKED);
    const claim = await bring(customer.sign(9735, customer.receipt(asked, 30_000n).tags));
    expect(claim).toMatchObject({ verdict: 'quarantined', code: 'signer_not_provider' });
    expect(await open()).toBe(200);
  });

  test('what a provider says that was paid is seen by a person nevertheless', async ({ customer }) => {
    const claim = await bring(customer.receipt({ id: 'f'.repeat(64) }, 1_000n));
    expect(claim).toMatchObject({ verdict: 'quarantined', code: 'unmatched' });
    expect(await open()).toBe(201);
  });

  test('a receipt that its provider has not signed is nobody’s business, whatever its invoice is', async ({
    customer,
  }) => {
    const receipt = customer.receipt({ id: 'f'.repeat(64) }, 1_000n, { invoice: 'what cannot be read' });
    const before = await open();
    expect(await bring({ ...receipt, content: 'made up' })).toMatchObject({
      verdict: 'refused',
      code: 'bad_signature',
    });
    expect(await open()).toBe(before);
  });
});

describe('keys that are taken to an account', () => {
  test('one that never asked for anything: nobody else takes it away, and not what its account holds', async ({
    customer,
  }) => {
    const [person, other] = [await stage.customer(50), await stage.customer()];
    expect((await linking(person, customer)).body).toMatchObject({ moved_credits: 0 });
    expect((await linking(other, customer)).status).toBe(409);
    expect([await availableOf(person), await availableOf(other)]).toEqual([50, 0]);
  });

  test('what is paid too late, and so to the shadow account, is fetched by taking the key along again', async ({
    customer,
  }) => {
    const person = await stage.customer();
    const job = await customer.ask(kinds.plain);
    const asked = await job.word(ASKED);
    await stage.root`update workflows.asks set expires_at = now() - interval '1 second'
      where id = (select ask_id from workflows.nostr_events where id = ${asked.id})`;
    await job.over();
    expect((await linking(person, customer)).body).toMatchObject({ moved_credits: 0 });
    await customer.zap(asked, msatOf(asked));
    await eventually(
      async () => (await linking(person, customer)).body.moved_credits,
      (moved) => moved === 30,
    );
    expect(await availableOf(person)).toBe(30);
  });
});

describe('as one replica sees it', () => {
  let deps: DvmDeps;
  let close: () => Promise<void>;
  beforeAll(async () => {
    const database = await openDatabase({ url: stage.farebox.database.appUrl, pool: 2 });
    close = database.close;
    const key = Uint8Array.fromHex(String(stage.farebox.environment['NOSTR_SECRET_KEY']));
    const wakes = { wakeDispatcher: () => {}, wakeJobs: () => {}, wakePublisher: () => {} };
    const { db } = database;
    deps = { db, key, metrics: createMetrics(), definitions: rememberDefinitions(db), ...wakes } as unknown as DvmDeps;
  });
  afterAll(() => close());

  /** A job that is nobody's but the test's. */
  const writeDown = async (request: ReturnType<Customer['sign']>) => {
    const { id, pubkey } = request;
    const accountId = await deps.db.transaction((tx) => accountOfKey(tx, pubkey));
    const [job] = await deps.db
      .insert(jobs)
      .values({
        id,
        accountId,
        pubkey,
        request,
        relays: [],
        lastWordAt: seconds(),
        nextAt: sql`now() + interval '1 hour'`,
      })
      .returning();
    if (!job) throw new Error('no job');
    return job;
  };

  test('its author was told that there is no run, by another one: the run that it started comes to nothing', async ({
    customer,
  }) => {
    const job = await writeDown(customer.sign(kinds.plain, [['p', stage.us]]));
    await begin(deps, { ...job, isWithdrawn: true });
    await begin(deps, job); // as it was read before that
    expect(await runsOf(customer)).toEqual([{ state: 'cancelled', paid: 0, returned: 0 }]);
  });

  test('a price that is changed while a job is begun is asked for, and not taken from whoever has bid less', async ({
    customer,
  }) => {
    const { service, kind } = await stage.sell();
    await withCredits(customer, 100n);
    const bid = ['bid', '30000'];
    const job = await writeDown(customer.sign(kind, [['p', stage.us], bid]));
    let isChanged = false;
    const find = async (workflowId: string) => {
      if (!isChanged) {
        isChanged = true;
        await stage.operator.ok('PATCH', `/v1/admin/services/${service.id}`, { body: { credit_cost: 60 } });
        const [now] = await deps.db.select().from(services).where(eq(services.nostrKind, kind));
        if (now) await deps.db.transaction((tx) => workflowFor(tx, job.accountId, now)); // by another job of the key
      }
      return deps.definitions.find(workflowId);
    };
    const definitions = { find, forget: deps.definitions.forget };
    await begin({ ...deps, definitions }, job).catch(() => {});
    await begin(deps, job); // as after every fault
    expect((await runsOf(customer)).at(-1)).toEqual({ state: 'awaiting_payment', paid: 0, returned: 0 });
    expect(await balanceOf(stage, customer)).toMatchObject({ available: 100, held: 0 });
  });

  test('a key is not taken along while a job of it is being written down', async ({ customer }) => {
    const person = await stage.customer();
    const { id, pubkey, ...rest } = customer.sign(kinds.plain, [['p', stage.us]]);
    await deps.db.transaction((tx) => accountOfKey(tx, pubkey));
    const reply = await deps.db.transaction(async (tx) => {
      const accountId = await accountOfKey(tx, pubkey);
      const linked = linking(person, customer);
      await Promise.race([linked, sleep(300)]);
      await tx
        .insert(jobs)
        .values({ id, accountId, pubkey, request: { id, pubkey, ...rest }, relays: [], lastWordAt: seconds() });
      return { linked };
    });
    expect((await reply.linked).status).toBe(409);
  });

  test('a key that is taken along while its first job is being written down: the job is the account’s', async ({
    customer,
  }) => {
    const person = await stage.customer();
    const { pubkey } = customer;
    const slow = await stage.root.reserve();
    await slow`begin`;
    await slow`insert into identity.accounts (id, shadow_of) values (gen_random_uuid(), ${`nostr:${pubkey}`})`;
    const finding = deps.db.transaction((tx) => accountOfKey(tx, pubkey)); // waits for what will never have been there
    await sleep(300);
    expect((await linking(person, customer)).status).toBe(200);
    await slow`rollback`;
    slow.release();
    expect(toWire('account', await finding)).toBe(person.accountId);
  });

  test('requests that the database could not take leave room for the next one', async ({ customer }) => {
    const { appUrl } = stage.farebox.database;
    const proxy = await startProxy({ target: { port: Number(new URL(appUrl).port) } });
    const behind = await openDatabase({ url: proxy.url(appUrl), pool: 2 });
    const intake = createIntake({ ...deps, db: behind.db });
    const sent = Array.from({ length: 40 }, (_, n) => customer.sign(kinds.plain, [['p', stage.us]], `number ${n}`));
    const trap = proxy.cutOn((chunk) => chunk.includes('insert into "workflows"."nostr_jobs"'), { times: 40 });
    for (const one of sent) await expect(intake.take(one as never)).rejects.toThrow();
    trap.disarm();
    await intake.take(sent[0] as never);
    const [row] =
      await stage.root`select count(*)::int as n from workflows.nostr_jobs where pubkey = ${customer.pubkey}`;
    expect(row).toEqual({ n: 1 });
    await behind.close();
    await proxy.close();
  });

  test('the same request a hundred times leaves room for the next one', async ({ customer }) => {
    const intake = createIntake(deps);
    const [one, other] = ['one', 'other'].map((text) => customer.sign(kinds.plain, [['p', stage.us]], text));
    for (let n = 0; n < 100; n += 1) await intake.take(one as never);
    await intake.take(other as never);
    const [row] =
      await stage.root`select count(*)::int as n from workflows.nostr_jobs where pubkey = ${customer.pubkey}`;
    expect(row).toEqual({ n: 2 });
  });
});
