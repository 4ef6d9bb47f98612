import { Agent, request } from 'node:https';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { basic, type Merchant, SECRET_KEY, startMerchant } from '../../sandbox/omise/testing/merchant.ts';

// Made for this file alone by `openssl req -x509 -newkey ec … -days 36500`, for 127.0.0.1 and localhost.
const CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBuzCCAWGgAwIBAgIUQRwbk9a2W96lqfXjs1vaaCbny5cwCgYIKoZIzj0EAwIw
JDEiMCAGA1UEAwwZT21pc2Ugc3RhbmQtaW4sIHRlc3Qgb25seTAgFw0yNjExMjIw
NDA1NTRaGA8yMTI2MTAyOTA0MDU1NFowJDEiMCAGA1UEAwwZT21pc2Ugc3RhbmQt
aW4sIHRlc3Qgb25seTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABOQQPhIFKAjC
m6YO2QOCX/LPIe3HW/Ic5sxqO5+HXKAa2zRW0nKYs42OkkYKE4TZxT+nTtbU0xU6
V0a46XAR3oajbzBtMB0GA1UdDgQWBBTJvJNR1+9fEFkyT/kU+8l/0yqlWTAfBgNV
HSMEGDAWgBTJvJNR1+9fEFkyT/kU+8l/0yqlWTAPBgNVHRMBAf8EBTADAQH/MBoG
A1UdEQQTMBGHBH8AAAGCCWxvY2FsaG9zdDAKBggqhkjOPQQDAgNIADBFAiEAxExq
cr1uWxJm7njWUQNFiRrCh3BRLCUBFOuHxlizOrcCICb7nRlTuK1KPR/iF88zD95p
EpjIG4I60NEStCzAbfOV
-----END CERTIFICATE-----`;
const PRIVATE_KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgwWccNZQh3FD4knb7
EgWS6w4s3DtdajOAkJIytXdV9N+hRANCAATkED4SBSgIwpumDtkDgl/yzyHtx1vy
HObMajufh1ygGts0VtJymLONjpJGChOE2cU/p07W1NMVOldGuOlwEd6G
-----END PRIVATE KEY-----`;

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
