import postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { walletBelongsTo } from '../../src/identity/index.ts';
import { type Database, openDatabase } from '../../src/platform/database/clients.ts';
import { fromWire } from '../../src/platform/ids.ts';
import { type Client, type Json, newCustomer } from '../harness/client.ts';
import {
  bothProofs,
  type KeyHolder,
  keyHolder,
  link,
  signIn,
  type WalletHolder,
  walletChallenge,
  walletHolder,
} from '../harness/dids.ts';
import { fareboxForFile, type TestFarebox } from '../harness/farebox.ts';
import { expectProblem } from '../harness/problems.ts';

let farebox: TestFarebox;
let root: postgres.Sql;
let database: Database;
beforeAll(async () => {
  farebox = await fareboxForFile();
  root = postgres(farebox.database.superuserUrl, { max: 1 });
  database = await openDatabase({ url: farebox.database.appUrl, pool: 2 });
});
afterAll(async () => {
  await Promise.all([root.end(), database.close()]);
  await farebox.stop();
});

const signed = async (client: Client, holder: KeyHolder, wallet: WalletHolder) =>
  bothProofs(await walletChallenge(client, holder, wallet), holder, wallet);
const tryLink = (client: Client, body: Json) => client.call('POST', '/v1/wallets', { body });
const belongs = (holder: { did: string } | { accountId: string }, address: string) =>
  database.db.transaction((tx) => walletBelongsTo(tx, holder, address));

test('a wallet is linked to a DID by two signatures over one nonce, both kept', async () => {
  const [holder, wallet] = [keyHolder('P-256'), walletHolder()];
  const account = await signIn(farebox, holder);
  const challenge = await walletChallenge(account, holder, wallet);
  const shown = [challenge.jwt_claims.wallet, challenge.jwt_claims.subject, challenge.jwt_claims.statement];
  expect(shown).toEqual([
    ...[`eip155:8453:${wallet.address.toLowerCase()}`, account.accountId],
    `Link the wallet ${wallet.address} to ${holder.did}.`,
  ]);
  for (const part of [holder.did, wallet.address, challenge.nonce, account.accountId]) {
    expect(challenge.siwe_message).toContain(part);
  }
  const body = await bothProofs(challenge, holder, wallet);
  const linked = await account.ok('POST', '/v1/wallets', { body });
  expect(linked).toEqual({
    ...{ object: 'wallet', id: expect.stringMatching(/^wal_/), created_at: expect.any(String) },
    ...{ address: wallet.address, did: holder.did, source: 'linked' },
  });
  expect((await account.ok('GET', '/v1/wallets')).data).toEqual([linked]);
  const [row] =
    await root`select did_jwt, siwe_signature from identity.wallets where id = ${fromWire('wallet', linked.id)}`;
  expect(row).toEqual({ did_jwt: body.did_jwt, siwe_signature: body.siwe_signature });
});

test('one signature, another wallet’s, another key’s, or two of different challenges link nothing', async () => {
  const [holder, wallet] = [keyHolder(), walletHolder()];
  const account = await signIn(farebox, holder);
  const [one, two] = [await signed(account, holder, wallet), await signed(account, holder, wallet)];
  const challenge = await walletChallenge(account, holder, wallet);
  const good = await bothProofs(challenge, holder, wallet);
  const bad = [
    { ...one, siwe_signature: two.siwe_signature },
    { ...two, did_jwt: one.did_jwt },
    { ...good, siwe_signature: await walletHolder().sign(challenge.siwe_message) },
    { ...good, did_jwt: await keyHolder().token(challenge.jwt_claims) },
  ];
  for (const body of bad) expectProblem(await tryLink(account, body), 'did_auth_failed');
  const { did_jwt: _, ...half } = good;
  expectProblem(await tryLink(account, half), 'validation_failed');
  expectProblem(await tryLink(await newCustomer(farebox), good), 'did_auth_failed');
  expect((await account.ok('GET', '/v1/wallets')).data).toEqual([]);
  expect((await tryLink(account, good)).status).toBe(201);
});

test('of ten answers at once one links, and a repeat with a new challenge changes nothing', async () => {
  const [holder, wallet] = [keyHolder(), walletHolder()];
  const account = await signIn(farebox, holder);
  const body = await signed(account, holder, wallet);
  const replies = await Promise.all(Array.from({ length: 10 }, () => tryLink(account, body)));
  const [first, ...others] = replies.filter(({ status }) => status === 201);
  expect(others).toEqual([]);
  const repeat = await tryLink(account, await signed(account, holder, wallet));
  expect([repeat.status, repeat.body]).toEqual([201, first?.body]);
});

test('a DID that does not open the account has no wallet there, and a did:pkh links itself as a DID', async () => {
  const [customer, holder, wallet] = [await newCustomer(farebox), keyHolder(), walletHolder()];
  expectProblem(await tryLink(customer, await signed(customer, holder, wallet)), 'conflict');
  const body = { did: wallet.did, purpose: 'wallet', wallet: `eip155:1:${walletHolder().address}` };
  expectProblem(await customer.call('POST', '/v1/auth/did/challenges', { body }), 'did_key_type_unsupported');
});

test('the wallet that a key or a did:pkh is needs no link, and cannot be removed', async () => {
  const [key, wallet] = [keyHolder('secp256k1'), walletHolder()];
  const account = await signIn(farebox, key);
  await link(account, wallet);
  const { data } = await account.ok('GET', '/v1/wallets');
  const ofKey = walletHolder(`0x${Buffer.from(key.secret).toString('hex')}`).address;
  expect(data.map(({ id, address, source }: Json) => [id, address, source])).toEqual([
    [null, ofKey, 'derived'],
    [null, wallet.address, 'derived'],
  ]);
  for (const address of [ofKey, wallet.address]) {
    expect(await belongs({ accountId: fromWire('account', account.accountId) }, address)).toBe(true);
    expect(await belongs({ did: key.did }, address.toLowerCase())).toBe(true);
  }
});

test('a wallet belongs to whoever linked it, until it is unlinked', async () => {
  const [holder, second, wallet] = [keyHolder(), keyHolder(), walletHolder()];
  const account = await signIn(farebox, holder);
  await link(account, second);
  const stranger = await signIn(farebox, keyHolder());
  const linked = (await tryLink(account, await signed(account, holder, wallet))).body;
  const id = fromWire('account', account.accountId);
  for (const who of [{ did: holder.did }, { did: second.did }, { accountId: id }]) {
    expect(await belongs(who, wallet.address)).toBe(true);
    expect(await belongs(who, walletHolder().address)).toBe(false);
  }
  for (const who of [{ did: keyHolder().did }, { accountId: fromWire('account', stranger.accountId) }]) {
    expect(await belongs(who, wallet.address)).toBe(false);
  }
  expectProblem(await stranger.call('DELETE', `/v1/wallets/${linked.id}`), 'not_found');
  expect((await account.call('DELETE', `/v1/wallets/${linked.id}`)).status).toBe(204);
  expectProblem(await account.call('DELETE', `/v1/wallets/${linked.id}`), 'not_found');
  expect(await belongs({ accountId: id }, wallet.address)).toBe(false);
  const told =
    await root`select action from platform.audit_log where actor = ${id} and action like '%wallet%' order by seq`;
  expect(told.map(({ action }) => action)).toEqual(['identity.wallet_linked', 'identity.wallet_removed']);
});

test('a DID that nobody has signed in with owns the wallet that it is', async () => {
  const wallet = walletHolder();
  for (const did of [wallet.did, `did:pkh:eip155:137:${wallet.address.toLowerCase()}`]) {
    expect(await belongs({ did }, wallet.address)).toBe(true);
    expect(await belongs({ did }, walletHolder().address)).toBe(false);
  }
});

test('with its DID a wallet leaves the account', async () => {
  const [holder, wallet] = [keyHolder(), walletHolder()];
  const customer = await newCustomer(farebox);
  const { id } = await link(customer, holder);
  expect((await tryLink(customer, await signed(customer, holder, wallet))).status).toBe(201);
  expect((await customer.call('DELETE', `/v1/me/dids/${id}`)).status).toBe(204);
  expect(await belongs({ accountId: fromWire('account', customer.accountId) }, wallet.address)).toBe(false);
});
