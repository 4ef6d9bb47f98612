import { afterAll, beforeAll, expect, test } from 'vitest';
import { clientOf, eventually, type Json } from '../harness/client.ts';
import { faultsAtRest } from '../harness/whole-books.ts';
import { balanceOf, type DvmStage, msatOf, openDvmStage, worksOf } from './stage.ts';

/** Relays that go and come, tell everything twice, and lie about the time: a job is done once, and paid once. */

let stage: DvmStage;
let kind: number;
beforeAll(async () => {
  stage = await openDvmStage();
  ({ kind } = await stage.sell());
});
afterAll(async () => {
  expect(await faultsAtRest(stage.farebox.database.superuserUrl)).toEqual([]);
  await stage.close();
});

const [ASKED, BEGUN] = ['7000 payment-required', '7000 processing'];

const bring = async (receipt: unknown): Promise<string> =>
  (await clientOf(stage.farebox.url).ok('POST', '/v1/receipts', { body: { receipt } })).verdict;
/** As an operator does, who has looked at it. */
async function dealWith(which: (difference: Json) => boolean): Promise<void> {
  const { data } = await stage.operator.ok('GET', '/v1/admin/differences');
  const { kind, reference } = data.find(which);
  const body = { kind, reference, reason: 'looked at' };
  await stage.operator.ok('POST', '/v1/admin/differences/resolve', { body });
}

test('an event from the future makes nobody deaf', async () => {
  const customer = stage.newCustomer();
  const tomorrow = Math.floor(Date.now() / 1000) + 86_400;
  await customer.publish(customer.sign(kind, [['p', stage.us]], 'from tomorrow', tomorrow));
  for (const relay of stage.relays) relay.cut();
  const job = await customer.ask(kind);
  await job.word(ASKED);
  customer.close();
});

test('both relays are gone while the customer pays, and come back: the run starts once', async () => {
  const customer = stage.newCustomer();
  const job = await customer.ask(kind);
  const asked = await job.word(ASKED);
  const receipt = customer.receipt(asked, msatOf(asked));
  for (const relay of stage.relays) await relay.vanish();
  const paying = customer.publish(receipt);
  await Promise.all(stage.relays.map((relay) => relay.comeBack()));
  await paying;
  await eventually(
    () => worksOf(stage, job.id),
    (row) => row?.['ended'] === 1,
    90_000,
  );
  expect(await worksOf(stage, job.id)).toEqual({ dispatched: 1, credited: 1, taken: 1, ended: 1 });
  customer.close();
});

test('a deletion that is heard before its request, as relays tell the newest first, is a deletion', async () => {
  const customer = stage.newCustomer();
  const request = customer.sign(kind, [['p', stage.us]], 'not wanted any more');
  const deletion = customer.sign(5, [
    ['e', request.id],
    ['p', stage.us],
  ]);
  await customer.publish(deletion);
  await (await customer.ask(kind)).word(ASKED); // by then it was heard
  await customer.publish(request);
  await eventually(
    () => worksOf(stage, request.id),
    (row) => row?.['ended'] === 1,
  );
  const [job] = await stage.root`select is_withdrawn, run_id from workflows.nostr_jobs where id = ${request.id}`;
  expect(job).toEqual({ is_withdrawn: true, run_id: null });
  customer.close();
});

test('twenty copies of one payment, over both relays: one credit, one run', async () => {
  const customer = stage.newCustomer();
  const job = await customer.ask(kind);
  const asked = await job.word(ASKED);
  const at = Math.floor(Date.now() / 1000);
  const preimage = 'ab'.repeat(32);
  // A provider that makes its receipts anew each time: other ids, the same invoice.
  for (let n = 0; n < 20; n += 1) await customer.zap(asked, msatOf(asked), { preimage, createdAt: at + (n % 5) });
  expect(await job.over()).toEqual([ASKED, BEGUN, String(kind + 1000)]);
  expect(await worksOf(stage, job.id)).toEqual({ dispatched: 1, credited: 1, taken: 1, ended: 1 });
  expect(await balanceOf(stage, customer)).toMatchObject({ available: 0, held: 0 });
  customer.close();
});

test('money that fits nothing waits for a person: of nobody’s ask, of a foreign provider, too much to be believed', async () => {
  const customer = stage.newCustomer();
  const kinds = async () =>
    (
      await stage.root`select detail ->> 'code' as code from payments.differences where kind = 'zap_receipt' order by 1`
    ).map((row) => row['code']);
  await customer.zap({ id: 'f'.repeat(64) }, 21_000n);
  const job = await customer.ask(kind);
  const asked = await job.word(ASKED);
  await customer.zap(asked, 100_000_001n);
  await eventually(kinds, (all) => all.length === 2);
  expect(await kinds()).toEqual(['above_limit', 'unmatched']);
  expect(job.words()).toEqual([ASKED]);
  customer.close();
});

test('what was for nothing, and is for something by now, is booked and waits for nobody; but not what a person has dealt with', async () => {
  const customer = stage.newCustomer();
  const requests = ['one', 'other'].map((text) => customer.sign(kind, [['p', stage.us]], text));
  const receipts = requests.map((request) => customer.receipt(request, 30_000n));
  const open = () =>
    stage.root`select detail ->> 'event_id' as event from payments.differences
      where resolved_at is null and detail ->> 'event_id' in ${stage.root(requests.map(({ id }) => id))}`;
  // Before their requests.
  for (const receipt of receipts) expect(await bring(receipt)).toBe('quarantined');
  const [, dealtWith] = requests;
  await dealWith(({ detail }) => detail.event_id === dealtWith?.id);
  for (const request of requests) await customer.publish(request);
  await eventually(
    () => stage.root`select from workflows.nostr_events
      where amount_msat is not null and job_id in ${stage.root(requests.map(({ id }) => id))}`,
    (asked) => asked.length === 2,
  );
  expect(await Promise.all(receipts.map(bring))).toEqual(['settled', 'known']);
  expect(await open()).toEqual([]);
  expect(await Promise.all(receipts.map(bring))).toEqual(['known', 'known']);
  const booked =
    await stage.root`select v.key from payments.arrivals v join workflows.nostr_customers c on c.account_id = v.account_id
    where c.pubkey = ${customer.pubkey}`;
  expect(booked).toHaveLength(1);
  customer.close();
});

test('what a stranger has made up about a payment, and a person has put aside, does not keep the payment back', async () => {
  const customer = stage.newCustomer();
  const job = await customer.ask(kind);
  const receipt = customer.receipt(await job.word(ASKED), 30_000n);
  expect(await bring(customer.sign(9735, receipt.tags))).toBe('quarantined');
  await dealWith(({ detail }) => detail.event_id === receipt.tags.find(([name]) => name === 'e')?.[1]);
  expect(await bring(receipt)).toBe('settled');
  expect(await job.over()).toEqual([ASKED, BEGUN, String(kind + 1000)]);
  customer.close();
});

test('what no relay takes, because its time is over, does not keep back what is said after it', async () => {
  const customer = stage.newCustomer();
  const request = customer.sign(kind, [
    ['p', stage.us],
    ['expiration', String(Math.floor(Date.now() / 1000) + 4)],
  ]);
  const [strict, other] = stage.relays; // the first one refuses what has expired
  if (!strict || !other) throw new Error('two relays');
  for (const relay of stage.relays) await relay.vanish();
  await stage.root`with account as (
      insert into identity.accounts (id, shadow_of) values (gen_random_uuid(), ${`nostr:${customer.pubkey}`}) returning id)
    insert into workflows.nostr_customers (pubkey, account_id) select ${customer.pubkey}, id from account`;
  await stage.root`insert into workflows.nostr_jobs (id, account_id, pubkey, request, relays, last_word_at)
    select ${request.id}, account_id, pubkey, ${JSON.stringify(request)}::text::json, '[]', ${request.created_at}
    from workflows.nostr_customers where pubkey = ${customer.pubkey}`;
  await eventually(
    () => worksOf(stage, request.id),
    (row) => row?.['ended'] === 1,
  );
  await strict.comeBack();
  const words = () =>
    stage.root`select event -> 'tags' -> 0 ->> 1 as word, published_at is not null as published
      from workflows.nostr_events where job_id = ${request.id} order by seq`;
  await eventually(words, (said) => said.at(-1)?.['published'] === true, 60_000);
  expect(await words()).toEqual([
    { word: 'payment-required', published: false },
    { word: 'error', published: true },
  ]);
  await other.comeBack();
  customer.close();
});

test('without relays everything else works, and it is ready', async () => {
  expect((await fetch(`${stage.farebox.internalUrl}/readyz`)).status).toBe(200);
});
