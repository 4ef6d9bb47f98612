import { Agent, request } from 'node:https';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { basic, type Merchant, SECRET_KEY, startMerchant } from '../../sandbox/omise/testing/merchant.ts';
import { CERTIFICATE, PRIVATE_KEY } from '../harness/certificate.ts';

let merchant: Merchant;
const trusting = new Agent({ ca: CERTIFICATE, minVersion: 'TLSv1.2' });
const careful = new Agent();

beforeAll(async () => {
  merchant = await startMerchant({ tls: { key: PRIVATE_KEY, cert: CERTIFICATE } });
});
afterAll(async () => {
  trusting.destroy();
  careful.destroy();
  await merchant.close();
});

/** The status, or the code of the error. */
function accountVia(agent: Agent): Promise<number | string | undefined> {
  return new Promise((resolve) => {
    const { port } = merchant.omise;
    const headers = { authorization: basic(SECRET_KEY) };
    const call = request({ agent, host: '127.0.0.1', port, path: '/account', headers }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode));
    });
    call.on('error', (error: Error & { code?: string }) => resolve(error.code));
    call.end();
  });
}

describe('over TLS', () => {
  test('it answers those who trust its certificate, and nobody else is fooled', async () => {
    expect(merchant.omise.url).toBe(`https://127.0.0.1:${merchant.omise.port}`);
    expect(await accountVia(trusting)).toBe(200);
    expect(await accountVia(careful)).toBe('DEPTH_ZERO_SELF_SIGNED_CERT');
  });

  test('a reset is a reset there too', async () => {
    merchant.omise.control.fault({ api: 'reset_after_execution', times: 1 });
    expect(await accountVia(trusting)).toBe('ECONNRESET');
    expect(await accountVia(trusting)).toBe(200);
  });
});
