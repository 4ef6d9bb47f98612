import { createHmac, generateKeyPairSync, sign } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Executor, startExecutor } from '../../sandbox/executor/server.ts';
import { type Client, clientOf, eventually, newCustomer, newOperator } from '../harness/client.ts';
import { fareboxForFile, type TestFarebox } from '../harness/farebox.ts';
import { base64url, forge, partsOf, stolenKey } from '../harness/forged-tokens.ts';
import { expectProblem } from '../harness/problems.ts';

// RFC 8725, ASVS 5.0 V9. Every token here is a 401, at a protected address as at the executor's callbacks, and never a 500.

interface Scene {
  farebox: TestFarebox;
  executor: Executor;
  customer: Client;
  stranger: Client;
  /** Run and callback token of an attempt that is under way. */
  run: string;
  callback: string;
  otherRun: string;
  stolen: Awaited<ReturnType<typeof stolenKey>>;
  lines: string[];
}
let scene: Scene;

beforeAll(async () => {
  const executor = await startExecutor();
  const lines: string[] = [];
  const farebox = await fareboxForFile({
    env: { EGRESS_ALLOW: `127.0.0.1:${executor.port}` },
    log: { write: (line) => lines.push(line) },
  });
  const operator = await newOperator(farebox);
  const service = await operator.ok('POST', '/v1/admin/services', {
    body: { name: 'S', credit_cost: 1, executor: { endpoint: `${executor.url}/async-silent` } },
  });
  executor.expectSecret(service.signing_secret);
  const customer = await newCustomer(farebox);
  const path = `/v1/admin/accounts/${customer.accountId}/grants`;
  await operator.ok('POST', path, { body: { credits: 10, reason: 'test' } });
  const workflow = await customer.ok('POST', '/v1/workflows', { body: { service_id: service.id, name: 'W' } });
  const start = async () => (await customer.post(`/v1/workflows/${workflow.id}/runs`, {})).body.run.id;
  const [run, otherRun] = [await start(), await start()];
  const received = await eventually(
    async () => executor.runs.find(({ runId }) => runId === run),
    (found) => found !== undefined,
  );
  scene = {
    ...{ farebox, executor, customer, run, otherRun, lines },
    stranger: await newCustomer(farebox),
    callback: received?.data?.callback_token ?? '',
    stolen: await stolenKey(farebox),
  };
});
afterAll(async () => {
  await scene.farebox.stop();
  await scene.executor.close();
});

const attacker = generateKeyPairSync('ed25519');
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const NONE = Buffer.alloc(0);
const now = () => Math.floor(Date.now() / 1000);

type Parts = ReturnType<typeof partsOf>;
/** The good token of one kind, with something changed, signed by the key that is right. */
type Change = (good: Parts, scene: Scene) => { header?: unknown; payload?: unknown };
/** Whole tokens, made from the good one. */
type Make = (good: Parts, token: string, scene: Scene) => string;

const raw = ({ header, payload }: Parts, change: object, signature: Buffer) =>
  `${base64url({ ...header, ...change })}.${base64url(payload)}.${signature.toString('base64url')}`;
const hmac = ({ header, payload }: Parts, secret: string | Buffer, alg = 'HS256') => {
  const input = `${base64url({ ...header, alg })}.${base64url(payload)}`;
  const hash = alg.replace('HS', 'sha');
  return `${input}.${createHmac(hash, secret).update(input).digest('base64url')}`;
};
const signedBy = ({ header, payload }: Parts, alg: string, key: typeof rsa.privateKey, change = {}) => {
  const input = `${base64url({ ...header, alg, ...change })}.${base64url(payload)}`;
  const how = alg === 'ES256' ? { key, dsaEncoding: 'ieee-p1363' as const } : key;
  return `${input}.${sign(alg === 'EdDSA' ? null : 'sha256', Buffer.from(input), how).toString('base64url')}`;
};

const forgeries: Record<string, Make> = {
  ...Object.fromEntries(
    ['none', 'None', 'NONE', 'nOnE', '', 'EdDSA'].map((alg) => [
      `alg "${alg}" and no signature`,
      ((good) => raw(good, { alg }, NONE)) satisfies Make,
    ]),
  ),
  'alg none and the true signature': (good, token) =>
    raw(good, { alg: 'none' }, Buffer.from(token.split('.')[2] ?? '', 'base64url')),
  'no alg': (good) => forge({ ...good.header, alg: undefined }, good.payload, attacker.privateKey),
  'HS256 with our public key as the secret': (good, _t, { stolen }) => hmac(good, stolen.publicPem),
  'HS512 with our public key as the secret': (good, _t, { stolen }) => hmac(good, stolen.publicPem, 'HS512'),
  'HS256 with our public key, trimmed': (good, _t, { stolen }) => hmac(good, stolen.publicPem.trim()),
  'HS256 with the empty secret': (good) => hmac(good, ''),
  'RS256 of a key of theirs': (good) => signedBy(good, 'RS256', rsa.privateKey),
  'ES256 of a key of theirs': (good) => signedBy(good, 'ES256', ec.privateKey),
  'EdDSA of a key of theirs': (good) => signedBy(good, 'EdDSA', attacker.privateKey),
  'their key in jwk': (good) =>
    signedBy(good, 'EdDSA', attacker.privateKey, { jwk: attacker.publicKey.export({ format: 'jwk' }), kid: undefined }),
  'their keys behind jku': (good) =>
    signedBy(good, 'EdDSA', attacker.privateKey, { jku: 'http://127.0.0.1:1/jwks.json' }),
  'their certificate behind x5u': (good) => signedBy(good, 'RS256', rsa.privateKey, { x5u: 'http://127.0.0.1:1/c' }),
  'their certificate in x5c': (good) => signedBy(good, 'RS256', rsa.privateKey, { x5c: ['MIIB'] }),
  'another payload under the true signature': ({ header, payload }, token) =>
    `${base64url(header)}.${base64url({ ...payload, ver: 2 })}.${token.split('.')[2]}`,
  'a second sub before the true signature': ({ header, payload }, token) => {
    const text = JSON.stringify(payload).replace(/}$/, ',"sub":"acct_00000000000000000000000000"}');
    return `${base64url(header)}.${base64url(text)}.${token.split('.')[2]}`;
  },
  'five parts (JWE)': (_g, token) => `${token}.AAAA.AAAA`,
  'five empty parts': () => '....',
  'a dot behind': (_g, token) => `${token}.`,
  'a dot before': (_g, token) => `.${token}`,
  'two parts': (_g, token) => token.split('.').slice(0, 2).join('.'),
  'one part': (_g, token) => token.split('.')[1] ?? '',
  'no signature': (_g, token) => `${token.split('.').slice(0, 2).join('.')}.`,
  'base64 with padding': (_g, token) => `${token}==`,
  'a character that base64url has not': (_g, token) => `${token.slice(0, -1)}+`,
  'a header that is not JSON': (_g, token) => `AAAA${token}`,
  'a signature that is cut': (_g, token) => token.slice(0, -3),
  'a token in a token': (good, token) => raw(good, { cty: 'JWT' }, Buffer.from(token)),
  'twelve thousand characters': (_g, token) => token + 'A'.repeat(12_000 - token.length),
};

const changes: Record<string, Change> = {
  ...Object.fromEntries(
    Object.entries({
      missing: undefined,
      empty: '',
      null: null,
      'a number': 7,
      'a list': ['k'],
      'an object': { k: 1 },
      unknown: 'unknown-kid-000000',
      'a path': '../../../../dev/null',
      'an injection': "' union select 'x' --",
      __proto__: '__proto__',
      constructor: 'constructor',
      'five thousand characters long': 'k'.repeat(5_000),
    }).map(([name, kid]) => [`kid ${name}`, (({ header }) => ({ header: { ...header, kid } })) satisfies Change]),
  ),
  'crit with an extension that nobody knows': ({ header }) => ({ header: { ...header, crit: ['x'], x: 1 } }),
  'crit that is empty': ({ header }) => ({ header: { ...header, crit: [] } }),
  'crit that is no list': ({ header }) => ({ header: { ...header, crit: 'exp' } }),
  'typ JWT': ({ header }) => ({ header: { ...header, typ: 'JWT' } }),
  'typ missing': ({ header }) => ({ header: { ...header, typ: undefined } }),
  'typ a number': ({ header }) => ({ header: { ...header, typ: 7 } }),
  ...Object.fromEntries(
    ['exp', 'iat', 'iss', 'aud', 'sub', 'jti'].flatMap((claim) => [
      [`${claim} missing`, (({ payload }) => ({ payload: { ...payload, [claim]: undefined } })) satisfies Change],
      [`${claim} null`, (({ payload }) => ({ payload: { ...payload, [claim]: null } })) satisfies Change],
    ]),
  ),
  'exp in the past': ({ payload }) => ({ payload: { ...payload, exp: now() - 60 } }),
  'exp a text': ({ payload }) => ({ payload: { ...payload, exp: String(now() + 600) } }),
  'exp a fraction': ({ payload }) => ({ payload: { ...payload, exp: now() + 600.5 } }),
  'exp a list': ({ payload }) => ({ payload: { ...payload, exp: [now() + 600] } }),
  'exp before all time': ({ payload }) => ({ payload: { ...payload, exp: -1e300 } }),
  'exp beyond all numbers': ({ payload }) => ({
    payload: JSON.stringify({ ...payload, exp: 'X' }).replace('"X"', '1e400'),
  }),
  'exp beyond what is exact': ({ payload }) => ({ payload: { ...payload, exp: 2 ** 60 } }),
  'nbf in the future': ({ payload }) => ({ payload: { ...payload, nbf: now() + 60 } }),
  'nbf a text': ({ payload }) => ({ payload: { ...payload, nbf: 'now' } }),
  'iat in the future': ({ payload }) => ({ payload: { ...payload, iat: now() + 60 } }),
  'iat a text': ({ payload }) => ({ payload: { ...payload, iat: 'now' } }),
  'another issuer': ({ payload }) => ({ payload: { ...payload, iss: 'https://evil.example' } }),
  'another audience': ({ payload }) => ({ payload: { ...payload, aud: 'somebody' } }),
  'an audience that is a number': ({ payload }) => ({ payload: { ...payload, aud: 7 } }),
  'a sub of another kind': ({ payload }) => ({ payload: { ...payload, sub: 'run_01jd0000000000000000000000' } }),
  'a sub that is no id': ({ payload }) => ({ payload: { ...payload, sub: "acct_' or 1=1" } }),
  'a sub of nobody': ({ payload }) => ({ payload: { ...payload, sub: 'acct_01jd0000000000000000000000' } }),
  'a payload that is a list': () => ({ payload: [] }),
  'a payload that is null': () => ({ payload: null }),
  'a payload that is a number': () => ({ payload: 7 }),
  'a payload that is not JSON': () => ({ payload: '{"sub":' }),
};
/** Claims that only access tokens have. */
const accessChanges: Record<string, Change> = {
  'the sub of another account': ({ payload }, { stranger }) => ({ payload: { ...payload, sub: stranger.accountId } }),
  'a session that is no uuid': ({ payload }) => ({ payload: { ...payload, sid: 'x' } }),
  'a session of nobody': ({ payload }) => ({ payload: { ...payload, sid: '01234567-89ab-7def-8123-456789abcdef' } }),
  'no session': ({ payload }) => ({ payload: { ...payload, sid: undefined } }),
  'another version': ({ payload }) => ({ payload: { ...payload, ver: 99 } }),
  'a version that is a text': ({ payload }) => ({ payload: { ...payload, ver: '1' } }),
};

/** A token as a header can carry it. */
const toMe = (token: string) => clientOf(scene.farebox.url).get('/v1/me', { token });
const toCallback = (token: string, run = scene.run) =>
  clientOf(scene.farebox.url).call('POST', `/v1/executor/runs/${run}/progress`, { token, body: { percent: 1 } });

function changed(token: string, change: Change): string {
  const good = partsOf(token);
  const { header = good.header, payload = good.payload } = change(good, scene);
  return forge(header, payload, scene.stolen.key);
}

test('the tokens that the attacks begin with are good, made by hand or by us', async () => {
  expect((await toMe(scene.customer.token)).status).toBe(200);
  expect((await toMe(changed(scene.customer.token, () => ({})))).status).toBe(200);
  expect((await toCallback(scene.callback)).status).toBe(204);
  expect((await toCallback(changed(scene.callback, () => ({})))).status).toBe(204);
});

describe('refused at a protected address and at the callbacks:', () => {
  test.each(Object.entries(forgeries))('%s', async (_name, make) => {
    const { customer, callback } = scene;
    const reply = await toMe(make(partsOf(customer.token), customer.token, scene));
    expectProblem(reply, 'invalid_token');
    expect(reply.headers.get('www-authenticate')).toBe('Bearer realm="farebox", error="invalid_token"');
    expectProblem(await toCallback(make(partsOf(callback), callback, scene)), 'invalid_callback_token');
  });

  test.each(Object.entries(changes))('%s, though signed with the right key', async (_name, change) => {
    const access = changed(scene.customer.token, change);
    expectProblem(await toMe(access), 'invalid_token');
    expectProblem(await toMe(access), 'invalid_token'); // remembered refusals are refusals
    expectProblem(await toCallback(changed(scene.callback, change)), 'invalid_callback_token');
  });

  test.each(Object.entries(accessChanges))('%s, though signed with the right key', async (_name, change) => {
    expectProblem(await toMe(changed(scene.customer.token, change)), 'invalid_token');
  });
});

test('a token of one kind is worth nothing as another', async () => {
  const session = await clientOf(scene.farebox.url).ok('POST', '/v1/auth/login', {
    body: { email: scene.customer.email, password: scene.customer.password },
  });
  expectProblem(await toMe(scene.callback), 'invalid_token');
  expectProblem(await toMe(session.refresh_token), 'invalid_token');
  expectProblem(await toMe(`fbx_${session.refresh_token}`), 'invalid_api_key');
  expectProblem(await toCallback(scene.customer.token), 'invalid_callback_token');
  expectProblem(await toCallback(session.refresh_token), 'invalid_callback_token');
  const { key } = await scene.customer.ok('POST', '/v1/api-keys', { body: { name: 'k', scopes: ['runs:write'] } });
  expectProblem(await toCallback(key), 'invalid_callback_token');
});

test('the callback token of one run is worth nothing for another', async () => {
  expectProblem(await toCallback(scene.callback, scene.otherRun), 'invalid_callback_token');
});

test('a token anywhere but in the Authorization header is not seen', async () => {
  const { customer, farebox } = scene;
  const anybody = clientOf(farebox.url);
  for (const name of ['access_token', 'token', 'authorization', 'jwt']) {
    const reply = await anybody.get(`/v1/credits/balance?${name}=${customer.token}`);
    expectProblem(reply, 'unauthenticated');
    expect(reply.text).not.toContain(customer.token);
    expectProblem(await anybody.get('/v1/me', { headers: { cookie: `${name}=${customer.token}` } }), 'unauthenticated');
  }
  for (const header of ['x-access-token', 'x-authorization', 'proxy-authorization']) {
    expectProblem(
      await anybody.get('/v1/me', { headers: { [header]: `Bearer ${customer.token}` } }),
      'unauthenticated',
    );
  }
});

test('none of it was a fault of ours', () => {
  const faults = scene.lines.filter((line) => /"level":"(error|fatal)"/.test(line));
  expect(faults).toEqual([]);
});
