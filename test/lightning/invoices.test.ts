import { createHash } from 'node:crypto';
import { secp256k1 } from '@noble/curves/secp256k1.js';
import { bech32 } from '@scure/base';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { mintInvoice } from '../../sandbox/lightning/mint.ts';
import { type Invoice, readInvoice } from '../../src/payments/rails/lightning/invoice.ts';
import { invalid, PAYEE, PAYMENT_HASH, valid } from './bolt11-vectors.ts';

const read = (text: string): Invoice => {
  const invoice = readInvoice(text);
  if ('unreadable' in invoice) throw new Error(invoice.unreadable);
  return invoice;
};

describe('the examples of BOLT 11', () => {
  test.each(valid)('valid: $about', ({ invoice: text, ...wanted }) => {
    const invoice = read(text);
    expect(invoice).toMatchObject({
      ...{ amountMsat: wanted.amountMsat, network: wanted.network ?? 'bc' },
      paymentHash: wanted.paymentHash ?? PAYMENT_HASH,
      descriptionHash: wanted.descriptionHash ?? null,
    });
    expect(invoice.payee === PAYEE).toBe(!wanted.isOtherPayee);
    expect(invoice.expiresAt.getTime() - invoice.createdAt.getTime()).toBe((wanted.expiryS ?? 3_600) * 1000);
    if (wanted.paymentHash === undefined) expect(invoice.createdAt).toEqual(new Date(1_496_314_658_000));
  });

  test.each(invalid)('invalid: %s', (_, reason, text) => {
    expect(readInvoice(text)).toEqual({ unreadable: reason });
  });
});

test('whatever another library signs is read as it was meant', () => {
  const hash = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => bytes.toHex());
  const order = fc.record({
    amountMsat: fc.option(fc.bigInt(1n, 2_100_000_000_000_000_000n)),
    descriptionHash: hash,
    preimage: hash,
    createdAt: fc.integer({ min: 0, max: 2 ** 35 - 1 }).map((seconds) => new Date(seconds * 1000)),
    expiryS: fc.integer({ min: 1, max: 10_000_000 }),
    network: fc.constantFrom('bc' as const, 'tb' as const, 'tbs' as const, 'bcrt' as const),
  });
  fc.assert(
    fc.property(order, ({ preimage, expiryS, ...asked }) => {
      const { invoice } = mintInvoice({ preimage, expiryS, ...asked });
      const wanted = {
        ...{ ...asked, payee: PAYEE },
        paymentHash: createHash('sha256').update(Buffer.from(preimage, 'hex')).digest('hex'),
        expiresAt: new Date(asked.createdAt.getTime() + expiryS * 1000),
      };
      expect(readInvoice(invoice)).toEqual(wanted);
      expect(readInvoice(invoice.toUpperCase())).toEqual(wanted);
    }),
    { numRuns: 60 },
  );
});

test('no text makes it throw, and no letter can be changed unseen', () => {
  const { invoice } = mintInvoice({ amountMsat: 21_000n, description: 'coffee' });
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.string().map((text) => `lnbcrt${text}`),
      ),
      (text) => {
        expect(readInvoice(text)).toHaveProperty('unreadable');
      },
    ),
  );
  const letters = 'qpzry9x8gf2tvdw0s3jn54khce6mua7l';
  fc.assert(
    fc.property(fc.nat(invoice.length - 8), fc.constantFrom(...letters), (at, letter) => {
      const changed = `${invoice.slice(0, at + 7)}${letter}${invoice.slice(at + 8)}`;
      if (changed !== invoice) expect(readInvoice(changed)).toHaveProperty('unreadable');
    }),
  );
  expect(readInvoice(`lnbc${'q'.repeat(5_000)}`)).toEqual({ unreadable: 'too_long' });
});

/** An invoice of our own making, for what no honest library writes. */
function forge(prefix: string, fields: [type: number, words: number[]][], change = (s: Uint8Array) => s): string {
  const time = [0, 0, 0, 0, 0, 0, 1];
  const words = [...time, ...fields.flatMap(([type, data]) => [type, data.length >> 5, data.length & 31, ...data])];
  const bits = words.map((word) => word.toString(2).padStart(5, '0')).join('');
  const padded = bits.padEnd(Math.ceil(bits.length / 8) * 8, '0');
  const bytes = Uint8Array.from(padded.match(/.{8}/g) ?? [], (byte) => Number.parseInt(byte, 2));
  const digest = createHash('sha256').update(prefix).update(bytes).digest();
  const signed = secp256k1.sign(digest, KEY, { prehash: false, format: 'recovered' });
  const signature = change(Uint8Array.of(...signed.slice(1), signed[0] ?? 0));
  return bech32.encode(prefix, [...words, ...bech32.toWords(signature)], false);
}
const KEY = secp256k1.utils.randomSecretKey();
const wordsOf = (hex: string) => bech32.toWords(Uint8Array.fromHex(hex));
const hash = (byte: string) => wordsOf(byte.repeat(32));
const payee = () => wordsOf(secp256k1.getPublicKey(KEY).toHex());
const plain: [number, number[]][] = [
  [1, hash('aa')],
  [16, hash('bb')],
];
const highS = (signature: Uint8Array) => {
  const { r, s } = secp256k1.Signature.fromBytes(signature.slice(0, 64), 'compact');
  const other = new secp256k1.Signature(r, secp256k1.Point.Fn.ORDER - s).toBytes('compact');
  return Uint8Array.of(...other, (signature[64] ?? 0) ^ 1);
};

test.each<[about: string, invoice: string, reason: string]>([
  ['two payment hashes', forge('lnbc1u', [...plain, [1, hash('cc')]]), 'field_twice'],
  ['no payment hash', forge('lnbc1u', plain.slice(1)), 'no_payment_hash'],
  ['no payment secret', forge('lnbc1u', plain.slice(0, 1)), 'no_payment_secret'],
  [
    'a payee who has not signed',
    forge('lnbc1u', [
      ...plain,
      [19, wordsOf(`02${'79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798'}`)],
    ]),
    'bad_signature',
  ],
  [
    'a second form of the signature where the payee is named',
    forge('lnbc1u', [...plain, [19, payee()]], highS),
    'bad_signature',
  ],
  [
    'bits that are no padding',
    forge('lnbc1u', [[1, [...hash('aa').slice(0, -1), 31]], ...plain.slice(1)]),
    'bad_padding',
  ],
  ['an endless expiry', forge('lnbc1u', [...plain, [6, Array(9).fill(31)]]), 'bad_expiry'],
  ['more than all bitcoin', forge('lnbc21000001', plain), 'bad_amount'],
  ['a leading zero', forge('lnbc01u', plain), 'bad_amount'],
  ['nothing', forge('lnbc0u', plain), 'bad_amount'],
  ['another chain', forge('lnltc1u', plain), 'unknown_prefix'],
  ['a field that is longer than the invoice', forge('lnbc1u', plain).replace(/^(lnbc1u1.{7})pp5/, '$1pp5'), ''],
])('%s', (_, invoice, reason) => {
  if (reason === '') expect(readInvoice(invoice)).toMatchObject({ amountMsat: 100_000n });
  else expect(readInvoice(invoice)).toEqual({ unreadable: reason });
});

test('where no payee is named, either form of the signature leads to the same one', () => {
  const payees = [forge('lnbc1u', plain), forge('lnbc1u', plain, highS)].map((text) => read(text).payee);
  expect(new Set(payees)).toEqual(new Set([secp256k1.getPublicKey(KEY).toHex()]));
  expect(read(forge('lnbc1u', [...plain, [19, payee()]])).payee).toBe(payees[0]);
});
