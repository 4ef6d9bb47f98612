import jsqrModule from 'jsqr';
import { PNG } from 'pngjs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { promptpayPayload, scannedReference } from '../../sandbox/omise/promptpay.ts';
import { basic, type Merchant, SECRET_KEY, startMerchant } from '../../sandbox/omise/testing/merchant.ts';

/** Its types describe an ES module; what Node loads is the function itself. */
const readQr = jsqrModule as unknown as typeof jsqrModule.default;

let merchant: Merchant;

beforeAll(async () => {
  merchant = await startMerchant({ merchant: 'ร้าน Bäckerei <b> & a very long name indeed' });
});
afterAll(() => merchant.close());

async function imageAddress(): Promise<{ id: string; address: string }> {
  const charge = await merchant.promptpay({ amount: 50_025 });
  const address = /http[^"]+\/downloads\/[0-9A-F]{16}/.exec(JSON.stringify(charge))?.[0] ?? '';
  return { id: charge.id, address };
}

/** Tag, length, value, as a banking app reads them (EMVCo MPM §3.2); written apart from the stand-in's own reader. */
function readTags(text: string): Record<string, string> {
  const tags: Record<string, string> = {};
  for (let rest = text; rest.length > 0; ) {
    const end = 4 + Number(rest.slice(2, 4));
    tags[rest.slice(0, 2)] = rest.slice(4, end);
    rest = rest.slice(end);
  }
  return tags;
}

/** CRC-16/CCITT-FALSE by long division over bits, not by the stand-in's shift register. */
function crcByDivision(text: string): string {
  const hex = `${Buffer.from(text).toString('hex')}0000`;
  const start = 0xffffn << BigInt(hex.length * 4 - 16);
  let rest = BigInt(`0x${hex}`) ^ start;
  for (let bit = hex.length * 4 - 1; bit >= 16; bit -= 1) {
    if ((rest >> BigInt(bit)) & 1n) rest ^= 0x11021n << BigInt(bit - 16);
  }
  return rest.toString(16).toUpperCase().padStart(4, '0');
}

describe('the PromptPay QR code', () => {
  test('is an image that decodes to a Thai bill payment with amount, currency, country and checksum', async () => {
    const { id, address } = await imageAddress();
    expect(address.startsWith(`${merchant.omise.url}/charges/${id}/documents/docu_test_`)).toBe(true);
    const response = await fetch(address, { headers: { authorization: basic(SECRET_KEY) } });
    expect(response.headers.get('content-type')).toBe('image/png');
    const { data, width, height } = PNG.sync.read(Buffer.from(await response.arrayBuffer()));
    const payload = readQr(new Uint8ClampedArray(data), width, height)?.data ?? '';

    expect(crcByDivision(payload.slice(0, -4))).toBe(payload.slice(-4));
    const tags = readTags(payload);
    expect(tags).toMatchObject({ '00': '01', '01': '12', '53': '764', '54': '500.25', '58': 'TH', '60': 'Bangkok' });
    expect(tags['59'], 'plain characters, at most 25').toBe('Bckerei <b> & a very long');
    expect(readTags(tags['30'] ?? '')).toMatchObject({
      '00': 'A000000677010112',
      '01': '099999999999999',
      '02': id.split('_').at(-1)?.toUpperCase(),
    });
  });

  test('needs the secret key and the whole address', async () => {
    const { address } = await imageAddress();
    expect((await fetch(address)).status).toBe(401);
    const other = address.replace(/[0-9A-F]{16}$/, '0000000000000000');
    expect((await fetch(other, { headers: { authorization: basic(SECRET_KEY) } })).status).toBe(404);
  });

  test('agrees with the published check value of its checksum', () => {
    expect(crcByDivision('123456789')).toBe('29B1');
  });

  test('is read back only when it adds up', () => {
    const payload = promptpayPayload('Shop', { id: 'chrg_test_abc', amount: 2_000 });
    expect(crcByDivision(payload.slice(0, -4))).toBe(payload.slice(-4));
    expect(scannedReference(payload)).toBe('ABC');
    expect(scannedReference(payload.replace('5405', '5406'))).toBeNull();
    expect(scannedReference('')).toBeNull();
    expect(scannedReference('hello')).toBeNull();
  });
});

test('a PromptPay charge has no page to go to, and a barcode in its source', async () => {
  const charge = await merchant.promptpay();
  expect(charge).toMatchObject({
    authorize_uri: null,
    card: null,
    source: {
      type: 'promptpay',
      flow: 'offline',
      scannable_code: { object: 'barcode', type: 'qr', image: { object: 'document', filename: 'qrcode.png' } },
    },
  });
});
