import postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fromWire } from '../../src/platform/ids.ts';
import { type Client, clientOf, type Json, newCustomer, PASSWORD } from '../harness/client.ts';
import { challengeFor, type Holder, keyHolder, link, signIn, walletHolder } from '../harness/dids.ts';
import { fareboxForFile, type TestFarebox } from '../harness/farebox.ts';
import { expectProblem } from '../harness/problems.ts';

let farebox: TestFarebox;
let root: postgres.Sql;
beforeAll(async () => {
  farebox = await fareboxForFile();
  root = postgres(farebox.database.superuserUrl, { max: 1 });
});
afterAll(async () => {
  await root.end();
  await farebox.stop();
});

const proved = async (client: Client, holder: Holder) => {
  const challenge = await challengeFor(client, holder.did, { purpose: 'link' });
  return { challenge_id: challenge.challenge_id, proof: await holder.prove(challenge) };
};
const tryLink = async (client: Client, holder: Holder) =>
  client.call('POST', '/v1/me/dids', { body: await proved(client, holder) });
const remove = (client: Client, { id }: Json) => client.call('DELETE', `/v1/me/dids/${id}`);
const logIn = ({ email }: Client) =>
  clientOf(farebox.url).ok('POST', '/v1/auth/login', { body: { email, password: PASSWORD } });
const again = async (customer: Client) =>
  clientOf(farebox.url, { ...customer, token: (await logIn(customer)).access_token });
const actionsOf = async (customer: Client) =>
  (
    await root`select action, detail::jsonb->>'did' as did from platform.audit_log
      where actor = ${fromWire('account', customer.accountId)} order by seq`
  ).map(({ action, did }) => [action, did]);

test('a DID that is linked opens the account of the password, and both are written down', async () => {
  const customer = await newCustomer(farebox);
  for (const holder of [keyHolder('secp256k1'), keyHolder('Ed25519'), walletHolder()]) {
    const linked = await link(customer, holder);
    expect(linked).toMatchObject({ object: 'did', id: expect.stringMatching(/^did_/) });
    expect(linked.did.toLowerCase()).toBe(holder.did.toLowerCase());
    expect((await signIn(farebox, holder)).accountId).toBe(customer.accountId);
  }
  const { data } = await customer.ok('GET', '/v1/me/dids');
  expect(data.map((one: Json) => one.wallet !== null)).toEqual([true, false, true]);
  expect(await actionsOf(customer)).toEqual(data.map((one: Json) => ['identity.did_linked', one.did]));
});

test('a repeat with a new challenge changes nothing, and one with the old challenge is refused', async () => {
  const customer = await newCustomer(farebox);
  const holder = keyHolder();
  const body = await proved(customer, holder);
  const first = await customer.ok('POST', '/v1/me/dids', { body });
  expectProblem(await customer.call('POST', '/v1/me/dids', { body }), 'did_auth_failed');
  expect(await link(customer, holder)).toEqual(first);
});

test('a DID of another account is in use, whether that account has done anything or not', async () => {
  const [owner, other] = [await newCustomer(farebox), await newCustomer(farebox)];
  const [linked, own] = [keyHolder(), keyHolder()];
  await link(owner, linked);
  await signIn(farebox, own);
  for (const holder of [linked, own]) expectProblem(await tryLink(other, holder), 'did_in_use');
  expect((await other.ok('GET', '/v1/me/dids')).data).toEqual([]);
});

test('what a DID opened by mistake can be freed: another DID takes its place there', async () => {
  const [customer, mistaken, standIn] = [await newCustomer(farebox), keyHolder(), keyHolder()];
  const account = await signIn(farebox, mistaken);
  const [{ id }] = (await account.ok('GET', '/v1/me/dids')).data;
  expectProblem(await remove(account, { id }), 'last_way_in');
  await link(account, standIn);
  expect((await remove(account, { id })).status).toBe(204);
  await link(customer, mistaken);
  expect((await signIn(farebox, mistaken)).accountId).toBe(customer.accountId);
});

test('a challenge is for the account that asked, and for nobody who has found its answer', async () => {
  const [customer, thief] = [await newCustomer(farebox), await newCustomer(farebox)];
  const body = await proved(customer, keyHolder());
  expectProblem(await thief.call('POST', '/v1/me/dids', { body }), 'did_auth_failed');
  expect((await customer.call('POST', '/v1/me/dids', { body })).status).toBe(201);
});

test('of two accounts that link one DID at once, one gets it, and so with a first sign-in', async () => {
  const [one, two] = [await newCustomer(farebox), await newCustomer(farebox)];
  for (let round = 0; round < 5; round += 1) {
    const holder = keyHolder();
    const bodies = [await proved(one, holder), await proved(two, holder)];
    const challenge = await challengeFor(one, holder.did);
    const login = { challenge_id: challenge.challenge_id, proof: await holder.prove(challenge) };
    const [a, b, c] = await Promise.all([
      one.call('POST', '/v1/me/dids', { body: bodies[0] }),
      two.call('POST', '/v1/me/dids', { body: bodies[1] }),
      one.call('POST', '/v1/auth/did/tokens', { body: login }),
    ]);
    expect(c.status).toBe(200);
    const linked = [a, b].filter(({ status }) => status === 201);
    for (const reply of [a, b]) if (reply.status !== 201) expectProblem(reply, 'did_in_use');
    const me = await clientOf(farebox.url).ok('GET', '/v1/me', { token: c.body.access_token });
    const owner = a.status === 201 ? one.accountId : b.status === 201 ? two.accountId : me.id;
    expect([linked.length <= 1, me.id]).toEqual([true, owner]);
  }
});

test('a DID that is removed opens the account no more, and every session is over', async () => {
  const customer = await newCustomer(farebox);
  const [holder, other] = [keyHolder(), keyHolder()];
  const [linked] = [await link(customer, holder), await link(customer, other)];
  const sessions = [customer, await signIn(farebox, holder), await signIn(farebox, other)];
  expectProblem(await remove(await newCustomer(farebox), linked), 'not_found');
  expect((await remove(customer, linked)).status).toBe(204);
  for (const session of sessions) expectProblem(await session.get('/v1/me'), 'invalid_token');
  expect((await signIn(farebox, other)).accountId).toBe(customer.accountId);
  expect((await signIn(farebox, holder)).accountId).not.toBe(customer.accountId);
  const now = await again(customer);
  expectProblem(await remove(now, linked), 'not_found');
  expect((await actionsOf(now)).at(-1)).toEqual(['identity.did_removed', holder.did]);
});

test('of the two DIDs of an account that are removed at once, from two sessions, one stays', async () => {
  for (let round = 0; round < 5; round += 1) {
    const [one, two] = [keyHolder(), keyHolder()];
    const account = await signIn(farebox, one);
    await link(account, two);
    const { data } = await account.ok('GET', '/v1/me/dids');
    const other = await signIn(farebox, two);
    const replies = await Promise.all([remove(account, data[0]), remove(other, data[1])]);
    expect(replies.map(({ status }) => status).toSorted()).toEqual([204, 401]);
    const accounts = [await signIn(farebox, one), await signIn(farebox, two)];
    expect(accounts.filter(({ accountId }) => accountId === account.accountId)).toHaveLength(1);
  }
});

test('a sign-in that is under way while its DID is removed does not outlive it', async () => {
  for (let round = 0; round < 10; round += 1) {
    const customer = await newCustomer(farebox);
    const holder = keyHolder();
    const linked = await link(customer, holder);
    const [session, removed] = await Promise.all([
      signIn(farebox, holder).catch(() => undefined), // its session may be over before it is looked at
      remove(customer, linked),
    ]);
    expect(removed.status).toBe(204);
    const reply = await session?.get('/v1/me');
    if (reply?.status === 200) expect(reply.body.id).not.toBe(customer.accountId);
  }
});

test('a log-in of long ago adds and takes no way in, however often it was renewed', async () => {
  const customer = await newCustomer(farebox);
  const linked = await link(customer, keyHolder());
  const session = await logIn(customer);
  await root`update identity.refresh_tokens set created_at = created_at - interval '16 minutes'
    where account_id = ${fromWire('account', customer.accountId)}`;
  const renewed = await customer.ok('POST', '/v1/auth/refresh', { body: { refresh_token: session.refresh_token } });
  const old = clientOf(farebox.url, { ...customer, token: renewed.access_token });
  expectProblem(await tryLink(old, keyHolder()), 'login_too_old');
  expectProblem(await remove(old, linked), 'login_too_old');
  expect((await remove(await again(customer), linked)).status).toBe(204);
});

test('an account has at most twenty DIDs', async () => {
  const account = await signIn(farebox, keyHolder());
  for (let i = 1; i < 20; i += 1) await link(account, keyHolder());
  expectProblem(await tryLink(account, keyHolder()), 'conflict');
  expect((await account.ok('GET', '/v1/me/dids')).data).toHaveLength(20);
});
