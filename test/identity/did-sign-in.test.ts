import postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { clientOf, type Json, newOperator } from '../harness/client.ts';
import { challengeFor, type Holder, keyHolder, keyTypes, signIn, walletHolder } from '../harness/dids.ts';
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

const anybody = () => clientOf(farebox.url);
const answer = (challenge: Json, proof: Json) =>
  anybody().call('POST', '/v1/auth/did/tokens', { body: { challenge_id: challenge.challenge_id, proof } });
const answered = async (holder: Holder) => {
  const challenge = await challengeFor(anybody(), holder.did);
  return { challenge, proof: await holder.prove(challenge) };
};
const accountsOf = async (did: string) => root`select account_id from identity.dids where did = ${did}`;

// REQ P2
test.each(keyTypes)('the holder of a did:key of %s signs in, and the first time opens an account', async (type) => {
  const holder = keyHolder(type);
  const { challenge, proof } = await answered(holder);
  expect(challenge).toEqual({
    object: 'did_challenge',
    challenge_id: expect.stringMatching(/^chal_/),
    created_at: expect.any(String),
    expires_at: expect.any(String),
    nonce: expect.stringMatching(/^[0-9a-f]{32}$/),
    jwt_header: { typ: 'did-auth+jwt', alg: holder.alg },
    jwt_claims: {
      ...{ iss: holder.did, sub: holder.did, aud: farebox.url, nonce: challenge.nonce, purpose: 'login' },
      ...{ iat: expect.any(Number), exp: expect.any(Number), statement: `Sign in to ${farebox.url}.` },
    },
    siwe_message: null,
  });
  expect(challenge.jwt_claims.exp - challenge.jwt_claims.iat).toBe(300);
  const { status, body } = await answer(challenge, proof);
  expect([status, body]).toEqual([
    200,
    {
      ...{ object: 'session', token_type: 'Bearer', expires_in: 900 },
      ...{ access_token: expect.any(String), refresh_token: expect.any(String) },
    },
  ]);
  const me = await anybody().ok('GET', '/v1/me', { token: body.access_token });
  expect(me).toMatchObject({ object: 'account', email: null, role: 'user' });
  expect((await signIn(farebox, holder)).accountId).toBe(me.id);
  const [{ n } = {}] = await root`select count(*)::int as n from platform.audit_log
    where action = 'identity.did_account_opened' and position(${holder.did} in detail) > 0`;
  expect(n).toBe(1);
});

test('a token may name its key, and a session that it opened is renewed and ended like any other', async () => {
  const holder = keyHolder('P-256');
  const { challenge } = await answered(holder);
  const kid = `${holder.did}#${holder.did.slice('did:key:'.length)}`;
  const session = (await answer(challenge, { type: 'did-jwt', jwt: await holder.token(challenge.jwt_claims, { kid }) }))
    .body;
  const renewed = await anybody().ok('POST', '/v1/auth/refresh', { body: { refresh_token: session.refresh_token } });
  await anybody().ok('POST', '/v1/auth/logout', { token: renewed.access_token });
  expectProblem(await anybody().get('/v1/me', { token: renewed.access_token }), 'invalid_token');
});

test('a wallet signs in by the text of EIP-4361, on whichever chain and in whichever case it names itself', async () => {
  const holder = walletHolder();
  const first = await signIn(farebox, holder);
  const spellings = [
    `did:pkh:eip155:1:${holder.address.toLowerCase()}`,
    `did:pkh:eip155:8453:${holder.address}`,
    `did:pkh:eip155:10:${holder.address.toLowerCase()}`,
  ];
  for (const did of spellings) expect((await signIn(farebox, { ...holder, did })).accountId).toBe(first.accountId);
  const { data } = await first.ok('GET', '/v1/me/dids');
  expect(data.map((one: Json) => one.did)).toEqual([`did:pkh:eip155:1:${holder.address.toLowerCase()}`]);
});

test.each([
  ['key', keyHolder()],
  ['wallet', walletHolder()],
])('of 50 answers to one challenge of a %s at once, one opens a session', async (_kind, holder) => {
  const { challenge, proof } = await answered(holder);
  const replies = await Promise.all(Array.from({ length: 50 }, () => answer(challenge, proof)));
  const refused = replies.filter(({ status }) => status !== 200);
  expect(refused).toHaveLength(49);
  for (const reply of refused) expectProblem(reply, 'did_auth_failed');
  const [{ n } = {}] = await root`select count(*)::int as n from identity.refresh_tokens
    where account_id = (select account_id from identity.dids where lower(did) = ${holder.did.toLowerCase()})`;
  expect(n).toBe(1);
});

test('of many first sign-ins of one DID at once, each with its challenge, one opens the account of all', async () => {
  const holder = keyHolder('secp256k1');
  const ready = await Promise.all(Array.from({ length: 10 }, () => answered(holder)));
  const sessions = await Promise.all(ready.map(({ challenge, proof }) => answer(challenge, proof)));
  expect(sessions.map(({ status }) => status)).toEqual(Array(10).fill(200));
  const ids = await Promise.all(
    sessions.map(async ({ body }) => (await anybody().ok('GET', '/v1/me', { token: body.access_token })).id),
  );
  expect(new Set(ids).size).toBe(1);
  expect(await accountsOf(holder.did)).toHaveLength(1);
});

test('a proof is good once, and for its own challenge', async () => {
  const holder = keyHolder('secp256k1');
  const [first, second] = [await answered(holder), await answered(holder)];
  expectProblem(await answer(second.challenge, first.proof), 'did_auth_failed');
  expect((await answer(first.challenge, first.proof)).status).toBe(200);
  expectProblem(await answer(first.challenge, first.proof), 'did_auth_failed');
  expect((await answer(second.challenge, second.proof)).status).toBe(200);
});

test('an account that is disabled is refused, as with a password, and its challenge is not used up', async () => {
  const holder = keyHolder();
  const operator = await newOperator(farebox);
  const { accountId } = await signIn(farebox, holder);
  const { challenge, proof } = await answered(holder);
  const disable = (disabled: boolean) =>
    operator.ok('PATCH', `/v1/admin/accounts/${accountId}`, { body: { disabled, reason: 'test' } });
  await disable(true);
  expectProblem(await answer(challenge, proof), 'account_disabled');
  await disable(false);
  expect((await answer(challenge, proof)).status).toBe(200);
});

test('an account without an e-mail address is offered no password', async () => {
  const operator = await newOperator(farebox);
  const { accountId } = await signIn(farebox, keyHolder());
  const path = `/v1/admin/accounts/${accountId}/password-resets`;
  expectProblem(await operator.post(path, { reason: 'test' }), 'conflict');
});

test('a challenge for a DID that nobody knows looks like one for a DID that has an account', async () => {
  const [known, unknown] = [keyHolder(), keyHolder()];
  await signIn(farebox, known);
  const shape = async (holder: Holder) => {
    const reply = await anybody().call('POST', '/v1/auth/did/challenges', {
      body: { did: holder.did, purpose: 'login' },
    });
    return [reply.status, Object.keys(reply.body), Object.keys(reply.body.jwt_claims)];
  };
  expect(await shape(known)).toEqual(await shape(unknown));
});
