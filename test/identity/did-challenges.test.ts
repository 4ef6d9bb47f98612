import { randomUUID } from 'node:crypto';
import postgres from 'postgres';
import { parseSiweMessage, validateSiweMessage } from 'viem/siwe';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { consumeChallenge, makeChallenge, parseDid, renderChallenge, verifyAnswer } from '../../src/identity/index.ts';
import { createAlarm } from '../../src/platform/audit-log.ts';
import { type Database, openDatabase } from '../../src/platform/database/clients.ts';
import { fromWire } from '../../src/platform/ids.ts';
import { createLog } from '../../src/platform/log.ts';
import { createMetrics } from '../../src/platform/metrics.ts';
import { clientOf, eventually, type Json, newCustomer } from '../harness/client.ts';
import { challengeFor, keyHolder, walletHolder } from '../harness/dids.ts';
import { fareboxForFile, type TestFarebox } from '../harness/farebox.ts';
import { inProcess } from '../harness/in-process.ts';
import { expectProblem } from '../harness/problems.ts';

let farebox: TestFarebox;
let root: postgres.Sql;
let database: Database;
beforeAll(async () => {
  farebox = await fareboxForFile();
  root = postgres(farebox.database.superuserUrl, { max: 1 });
  database = await openDatabase({ url: farebox.database.appUrl, pool: 6 });
});
afterAll(async () => {
  await Promise.all([root.end(), database.close()]);
  await farebox.stop();
});

const anybody = () => clientOf(farebox.url);
const answer = (challenge: Json, proof: Json) =>
  anybody().call('POST', '/v1/auth/did/tokens', { body: { challenge_id: challenge.challenge_id, proof } });
const idOf = (challenge: Json) => fromWire('challenge', challenge.challenge_id);
const age = (challenge: Json, by: string) => root`
  update identity.did_challenges set created_at = created_at - ${by}::interval, expires_at = expires_at - ${by}::interval
  where id = ${idOf(challenge)}`;

// REQ E6.5
test('what was wrong with a proof is in the audit log, and only there', async () => {
  const [victim, attacker] = [keyHolder(), keyHolder()];
  const challenge = await challengeFor(anybody(), victim.did);
  const jwt = await attacker.token(challenge.jwt_claims);
  const reply = await answer(challenge, { type: 'did-jwt', jwt });
  const { request_id: id } = expectProblem(reply, 'did_auth_failed');
  const [row] = await eventually(
    () => root`select action, actor, subject_id, detail::jsonb from platform.audit_log where request_id = ${id}`,
    (rows) => rows.length > 0,
  );
  expect(row).toEqual({
    ...{ action: 'security.did_auth_failed', actor: 'anonymous', subject_id: idOf(challenge) },
    detail: { did: victim.did, purpose: 'login', reason: expect.stringContaining('invalid_signature') },
  });
  expect(reply.text).not.toContain('signature');
  const metrics = await (await fetch(`${farebox.internalUrl}/metrics`)).text();
  expect(metrics).toMatch(/security_events_total\{event="security.did_auth_failed"\} [1-9]/);
});

// REQ P7
test('the fifth failure voids a challenge: then the right answer is refused, too', async () => {
  const [holder, stranger] = [keyHolder(), keyHolder()];
  const fail = async (challenge: Json) =>
    expectProblem(
      await answer(challenge, { type: 'did-jwt', jwt: await stranger.token(challenge.jwt_claims) }),
      'did_auth_failed',
    );
  for (const [failures, code] of [
    [4, undefined],
    [5, 'did_auth_failed'],
  ] as const) {
    const challenge = await challengeFor(anybody(), holder.did);
    for (let i = 0; i < failures; i += 1) await fail(challenge);
    const reply = await answer(challenge, await holder.prove(challenge));
    if (code) expectProblem(reply, code);
    else expect(reply.status).toBe(200);
  }
});

test('of many wrong answers at once no more than five are looked at', async () => {
  const [holder, stranger] = [keyHolder(), keyHolder()];
  const challenge = await challengeFor(anybody(), holder.did);
  const proof = { type: 'did-jwt', jwt: await stranger.token(challenge.jwt_claims) };
  await Promise.all(Array.from({ length: 30 }, () => answer(challenge, proof)));
  const looked = await eventually(
    () => root`select detail::jsonb->>'reason' as reason from platform.audit_log
      where action = 'security.did_auth_failed' and subject_id = ${idOf(challenge)}`,
    (rows) => rows.length === 30,
  );
  expect(looked.filter(({ reason }) => reason.includes('invalid_signature'))).toHaveLength(5);
});

test('a challenge that is too old says so to whoever answers it, and was never longer than five minutes', async () => {
  const holder = keyHolder();
  const challenge = await challengeFor(anybody(), holder.did);
  expect(Date.parse(challenge.expires_at) - Date.parse(challenge.created_at)).toBe(300_000);
  const proof = await holder.prove(challenge);
  await age(challenge, '301 seconds');
  expectProblem(await answer(challenge, proof), 'challenge_expired');
  const used = await challengeFor(anybody(), holder.did);
  expect((await answer(used, await holder.prove(used))).status).toBe(200);
  await root`update identity.did_challenges set created_at = created_at - interval '301 seconds',
    expires_at = expires_at - interval '301 seconds', consumed_at = consumed_at - interval '301 seconds' where id = ${idOf(used)}`;
  expectProblem(await answer(used, await holder.prove(used)), 'did_auth_failed');
});

test('an answer to a challenge of another purpose opens nothing, whoever gives it', async () => {
  const holder = keyHolder();
  const customer = await newCustomer(farebox);
  const challenge = await challengeFor(customer, holder.did, { purpose: 'link' });
  const proof = await holder.prove(challenge);
  expectProblem(await answer(challenge, proof), 'did_auth_failed');
  const login = await challengeFor(anybody(), holder.did);
  const body = { challenge_id: login.challenge_id, proof: await holder.prove(login) };
  expectProblem(await customer.call('POST', '/v1/me/dids', { body }), 'did_auth_failed');
  const unknown = { challenge_id: `chal_${'0'.repeat(26)}`, proof };
  expectProblem(await anybody().call('POST', '/v1/auth/did/tokens', { body: unknown }), 'did_auth_failed');
});

test('only somebody who is logged in is given a challenge to link something, and an API key is not enough', async () => {
  const { did } = keyHolder();
  const customer = await newCustomer(farebox);
  const wallet = `eip155:1:${walletHolder().address}`;
  const { key } = await customer.ok('POST', '/v1/api-keys', { body: { name: 'k', scopes: ['read'] } });
  for (const more of [{ purpose: 'link' }, { purpose: 'wallet', wallet }]) {
    const ask = (token: string | null) =>
      customer.call('POST', '/v1/auth/did/challenges', { token, body: { did, ...more } });
    expectProblem(await ask(null), 'unauthenticated');
    expectProblem(await ask('nonsense'), 'invalid_token');
    expectProblem(await ask(key), 'insufficient_scope');
    expect((await ask(customer.token)).status).toBe(201);
  }
});

test('the text for a wallet is what EIP-4361 says, read by a library of others', async () => {
  const holder = walletHolder(undefined, 8453);
  const challenge = await challengeFor(anybody(), holder.did);
  const parsed = parseSiweMessage(challenge.siwe_message);
  expect(parsed).toEqual({
    ...{ address: holder.address, chainId: 8453, version: '1', nonce: challenge.nonce, uri: farebox.url },
    ...{ domain: new URL(farebox.url).host, statement: `Sign in to ${farebox.url}.` },
    ...{ issuedAt: new Date(challenge.created_at), expirationTime: new Date(challenge.expires_at) },
    requestId: challenge.challenge_id,
    resources: [`did:pkh:eip155:1:${holder.address.toLowerCase()}`, 'urn:farebox:purpose:login'],
  });
  const expected = { address: holder.address, domain: new URL(farebox.url).host, nonce: challenge.nonce };
  expect(validateSiweMessage({ message: parsed, ...expected })).toBe(true);
});

// REQ P2 P3
test('another context has its terms signed, and uses the challenge up in its own transaction', async () => {
  const { db } = database;
  const [holder, wallet] = [keyHolder('P-256'), walletHolder()];
  const alarm = createAlarm(db, createLog('silent'), createMetrics());
  const deps = { db, alarm, publicUrl: farebox.url };
  for (const payer of [holder, wallet]) {
    const subject = { type: 'purchase', id: randomUUID(), termsHash: 'ab'.repeat(32) } as const;
    const asked = {
      did: parseDid(payer.did),
      purpose: 'payment',
      statement: 'Pay 10.00 USDC to 0x1.',
      subject,
    } as const;
    const challenge = await makeChallenge(db, asked);
    const shown = renderChallenge(challenge, farebox.url);
    const signed = JSON.stringify(shown);
    for (const part of ['Pay 10.00 USDC to 0x1.', 'pur_', subject.termsHash]) expect(signed).toContain(part);
    const proof = await payer.prove(shown);
    const signatures = proof.type === 'siwe' ? { siwe: proof.signature } : { jwt: proof.jwt };
    const wanted = { challengeId: challenge.id, purpose: 'payment', subjectId: subject.id } as const;
    for (const wrong of [{ subjectId: randomUUID() }, { purpose: 'refund' as const }]) {
      await expect(verifyAnswer(deps, { ...wanted, ...wrong }, signatures, 'r')).rejects.toThrow('not accepted');
    }
    const proven = await verifyAnswer(deps, wanted, signatures, 'r');
    await expect(
      db.transaction(async (tx) => {
        await consumeChallenge(tx, proven);
        throw new Error('the payer has no money');
      }),
    ).rejects.toThrow('no money');
    const uses = await Promise.allSettled(
      Array.from({ length: 5 }, () => db.transaction((tx) => consumeChallenge(tx, proven))),
    );
    expect(uses.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  }
});

test('challenges are forgotten a day after their end, but for those that are evidence', async () => {
  const customer = await newCustomer(farebox);
  const [opener, again, linked, idle] = [keyHolder(), keyHolder(), keyHolder(), keyHolder()];
  const ask = async (holder: typeof opener) => {
    const challenge = await challengeFor(anybody(), holder.did);
    expect((await answer(challenge, await holder.prove(challenge))).status).toBe(200);
    return challenge;
  };
  const first = await ask(opener);
  const repeated = await ask(again).then(() => ask(again));
  const link = await challengeFor(customer, linked.did, { purpose: 'link' });
  const body = { challenge_id: link.challenge_id, proof: await linked.prove(link) };
  await customer.ok('POST', '/v1/me/dids', { body });
  const unanswered = await challengeFor(anybody(), idle.did);
  const young = await challengeFor(anybody(), idle.did);
  const all = [first, repeated, link, unanswered, young];
  await root`update identity.did_challenges set created_at = created_at - interval '25 hours',
    expires_at = expires_at - interval '25 hours', consumed_at = consumed_at - interval '25 hours' where id <> ${idOf(young)}`;
  const { work } = await inProcess(farebox);
  await work('did-challenge-reaper');
  const left = await root`select id from identity.did_challenges where id = any(${all.map(idOf)})`;
  expect(new Set(left.map(({ id }) => id))).toEqual(new Set([first, link, young].map(idOf)));
});
