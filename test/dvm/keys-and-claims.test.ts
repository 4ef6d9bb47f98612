import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { clientOf, eventually, type Json } from '../harness/client.ts';
import { inProcess } from '../harness/in-process.ts';
import { faultsAtRest } from '../harness/whole-books.ts';
import { linkProof } from './link-proof.ts';
import { balanceOf, type DvmStage, msatOf, openDvmStage } from './stage.ts';

/** Customers of Nostr at the API: their key taken to an account, receipts that no relay has told of, and what is announced. */

let stage: DvmStage;
let kind: number;
let service: Json;
beforeAll(async () => {
  stage = await openDvmStage();
  ({ kind, service } = await stage.sell());
});
afterAll(async () => {
  expect(await faultsAtRest(stage.farebox.database.superuserUrl)).toEqual([]);
  await stage.close();
});

const [ASKED, BEGUN] = ['7000 payment-required', '7000 processing'];

test('a receipt that no relay has told of is claimed over HTTP, once', async () => {
  const customer = stage.newCustomer();
  const job = await customer.ask(kind);
  const asked = await job.word(ASKED);
  const receipt = customer.receipt(asked, msatOf(asked));
  const claim = (body: Json) => clientOf(stage.farebox.url).call('POST', '/v1/receipts', { body });
  expect((await claim({ receipt })).body).toMatchObject({ verdict: 'settled', code: null, amount_msat: '30000' });
  expect((await claim({ receipt })).body).toMatchObject({ verdict: 'known' });
  expect(await job.over()).toEqual([ASKED, BEGUN, String(kind + 1000)]);
  expect((await claim({ receipt: { ...receipt, content: 'changed' } })).body).toMatchObject({
    verdict: 'refused',
    code: 'bad_signature',
  });
  const malformed = await claim({ receipt: { ...receipt, sig: 'x' } });
  expect([malformed.status, malformed.body.errors[0].pointer]).toEqual([422, '/receipt/sig']);
  customer.close();
});

test('a key is taken to an account: its credits come along by two transfers, and its jobs are paid from there', async () => {
  const customer = stage.newCustomer();
  const job = await customer.ask(kind);
  await customer.zap(await job.word(ASKED), 75_000n);
  await job.over();
  expect(await balanceOf(stage, customer)).toMatchObject({ available: 45 });
  const person = await stage.customer();
  const link = (proof: Json, by = person) => by.call('POST', '/v1/nostr/keys', { body: { proof } });
  const proof = linkProof(stage.farebox.url, person.accountId, { secret: customer.secret });
  expect((await link(proof)).body).toEqual({ object: 'nostr_key', pubkey: customer.pubkey, moved_credits: 45 });
  expect((await link(proof)).body).toMatchObject({ moved_credits: 0 });
  expect((await person.ok('GET', '/v1/credits/balance')).available).toBe(45);
  const next = await customer.ask(kind);
  expect(await next.over()).toEqual([BEGUN, String(kind + 1000)]);
  expect((await person.ok('GET', '/v1/credits/balance')).available).toBe(15);
  const moves = await stage.root`
    select debit || ' ' || credit as move from credits.transfers where kind = 'link' order by debit`;
  expect(moves.map((row) => row['move'])).toEqual(['available linked', 'linked available']);
  // Somebody else cannot take it away.
  const other = await stage.customer();
  const again = await link(linkProof(stage.farebox.url, other.accountId, { secret: customer.secret }), other);
  expect([again.status, again.body.code]).toEqual([409, 'conflict']);
  customer.close();
});

test('while its jobs are under way a key stays where it is', async () => {
  const customer = stage.newCustomer();
  const job = await customer.ask(kind);
  await job.word(ASKED);
  const person = await stage.customer();
  const reply = await person.call('POST', '/v1/nostr/keys', {
    body: { proof: linkProof(stage.farebox.url, person.accountId, { secret: customer.secret }) },
  });
  expect([reply.status, reply.body.code]).toEqual([409, 'conflict']);
  customer.close();
});

test('a proof for another account, address or time, of another kind, or changed, is refused by its place', async () => {
  const person = await stage.customer();
  const other = await stage.customer();
  const good = { secret: new Uint8Array(randomBytes(32)) };
  const at = stage.farebox.url;
  const now = Math.floor(Date.now() / 1000);
  const cases: [Json, string][] = [
    [linkProof(at, other.accountId, good), '/proof/tags'],
    [linkProof('https://elsewhere.example', person.accountId, good), '/proof/tags'],
    [linkProof(at, person.accountId, { ...good, tags: { method: 'GET' } }), '/proof/tags'],
    [linkProof(at, person.accountId, { ...good, created_at: now - 120 }), '/proof/created_at'],
    [linkProof(at, person.accountId, { ...good, created_at: now + 120 }), '/proof/created_at'],
    [linkProof(at, person.accountId, { ...good, kind: 1 }), '/proof/kind'],
    [{ ...linkProof(at, person.accountId, good), content: 'changed' }, '/proof/sig'],
    [{ ...linkProof(at, person.accountId, good), pubkey: 'x' }, '/proof/pubkey'],
  ];
  for (const [proof, pointer] of cases) {
    const reply = await person.call('POST', '/v1/nostr/keys', { body: { proof } });
    expect([reply.status, reply.body.errors?.[0]?.pointer], pointer).toEqual([422, pointer]);
  }
});

test('what is offered is announced (NIP-89), again when it changes, and withdrawn', async () => {
  const announced = async () =>
    (
      await stage.root`select event from workflows.nostr_events where topic is not null and published_at is not null order by created_at, seq`
    ).map((row) => row['event'] as Json);
  const [first] = await eventually(announced, (all) => all.length === 1, 90_000);
  expect(first).toMatchObject({ kind: 31_990, pubkey: stage.us });
  expect(first.tags).toEqual([
    ['d', service.id],
    ['k', String(kind)],
  ]);
  const content = JSON.parse(first.content);
  expect(content).toMatchObject({
    name: service.name,
    payment: { mode: 'upfront', credits: 30, amount_msat: '30000' },
  });
  expect(content).not.toHaveProperty('lud06'); // nobody has said where to zap
  // A relay may have forgotten it: whoever starts tells of it once more, as the same service.
  const replica = await inProcess(stage.farebox);
  for (let n = 0; n < 2; n += 1) await replica.work('nostr-announcer');
  const [, second, ...others] = await eventually(announced, (all) => all.length > 1, 90_000);
  expect([second.tags, second.content, others]).toEqual([first.tags, first.content, []]);
  expect(second.created_at).toBeGreaterThan(first.created_at);
});

test('of each kind one active service', async () => {
  const twice = await stage.operator.call('POST', '/v1/admin/services', {
    body: { name: 'Twice', credit_cost: 1, nostr_kind: kind, executor: { endpoint: `${stage.executor.url}/echo` } },
  });
  expect([twice.status, twice.body.errors?.[0]?.pointer]).toEqual([409, '/nostr_kind']);
});
