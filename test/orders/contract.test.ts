import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { crockford, hashContract, type Json } from '../../src/payments/orders/contract.ts';

describe('the hash of contract terms', () => {
  // From the public tests of GNU Taler's wallet, "contract terms reference vector".
  test('is the public vector', () => {
    const terms = {
      ...{ k1: 1, $forgettable: { k1: 'SALT' }, k2: { n1: true, $forgettable: { n1: 'salt' } } },
      k3: { n1: 'string' },
    };
    expect(hashContract(terms)).toBe(
      'VDE8JPX0AEEE3EX1K8E11RYEWSZQKGGZCV6BWTE4ST1C8711P7H850Z7F2Q2HSSYETX87ERC2JNHWB7GTDWTDWMM716VKPSRBXD7SRR',
    );
  });

  const leaf = fc.oneof(fc.string(), fc.maxSafeInteger(), fc.boolean(), fc.constant(null));
  const name = fc
    .string({ minLength: 1, maxLength: 6 })
    .filter((text) => !text.startsWith('$') && text !== '__proto__');
  const terms = fc.dictionary(name, fc.oneof(leaf, fc.array(leaf, { maxLength: 3 }), fc.dictionary(name, leaf)), {
    minKeys: 1,
  });
  const turned = (value: Json): Json => {
    if (Array.isArray(value)) return value.map(turned);
    if (value === null || typeof value !== 'object') return value;
    return Object.fromEntries(
      Object.entries(value)
        .reverse()
        .map(([key, one]) => [key, turned(one)]),
    );
  };

  test('does not depend on the order of members, nor on the spelling of the JSON', () => {
    fc.assert(
      fc.property(terms, (value) => {
        const hash = hashContract(value as { [name: string]: Json });
        expect(hash).toMatch(/^[0-9A-HJKMNP-TV-Z]{103}$/);
        expect(hashContract(turned(value as Json) as { [name: string]: Json })).toBe(hash);
        expect(hashContract(JSON.parse(JSON.stringify(value, null, 7)))).toBe(hash);
      }),
    );
  });

  /** The way to every value, however deep. */
  const waysIn = (value: Json): string[][] =>
    value === null || typeof value !== 'object'
      ? [[]]
      : [[], ...Object.entries(value).flatMap(([key, one]) => waysIn(one).map((way) => [key, ...way]))];
  const at = (value: Json, [key, ...rest]: string[]): Json =>
    key === undefined ? value : at((value as { [name: string]: Json })[key] ?? null, rest);
  const withChange = (value: Json, [key, ...rest]: string[], other: Json): Json => {
    if (key === undefined) return other;
    const copy = structuredClone(value) as { [name: string]: Json };
    copy[key] = withChange(copy[key] ?? null, rest, other);
    return copy;
  };

  test('changes with every value, however deep it lies, and with every name', () => {
    fc.assert(
      fc.property(terms, fc.nat(), leaf, (value, nth, other) => {
        const hash = hashContract(value as { [name: string]: Json });
        const ways = waysIn(value as Json).slice(1);
        const way = ways[nth % ways.length] ?? [];
        fc.pre(JSON.stringify(at(value as Json, way)) !== JSON.stringify(other));
        expect(hashContract(withChange(value as Json, way, other) as { [name: string]: Json })).not.toBe(hash);
        const [[name = '', first] = []] = Object.entries(value);
        const { [name]: _gone, ...rest } = value;
        expect(hashContract(rest as { [name: string]: Json }), 'without it').not.toBe(hash);
        expect(hashContract({ ...rest, [`${name}x`.repeat(7)]: first } as never), 'under another name').not.toBe(hash);
      }),
    );
  });

  test('is the same when a member was forgotten, and its hash kept', () => {
    const salted = {
      amount: 'CREDITS:1',
      address: { street: 'Sukhumvit', town: 'Bangkok' },
      $forgettable: { address: 'x7' },
    };
    const { address: _gone, $forgettable: _salts, ...rest } = salted;
    const other = { ...salted, address: { street: 'Rama IV', town: 'Bangkok' } };
    expect(hashContract(other)).not.toBe(hashContract(salted));
    expect(hashContract({ ...rest, address: salted.address })).not.toBe(hashContract(salted));
    expect(hashContract({ ...salted, $forgettable: { address: 'x8' } })).not.toBe(hashContract(salted));
  });

  test('is refused for fractions: amounts are whole or text', () => {
    for (const price of [1.5, Number.NaN, 2 ** 60]) expect(() => hashContract({ price })).toThrow(RangeError);
  });
});

test('Crockford’s base 32 is written five bits a character, filled up with zeros', () => {
  expect(crockford(Buffer.from(''))).toBe('');
  expect(crockford(Buffer.from([0xff]))).toBe('ZW');
  expect(crockford(Buffer.from([0x00, 0x44, 0x32, 0x14, 0xc7, 0x42, 0x54, 0xb6, 0x35, 0xcf]))).toBe('0123456789ABCDEF');
  expect(crockford(createHash('sha512').update('').digest())).toHaveLength(103);
});
