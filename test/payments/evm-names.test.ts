import fc from 'fast-check';
import { type Address, getAddress } from 'viem';
import { expect, test } from 'vitest';
import { caip2, caip10, caip19, readCaip2, readCaip10, readCaip19 } from '../../src/payments/rails/evm/caip.ts';
import { displayAmount, paymentUri, readAmount, readTerms } from '../../src/payments/rails/evm/terms.ts';

/** How chains, accounts, assets and amounts are written. */

const USDC: Address = '0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913';
const PAYEE: Address = '0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045';

const address = fc.uint8Array({ minLength: 20, maxLength: 20 }).map((bytes): Address => `0x${bytes.toHex()}`);
const chainId = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });

test('the names of the CAIP documents are written as they stand there', () => {
  expect(caip2(1)).toBe('eip155:1');
  expect(caip10(8453, PAYEE)).toBe(`eip155:8453:${PAYEE.toLowerCase()}`);
  expect(caip19(8453, { token: USDC })).toBe('eip155:8453/erc20:0x833589fcd6edb6e08f4c7c32d4f71b54bda02913');
  expect(caip19(1, { native: 60 })).toBe('eip155:1/slip44:60');
});

test('a name that was written is read back, whatever the case of the address', () => {
  fc.assert(
    fc.property(chainId, address, fc.nat(0x7fffffff), (id, one, native) => {
      const checksummed = getAddress(one);
      expect(readCaip2(caip2(id))).toBe(id);
      expect(readCaip10(caip10(id, checksummed))).toEqual({ chainId: id, address: one });
      expect(readCaip19(caip19(id, { token: checksummed }))).toEqual({ chainId: id, token: one });
      expect(readCaip19(caip19(id, { native }))).toEqual({ chainId: id, token: null });
    }),
  );
});

test.each([
  'eip155:01',
  'eip155:1 ',
  'eip155:1\n',
  'EIP155:1',
  'eip155:0',
  'bip122:1',
  `eip155:1:${PAYEE}`, // one spelling only: the checksum is for people
  'eip155:1:0x12',
  `eip155:1/erc20:${USDC}`,
  `eip155:1/erc721:${USDC.toLowerCase()}`,
  'eip155:1/slip44:',
  '',
])('the spelling %j is no name', (text) => {
  expect([readCaip2(text), readCaip10(text), readCaip19(text)]).toEqual([undefined, undefined, undefined]);
});

test.each(['0', '-1', '01', '1.0', '1e3', ' 1', '0x1', '', String(2n ** 256n), '9'.repeat(100_000)])(
  '%.20s is no amount',
  (text) => {
    expect(readAmount(text)).toBeUndefined();
  },
);

test('a uint256 is an amount, to its last unit', () => {
  expect(readAmount(String(2n ** 256n - 1n))).toBe(2n ** 256n - 1n);
});

const terms = {
  chain: 'eip155:8453',
  asset: caip19(8453, { token: USDC }),
  recipient: caip10(8453, PAYEE),
  amount: '1500000',
};

test('wallets are given an EIP-681 address, with checksums', () => {
  expect(paymentUri(terms)).toBe(`ethereum:${USDC}@8453/transfer?address=${PAYEE}&uint256=1500000`);
  expect(paymentUri({ ...terms, asset: caip19(8453, { native: 60 }), amount: String(10n ** 18n) })).toBe(
    `ethereum:${PAYEE}@8453?value=1000000000000000000`,
  );
  expect(paymentUri({ ...terms, amount: '1' })).toMatch(/uint256=1$/);
});

test.each([
  ['a chain of its own for the asset', { asset: caip19(1, { token: USDC }) }],
  ['a chain of its own for the recipient', { recipient: caip10(1, PAYEE) }],
  ['another kind of chain', { chain: 'solana:1' }],
  ['an amount of nothing', { amount: '0' }],
  ['a recipient in capitals', { recipient: caip10(8453, PAYEE).toUpperCase() }],
])('terms with %s are refused', (_name, change) => {
  expect(() => readTerms({ ...terms, ...change })).toThrow('not coherent');
});

test.each([
  ['1', 0, '1'],
  ['1', 6, '0.000001'],
  ['1500000', 6, '1.5'],
  ['100000000', 6, '100'],
  [String(2n ** 256n - 1n), 18, '115792089237316195423570985008687907853269984665640564039457.584007913129639935'],
])('%s base units with %i decimals are shown as they are', (amount, decimals, shown) => {
  expect(displayAmount(amount, decimals)).toBe(shown);
});
