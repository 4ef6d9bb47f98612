import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CERTIFICATE, PRIVATE_KEY } from '../harness/certificate.ts';
import { type CannedProvider, SECRET_KEY, startCannedProvider } from './canned-provider.ts';

const ID = 'chrg_test_5xuyzuxqhdhw7ysa1l9';
const CHARGE = JSON.stringify({
  ...{ object: 'charge', id: ID, livemode: false, status: 'pending', paid: false, amount: 50_000, currency: 'THB' },
});

let provider: CannedProvider;
let folder: string;

beforeAll(async () => {
  provider = await startCannedProvider({ key: PRIVATE_KEY, cert: CERTIFICATE });
  provider.says = { body: CHARGE };
  folder = await mkdtemp(join(tmpdir(), 'farebox-'));
  await writeFile(join(folder, 'ca.pem'), CERTIFICATE);
});
afterAll(async () => {
  await provider.close();
  await rm(folder, { recursive: true });
});

/** A process of its own that asks for a charge, then for the address of a page by other code, and tells what came. */
const SCRIPT = `
  import https from 'node:https';
  const before = https.request;
  const { createOmiseRail } = await import('./src/payments/rails/omise.ts');
  const [url, id] = process.argv.slice(1);
  const rail = createOmiseRail({ url, secretKey: '${SECRET_KEY}', publicKey: 'pkey_test_5', deadlineMs: 3000,
    webhookUrl: null, currency: 'THB', onCall: () => {} });
  const order = { attemptId: '0b0e7d4c-9d8a-4a51-8f0e-0d3f6a3c9b11', purchaseId: 'p', amount: 1n, currency: 'THB',
    description: 'd', method: { type: 'promptpay' }, returnUri: 'https://x.example' };
  const read = await rail.check(id);
  const made = await rail.start(order);
  const theirs = await new Promise((resolve) =>
    https.get(new URL('/theirs', url), (reply) => resolve(reply.resume().statusCode)).on('error', (fault) => resolve(fault.code)));
  rail.close();
  console.log('RESULT ' + JSON.stringify({ read: { ...read, value: read.value?.id }, made: { ...made, value: undefined },
    theirs, untouched: https.request === before }));`;

interface Told {
  result: { read: unknown; made: unknown; theirs: unknown; untouched: boolean };
  said: string;
}

function ask(url: string, env: Record<string, string> = {}): Promise<Told> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', SCRIPT, url, ID], { env });
  let said = '';
  child.stdout.on('data', (chunk) => (said += chunk));
  child.stderr.on('data', (chunk) => (said += chunk));
  return new Promise((resolve, reject) =>
    child.on('close', () => {
      const line = /^RESULT (.*)$/m.exec(said)?.[1];
      if (line) resolve({ result: JSON.parse(line), said });
      else reject(new Error(said));
    }),
  );
}

const trusted = () => ({ NODE_EXTRA_CA_CERTS: join(folder, 'ca.pem') });

describe('over TLS', () => {
  // REQ E6.2
  test('a certificate that nobody vouches for is refused, before anything is sent', async () => {
    provider.asked.length = 0;
    const { result } = await ask(provider.url);
    expect(result.read).toEqual({ outcome: 'unavailable', reason: 'DEPTH_ZERO_SELF_SIGNED_CERT' });
    expect(result.made).toEqual({ outcome: 'unavailable', reason: 'DEPTH_ZERO_SELF_SIGNED_CERT' });
    expect(provider.asked).toEqual([]);
  });

  // REQ E6.2
  test('with the authority it is trusted; other code’s requests are as they always were', async () => {
    provider.asked.length = 0;
    const { result } = await ask(provider.url, trusted());
    expect(result).toMatchObject({ read: { outcome: 'ok', value: ID }, theirs: 200, untouched: true });
    const [ours, , theirs] = provider.asked;
    expect(ours?.headers.authorization).toMatch(/^Basic /);
    expect(theirs).toMatchObject({ path: '/theirs' });
    expect(theirs?.headers.authorization).toBeUndefined();
  });

  // REQ E6.2
  test('a server that knows TLS 1.1 at best is not talked to', async () => {
    const old = await startCannedProvider({
      ...{ key: PRIVATE_KEY, cert: CERTIFICATE },
      ...{ minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' },
    });
    old.says = { body: CHARGE };
    const { result } = await ask(old.url, trusted());
    expect(result.read).toEqual({ outcome: 'unavailable', reason: 'EPROTO' });
    expect(result.made).toEqual({ outcome: 'unavailable', reason: 'EPROTO' });
    expect(old.asked).toEqual([]);
    // It does answer those who are less careful.
    const agent = new https.Agent({ ca: CERTIFICATE, minVersion: 'TLSv1', ciphers: 'DEFAULT@SECLEVEL=0' });
    const careless = await new Promise((resolve) => {
      https.get(old.url, { agent }, (reply) => resolve(reply.resume().statusCode)).on('error', resolve);
    });
    expect(careless).toBe(200);
    agent.destroy();
    await old.close();
  });

  test('a reset during the handshake: nothing was sent, so nothing was made', async () => {
    const { createServer } = await import('node:net');
    const server = createServer((socket) => socket.once('data', () => socket.resetAndDestroy()));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : 0;
    const { result } = await ask(`https://127.0.0.1:${port}`, trusted());
    expect(result.made).toEqual({ outcome: 'unavailable', reason: 'ECONNRESET' });
    server.close();
  });
});

describe('what the environment says to the npm client', () => {
  // REQ E6.1 E6.3
  test('a proxy, another scheme and the debug mode are not heard, and nothing secret is printed', async () => {
    const proxy = await startCannedProvider();
    const { result, said } = await ask(provider.url, {
      ...trusted(),
      ...{ http_proxy: proxy.url, https_proxy: proxy.url, HTTP_PROXY: proxy.url, HTTPS_PROXY: proxy.url },
      ...{ OMISE_SCHEME: 'http', DEBUG_OMISE: 'true' },
    });
    expect(result.read).toMatchObject({ outcome: 'ok', value: ID });
    expect(proxy.connections).toBe(0);
    expect(said.replace(/^RESULT .*$/m, '').trim()).toBe('');
    await proxy.close();
  });
});
