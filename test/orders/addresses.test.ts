import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { payUri, payUriOf, readPayUri, refundUriOf, statusUrl } from '../../src/payments/orders/addresses.ts';

const segment = fc.stringMatching(/^[A-Za-z0-9._-]{1,20}$/).filter((text) => !/^\.+$/.test(text));
const target = fc.record(
  {
    host: fc.oneof(fc.constant('pay.example.com'), fc.constant('127.0.0.1:3000'), fc.constant('[::1]:80')),
    prefix: fc.array(segment, { maxLength: 3 }).map((parts) => parts.map((part) => `/${part}`).join('')),
    ...{ orderId: segment, sessionId: fc.oneof(fc.constant(''), segment), isPlain: fc.boolean() },
    token: fc.string({ minLength: 1, maxLength: 30, unit: 'grapheme-ascii' }),
  },
  { requiredKeys: ['host', 'prefix', 'orderId', 'sessionId', 'isPlain'] },
);

describe('a pay URI', () => {
  test('A8: is read back as it was built', () => {
    fc.assert(
      fc.property(target, (one) => {
        expect(readPayUri(payUri(one))).toEqual(one);
      }),
    );
  });

  test('of any text is none, or says the same when it is built again', () => {
    const near = fc
      .array(
        fc.constantFrom(
          'farebox',
          '+http',
          '://',
          'pay',
          '/',
          'h',
          ':',
          '80',
          '?c=',
          'T',
          '#',
          '%',
          '@',
          ' ',
          '..',
          '\\',
        ),
      )
      .map((parts) => parts.join(''));
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'binary' }),
          near,
          near.map((text) => `farebox://pay/${text}`),
        ),
        (text) => {
          const read = readPayUri(text);
          if (read) expect(readPayUri(payUri(read))).toEqual(read);
        },
      ),
      { numRuns: 500 },
    );
  });

  test.each([
    [
      'farebox://pay/shop.example.com/ord_1/s?c=T',
      { host: 'shop.example.com', orderId: 'ord_1', sessionId: 's', token: 'T' },
    ],
    [
      'FAREBOX+HTTP://pay/Shop.Example.com:8080/a/b/ord_1/',
      { host: 'shop.example.com:8080', prefix: '/a/b', isPlain: true },
    ],
    ['farebox://pay/h/ord_1/s?c=T#anything', { token: 'T' }],
  ])('%s', (uri, parts) => {
    expect(readPayUri(uri)).toMatchObject(parts);
  });

  test.each([
    'farebox://pay/shop.example.com/ord_1', // the slash before an empty session
    'farebox://refund/shop.example.com/ord_1/',
    'taler://pay/shop.example.com/ord_1/',
    'farebox://pay//ord_1/',
    'farebox://pay/host/ord 1/s',
    'farebox://pay/host/ord_1/s<script>',
    'farebox://pay/ho st/ord_1/',
    'https://shop.example.com/ord_1/',
    '',
  ])('is not %s', (uri) => {
    expect(readPayUri(uri)).toBeUndefined();
  });
});

test.each([
  ['https://pay.example.com', 'farebox://refund/pay.example.com/ord_1/'],
  ['http://127.0.0.1:3000/', 'farebox+http://refund/127.0.0.1:3000/ord_1/'],
  ['https://pay.example.com/instances/shop/', 'farebox://refund/pay.example.com/instances/shop/ord_1/'],
])('A8: a refund URI has the host and each slash once, and no session: %s', (publicUrl, uri) => {
  expect(refundUriOf(publicUrl, 'ord_1')).toBe(uri);
});

describe('the address of the status page', () => {
  const order = { orderId: 'ord_1', sessionId: 'S1', token: 'T', hContract: null };

  // REQ O7
  test('BU3: with the token while nobody has claimed it', () => {
    expect(statusUrl('https://pay.example.com', order)).toBe(
      'https://pay.example.com/orders/ord_1?token=T&session_id=S1',
    );
  });

  // REQ O7
  test('BU4: with the hash of the contract from then on', () => {
    expect(statusUrl('https://pay.example.com', { ...order, hContract: 'H' })).toBe(
      'https://pay.example.com/orders/ord_1?h_contract=H&session_id=S1',
    );
  });

  test('without a session for a start by e-mail, and the same in the pay URI', () => {
    const mailed = { ...order, sessionId: null };
    expect(statusUrl('https://pay.example.com', mailed)).toBe('https://pay.example.com/orders/ord_1?token=T');
    expect(payUriOf('https://pay.example.com', mailed)).toBe('farebox://pay/pay.example.com/ord_1/?c=T');
    expect(payUriOf('http://127.0.0.1:3000/shop', order)).toBe('farebox+http://pay/127.0.0.1:3000/shop/ord_1/S1?c=T');
  });
});
