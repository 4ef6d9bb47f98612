import { createHmac } from 'node:crypto';
import { secp256k1 } from '@noble/curves/secp256k1.js';
import { ES256KSigner } from 'did-jwt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { clientOf, type Json, newCustomer } from '../harness/client.ts';
import { challengeFor, type KeyHolder, keyHolder, keyTypes, walletHolder } from '../harness/dids.ts';
import { fareboxForFile, type TestFarebox } from '../harness/farebox.ts';
import { expectFieldProblem, expectProblem } from '../harness/problems.ts';

// What a verifier of DID tokens lets pass when it only calls the library (research §1.4), row by row.

let farebox: TestFarebox;
beforeAll(async () => {
  farebox = await fareboxForFile();
});
afterAll(() => farebox.stop());

const anybody = () => clientOf(farebox.url);
const answer = (challenge: Json, proof: Json) =>
  anybody().call('POST', '/v1/auth/did/tokens', { body: { challenge_id: challenge.challenge_id, proof } });
const answerJwt = (challenge: Json, jwt: string) => answer(challenge, { type: 'did-jwt', jwt });

const encode = (part: Json) => Buffer.from(JSON.stringify(part)).toString('base64url');
const kidOf = (did: string) => `${did}#${did.slice('did:key:'.length)}`;

interface Scene {
  claims: Json;
  victim: KeyHolder;
  attacker: KeyHolder;
}
type Forgery = (scene: Scene) => string | Promise<string>;

const withClaims =
  (change: (claims: Json, scene: Scene) => Json): Forgery =>
  (scene) =>
    scene.victim.token(change(scene.claims, scene));
const withHeader =
  (change: (scene: Scene) => Json): Forgery =>
  (scene) =>
    scene.victim.token(scene.claims, change(scene));
/** Signed by the attacker, whatever it says. */
const byAttacker =
  (change: (claims: Json, scene: Scene) => Json, header: (scene: Scene) => Json = () => ({})): Forgery =>
  (scene) =>
    scene.attacker.token(change(scene.claims, scene), header(scene));

const forgeries: Record<string, Forgery> = {
  'no algorithm': ({ claims }) => `${encode({ typ: 'did-auth+jwt', alg: 'none' })}.${encode(claims)}.AA`,
  'an HMAC with the public key': ({ claims, victim }) => {
    const text = `${encode({ typ: 'did-auth+jwt', alg: 'HS256' })}.${encode(claims)}`;
    return `${text}.${createHmac('sha256', victim.did).update(text).digest('base64url')}`;
  },
  'the key of somebody else': byAttacker((claims) => claims),
  'a changed payload': async ({ claims, victim }) => {
    const [header, , signature] = (await victim.token({ ...claims, nonce: 'x' })).split('.');
    return [header, encode(claims), signature].join('.');
  },
  'another audience': withClaims((claims) => ({ ...claims, aud: 'https://evil.example' })),
  'no audience': withClaims(({ aud: _, ...claims }) => claims),
  'us among other audiences': withClaims((claims) => ({ ...claims, aud: [claims.aud, 'https://evil.example'] })),
  'no end': withClaims(({ exp: _, ...claims }) => claims),
  'an end that was 200 s ago': withClaims((claims) => ({ ...claims, iat: claims.iat - 500, exp: claims.iat - 200 })),
  'an end far away': withClaims((claims) => ({ ...claims, exp: claims.exp + 86_400 })),
  'no beginning': withClaims((claims) => ({ ...claims, iat: undefined })),
  'a beginning in the future': withClaims((claims) => ({ ...claims, iat: claims.iat + 600 })),
  'a fraction for a time': withClaims((claims) => ({ ...claims, exp: claims.exp - 0.5 })),
  'the key id of another DID': withHeader(({ attacker }) => ({ kid: kidOf(attacker.did) })),
  'a key id that is only the fragment': withHeader(({ victim }) => ({ kid: `#${victim.did.slice(8)}` })),
  'a critical header that nobody knows': withHeader(() => ({ crit: ['x'], x: 1 })),
  'an unencoded payload': withHeader(() => ({ b64: false, crit: ['b64'] })),
  'a key of its own': withHeader(() => ({ jwk: { kty: 'OKP' } })),
  'an address for its key': withHeader(() => ({ jku: 'https://evil.example/keys' })),
  'a certificate': withHeader(() => ({ x5u: 'https://evil.example/cert' })),
  'a token inside': withHeader(() => ({ cty: 'JWT' })),
  'the type of any token': withHeader(() => ({ typ: 'JWT' })),
  'a DID URL as issuer': withClaims((claims, { victim }) => ({ ...claims, iss: kidOf(victim.did) })),
  'a DID URL as subject': withClaims((claims, { victim }) => ({ ...claims, sub: kidOf(victim.did) })),
  'self-issued, with the victim as subject': byAttacker((claims) => ({ ...claims, iss: 'https://self-issued.me/v2' })),
  'self-issued, with a key of its own': byAttacker(
    (claims) => ({ ...claims, iss: 'https://self-issued.me/v2', sub_jwk: {} }),
    ({ attacker }) => ({ kid: kidOf(attacker.did) }),
  ),
  'self-issued, as it once was': byAttacker((claims) => ({
    ...claims,
    iss: 'https://self-issued.me',
    did: claims.sub,
  })),
  'the attacker as issuer': byAttacker((claims, { attacker }) => ({ ...claims, iss: attacker.did })),
  'the attacker as issuer and subject': byAttacker((claims, { attacker: { did } }) => ({
    ...claims,
    iss: did,
    sub: did,
  })),
  'another nonce': withClaims((claims) => ({ ...claims, nonce: '0'.repeat(32) })),
  'another purpose': withClaims((claims) => ({ ...claims, purpose: 'payment' })),
  'another sentence': withClaims((claims) => ({ ...claims, statement: 'Sign in to https://evil.example.' })),
  'one claim more': withClaims((claims) => ({ ...claims, admin: true })),
  'a prototype': async (scene) => {
    const text = JSON.stringify(scene.claims).replace('{', '{"__proto__":{"a":1},');
    const head = `${encode({ typ: 'did-auth+jwt', alg: scene.victim.alg })}.${Buffer.from(text).toString('base64url')}`;
    return `${head}.${await scene.victim.signer(head)}`;
  },
  'no token at all': () => 'x',
  'a header that is no object': ({ claims }) => `${encode(null)}.${encode(claims)}.AA`,
  'a payload that is no object': () => `${encode({ typ: 'did-auth+jwt', alg: 'EdDSA' })}.${encode([])}.AA`,
  'a header that is no JSON': ({ claims }) => `AAAA.${encode(claims)}.AA`,
};

// REQ E1.4 P7
describe.each(keyTypes)('with a did:key of %s', (type) => {
  test.each(Object.entries(forgeries))('%s is refused, and nothing is told', async (_name, forge) => {
    const [victim, attacker] = [keyHolder(type), keyHolder(type)];
    const challenge = await challengeFor(anybody(), victim.did);
    const reply = await answerJwt(challenge, await forge({ claims: challenge.jwt_claims, victim, attacker }));
    expectProblem(reply, 'did_auth_failed');
    expect((await answer(challenge, await victim.prove(challenge))).status, 'the right answer').toBe(200);
  });
});

test('a forged token in the wake of a good one is not verified by the key of the good one', async () => {
  const [victim, attacker] = [keyHolder(), keyHolder()];
  const [own, theirs] = [await challengeFor(anybody(), attacker.did), await challengeFor(anybody(), victim.did)];
  expect((await answer(own, await attacker.prove(own))).status).toBe(200);
  expectProblem(await answerJwt(theirs, await attacker.token(theirs.jwt_claims)), 'did_auth_failed');
});

test('a signature with n−S for S is as good as the first, and no second use', async () => {
  const holder = keyHolder('secp256k1');
  const challenge = await challengeFor(anybody(), holder.did);
  const { jwt } = await holder.prove(challenge);
  const [header, payload, signature = ''] = jwt.split('.');
  const { r, s } = secp256k1.Signature.fromBytes(Buffer.from(signature, 'base64url'));
  const bent = new secp256k1.Signature(r, secp256k1.Point.Fn.neg(s)).toBytes();
  const other = [header, payload, Buffer.from(bent).toString('base64url')].join('.');
  expect(other).not.toBe(jwt);
  expect((await answerJwt(challenge, other)).status).toBe(200);
  expectProblem(await answerJwt(challenge, jwt), 'did_auth_failed');
});

test('ES256K-R is not offered, for a key or for a wallet', async () => {
  const holder = keyHolder('secp256k1');
  const recoverable = ES256KSigner(holder.secret, true);
  const key = await challengeFor(anybody(), holder.did);
  const head = `${encode({ typ: 'did-auth+jwt', alg: 'ES256K-R' })}.${encode(key.jwt_claims)}`;
  expectProblem(await answerJwt(key, `${head}.${await recoverable(head)}`), 'did_auth_failed');

  const wallet = walletHolder(`0x${Buffer.from(holder.secret).toString('hex')}`);
  const challenge = await challengeFor(anybody(), wallet.did);
  expect(challenge.jwt_claims).toBeNull();
  const claims = { ...key.jwt_claims, iss: wallet.did.toLowerCase(), sub: wallet.did, nonce: challenge.nonce };
  for (const alg of ['ES256K', 'ES256K-R']) {
    const text = `${encode({ typ: 'did-auth+jwt', alg })}.${encode(claims)}`;
    expectProblem(await answerJwt(challenge, `${text}.${await recoverable(text)}`), 'did_auth_failed');
  }
});

describe('a wallet', () => {
  const forged: Record<string, (text: string) => string> = {
    'another domain': (text) => text.replaceAll('127.0.0.1', 'evil.example'),
    'another sentence': (text) => text.replace('Sign in to', 'Sign up to'),
    'another nonce': (text) => text.replace(/Nonce: ./, 'Nonce: z'),
    'another chain': (text) => text.replace('Chain ID: 1', 'Chain ID: 10'),
    'a later end': (text) => text.replace(/Expiration Time: 2/, 'Expiration Time: 3'),
    'a resource less': (text) => text.split('\n').slice(0, -1).join('\n'),
    'another purpose': (text) => text.replace('urn:farebox:purpose:login', 'urn:farebox:purpose:payment'),
    'a line more': (text) => `${text}\n`,
  };
  test.each(Object.entries(forged))('that signed %s is refused', async (_name, change) => {
    const holder = walletHolder();
    const challenge = await challengeFor(anybody(), holder.did);
    const text = change(challenge.siwe_message);
    expect(text).not.toBe(challenge.siwe_message);
    expectProblem(await answer(challenge, { type: 'siwe', signature: await holder.sign(text) }), 'did_auth_failed');
    expect((await answer(challenge, await holder.prove(challenge))).status).toBe(200);
  });

  test('of somebody else is refused, and so is a signature that is none', async () => {
    const [holder, stranger] = [walletHolder(), walletHolder()];
    const challenge = await challengeFor(anybody(), holder.did);
    const zero = `0x${'00'.repeat(64)}1b`;
    for (const proof of [await stranger.prove(challenge), { type: 'siwe', signature: zero }]) {
      expectProblem(await answer(challenge, proof), 'did_auth_failed');
    }
    expectFieldProblem(await answer(challenge, { type: 'siwe', signature: '0x00' }), '/proof/signature');
  });

  test('cannot answer for a key, nor a key for a wallet', async () => {
    const [key, wallet] = [keyHolder(), walletHolder()];
    const [ofKey, ofWallet] = [await challengeFor(anybody(), key.did), await challengeFor(anybody(), wallet.did)];
    const signature = await wallet.sign(ofWallet.siwe_message);
    expectProblem(await answer(ofKey, { type: 'siwe', signature }), 'did_auth_failed');
    expectProblem(await answerJwt(ofWallet, await key.token(ofKey.jwt_claims)), 'did_auth_failed');
  });
});

test('a token beyond 4 KiB is not looked at', async () => {
  const holder = keyHolder();
  const challenge = await challengeFor(anybody(), holder.did);
  const jwt = await holder.token({ ...challenge.jwt_claims, more: 'x'.repeat(4096) });
  expectFieldProblem(await answerJwt(challenge, jwt), '/proof/jwt');
});

test.each([
  ['did:web:example.com', 'did_method_unsupported'],
  ['did:key:z82LkvCwHNreneWpsgPEbV3gu1C6NFJEBg4srfJ5gdxEsMGRJUz2sG9FE42shbn2xkZJh54', 'did_key_type_unsupported'],
  ['did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp#z6Mk', 'did_noncanonical'],
  ['did:key:z6MkeTG3bFFSLYVU7VqhgZxqr6YzpaGrQtFMh1uvqGy1vDnP', 'did_invalid'], // 32 zero bytes: a point of order 4
] as const)('no challenge is made for %s', async (did, code) => {
  const reply = await anybody().call('POST', '/v1/auth/did/challenges', { body: { did, purpose: 'login' } });
  expectProblem(reply, code);
});

// What clientOf asserts of each reply: no 5xx.
test('whatever is sent in the place of a field, it is refused as the client’s own fault', async () => {
  const customer = await newCustomer(farebox);
  const challenge = await challengeFor(customer, keyHolder().did, { purpose: 'link' });
  const id = challenge.challenge_id;
  const good: Record<string, Json> = {
    '/v1/auth/did/challenges': {
      did: keyHolder().did,
      purpose: 'wallet',
      wallet: `eip155:1:${walletHolder().address}`,
    },
    '/v1/auth/did/tokens': { challenge_id: id, proof: { type: 'did-jwt', jwt: 'a.b.c' } },
    '/v1/me/dids': { challenge_id: id, proof: { type: 'siwe', signature: `0x${'0'.repeat(130)}` } },
    '/v1/wallets': { challenge_id: id, did_jwt: 'a.b.c', siwe_signature: `0x${'f'.repeat(130)}` },
  };
  const texts = ['', ' ', 'x', '💥', '..', "';--", 'x'.repeat(30_000), 'did:key:z', 'did:key:z6Mk💥', 'eip155:1:0x'];
  const ids = [`chal_${'7'.repeat(26)}`, `acct_${'0'.repeat(26)}`, `did:key:z${'z'.repeat(900)}`];
  const proofs = [{ type: 'x' }, { type: 'siwe', jwt: 'x' }, { type: 'did-jwt' }, { type: 'did-jwt', jwt: 'é.é.é' }];
  const hostile: Json[] = [null, true, 0, -1, 1e300, [], [[]], {}, { toString: 1 }, ...texts, ...ids, ...proofs];
  for (const [path, body] of Object.entries(good)) {
    for (const name of Object.keys(body)) {
      const send = async (value: Json) => {
        const reply = await customer.call('POST', path, { body: { ...body, [name]: value } });
        expect([400, 401, 422, 201], `${path} ${name} ${JSON.stringify(value)}: ${reply.text}`).toContain(reply.status);
      };
      await Promise.all(hostile.map(send));
    }
  }
});
