import { randomUUID } from 'node:crypto';
import { bytesToMultibase, createJWT, ES256KSigner, verifyJWT } from 'did-jwt';
import { Resolver } from 'did-resolver';
import { getResolver } from 'key-did-resolver';
import { type Address, createTestClient, http, parseAbi, publicActions, walletActions } from 'viem';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { foundry } from 'viem/chains';
import { type Presence, readSecrets } from '../home.ts';
import { call, type Json, show, TourFault, until } from './steps.ts';

/** A merchant asks the holder of a DID for money on chain; the holder proves it, signs the terms, pays, and has a receipt. */

const TEN_DOLLARS = '10000000';
const erc20 = parseAbi([
  'function mint(address to, uint256 value)',
  'function transfer(address to, uint256 value) returns (bool)',
]);
const short = (text: string, length = 44) => (text.length > length ? `${text.slice(0, length)}…` : text);

export async function tourCrypto(presence: Presence): Promise<void> {
  const { url, chainUrl } = presence;
  if (!chainUrl) throw new TourFault('There is no chain: npm has no anvil for this machine.');
  const payer = newPayer();
  show('A wallet is made, whose key is a DID, too', 'on this machine; no server is asked', {
    DID: short(payer.did),
    address: payer.account.address,
  });

  const token = await signIn(url, payer);
  const auth = { authorization: `Bearer ${token}` };
  const get = (path: string) => call({ method: 'GET', url: url + path, headers: auth, status: 200 });
  show('It signs in by a signature over what Farebox asks', 'POST /v1/auth/did/challenges, /v1/auth/did/tokens', {
    account: (await get('/v1/me')).id,
  });

  const merchant = await newMerchant(presence);
  const { data: packages } = await get('/v1/packages');
  const asset: string = packages.flatMap((one: Json) => one.crypto_prices)[0]?.asset ?? '';
  const request = await call({
    method: 'POST',
    url: `${url}/v1/payment-requests`,
    headers: { authorization: `Bearer ${merchant}`, 'idempotency-key': randomUUID() },
    body: {
      ...{ payer: payer.did, asset, amount: TEN_DOLLARS, description: 'A thousand credits' },
      purpose: { type: 'credits', credits: 1_000 },
    },
    status: 201,
  });
  show('A merchant, with an API key, asks that DID for ten test dollars', 'POST /v1/payment-requests', {
    request: `${request.id} (${request.status})`,
    terms: `sha256 ${short(request.terms_hash, 24)}`,
    page: request.page_url,
  });

  const path = `${url}/v1/payment-requests/${request.id}`;
  const challenge = await call({ method: 'POST', url: `${path}/challenges`, status: 201 });
  const proof = await payer.prove(challenge);
  const agreed = await call({
    method: 'POST',
    url: `${path}/authorizations`,
    body: { challenge_id: challenge.challenge_id, proof },
    status: 200,
  });
  show('The payer signs the very terms', 'POST …/challenges, …/authorizations', {
    signed: short(challenge.jwt_claims.statement, 60),
    status: agreed.status,
  });

  const hash = await payFrom(payer, chainUrl, agreed.payment_uri);
  show('It pays by what a wallet reads off the QR code (EIP-681), and tells nobody', short(agreed.payment_uri, 60), {
    transaction: short(hash, 24),
  });

  const paid = await until(
    () => get(`/v1/payment-requests/${request.id}`),
    ({ status }) => status === 'completed',
    'the credit',
  );
  show('Farebox finds the transfer, verifies it and credits it', 'GET …', {
    status: `${paid.status}, ${paid.transactions[0].confirmations} confirmations`,
    balance: `${(await get('/v1/credits/balance')).available} credits`,
  });

  const receipt = await get(`/v1/payment-requests/${request.id}/receipt`);
  const resolver = new Resolver(getResolver());
  const { payload } = await verifyJWT(receipt.jws, { resolver });
  const document = await call({ method: 'GET', url: `${url}/.well-known/did.json`, status: 200 });
  if (payload['terms_hash'] !== request.terms_hash || !document.alsoKnownAs.includes(receipt.issuer))
    throw new TourFault('the receipt is not what was signed');
  show('Both get the same receipt, which any DID library verifies', 'GET …/receipt, /.well-known/did.json', {
    issuer: short(receipt.issuer),
    'signed by': document.id,
    transfers: (payload['transfers'] as Json[]).length,
  });
  console.log(`Look further\n  the page        ${request.page_url}\n  how chains are read: docs/chains.md`);
}

/** secp256k1: its wallet belongs to the DID without being linked. */
function newPayer() {
  const secret = generatePrivateKey();
  const account = privateKeyToAccount(secret);
  const point = Buffer.from(account.publicKey.slice(4), 'hex'); // 0x04, x, y
  const prefix = Buffer.from([((point[63] ?? 0) & 1) === 0 ? 2 : 3]); // SEC 1 §2.3.3
  const compressed = Buffer.concat([prefix, point.subarray(0, 32)]);
  const did = `did:key:${bytesToMultibase(compressed, 'base58btc', 'secp256k1-pub')}`;
  const signer = ES256KSigner(Buffer.from(secret.slice(2), 'hex'));
  const prove = async ({ jwt_claims, jwt_header }: Json) => ({
    type: 'did-jwt',
    jwt: await createJWT(jwt_claims, { issuer: did, signer }, jwt_header),
  });
  return { did, account, prove };
}
type Payer = ReturnType<typeof newPayer>;

async function signIn(url: string, { did, prove }: Payer): Promise<string> {
  const body = { did, purpose: 'login' };
  const challenge = await call({ method: 'POST', url: `${url}/v1/auth/did/challenges`, body, status: 201 });
  const answer = { challenge_id: challenge.challenge_id, proof: await prove(challenge) };
  const session = await call({ method: 'POST', url: `${url}/v1/auth/did/tokens`, body: answer, status: 200 });
  return session.access_token;
}

/** An account to which the operator has given the role; the API key of its billing service. */
async function newMerchant({ url, internalUrl }: Presence): Promise<string> {
  const { operatorEmail, operatorPassword } = readSecrets();
  const logIn = async (body: { email: string; password: string }) => {
    const session = await call({ method: 'POST', url: `${url}/v1/auth/login`, body, status: 200 });
    return { authorization: `Bearer ${session.access_token}` };
  };
  const operator = await logIn({ email: operatorEmail, password: operatorPassword });
  const own = { email: `shop-${Date.now()}@example.com`, password: `shop ${randomUUID()}` };
  const { id } = await call({ method: 'POST', url: `${url}/v1/auth/register`, body: own, status: 201 });
  const change = { role: 'merchant', reason: 'the tour' };
  const path = `${internalUrl}/v1/admin/accounts/${id}`;
  await call({ method: 'PATCH', url: path, headers: operator, body: change, status: 200 });
  const key = await call({
    method: 'POST',
    url: `${url}/v1/api-keys`,
    headers: { ...(await logIn(own)), 'idempotency-key': randomUUID() },
    body: { name: 'billing', scopes: ['read', 'payment_requests:write'] },
    status: 201,
  });
  return key.key;
}

/** As a wallet would; it gets its ether and its test dollars from the chain of the sandbox. */
async function payFrom({ account }: Payer, chainUrl: string, uri: string): Promise<string> {
  const [, token, to, amount] = /^ethereum:(0x\w{40})@\d+\/transfer\?address=(0x\w{40})&uint256=(\d+)$/.exec(uri) ?? [];
  if (!token || !to || !amount) throw new TourFault(`${uri} is no payment in a token`);
  const client = createTestClient({ mode: 'anvil', account, chain: foundry, transport: http(chainUrl) })
    .extend(publicActions)
    .extend(walletActions);
  await client.setBalance({ address: account.address, value: 10n ** 18n });
  const send = async (functionName: 'mint' | 'transfer', whom: Address) => {
    const hash = await client.writeContract({
      ...{ address: token as Address, abi: erc20, functionName },
      args: [whom, BigInt(amount)],
    });
    await client.waitForTransactionReceipt({ hash });
    return hash;
  };
  await send('mint', account.address);
  return send('transfer', to as Address);
}
