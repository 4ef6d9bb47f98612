import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createVault, hashToken, newToken } from '../../src/platform/secrets.ts';

const ring = (...ids: string[]) => ids.map((id) => ({ id, key: Buffer.alloc(32, id) }));

test('what was sealed opens again, whatever it is', () => {
  const vault = createVault(ring('k1'));
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string(), (plain, purpose) => {
      expect(vault.open(vault.seal(plain, purpose), purpose)).toBe(plain);
    }),
  );
  const long = 'é☕'.repeat(100_000);
  expect(vault.open(vault.seal(long, 'x'), 'x')).toBe(long);
});

// REQ E6.3
test('the same secret is sealed differently each time, and its text is not in it', () => {
  const vault = createVault(ring('k1'));
  const sealed = Array.from({ length: 50 }, () => vault.seal('the very secret text', 'executor'));
  expect(new Set(sealed.map((one) => one.toString('hex'))).size).toBe(50);
  for (const one of sealed) expect(one.includes(Buffer.from('secret'))).toBe(false);
});

test('it opens for its purpose only', () => {
  const vault = createVault(ring('k1'));
  const sealed = vault.seal('secret', 'service:1');
  for (const other of ['service:2', '', 'service:1 ', 'service'])
    expect(() => vault.open(sealed, other), other).toThrow();
});

test('a change of any single bit is noticed', () => {
  const vault = createVault(ring('k1'));
  const sealed = vault.seal('secret', 'x');
  for (let i = 0; i < sealed.length; i += 1) {
    for (const bit of [1, 128]) {
      const changed = Buffer.from(sealed);
      changed[i] = (changed[i] ?? 0) ^ bit;
      expect(() => vault.open(changed, 'x'), `byte ${i}`).toThrow();
    }
  }
});

test('what was cut off or is something else does not open', () => {
  const vault = createVault(ring('k1'));
  const sealed = vault.seal('secret', 'x');
  for (let length = 0; length < sealed.length; length += 1) {
    expect(() => vault.open(sealed.subarray(0, length), 'x'), `${length} bytes`).toThrow();
  }
  expect(() => vault.open(Buffer.concat([sealed, Buffer.from([0])]), 'x')).toThrow();
  expect(() => vault.open(randomBytes(80), 'x')).toThrow('ENCRYPTION_KEYS');
});

test('another key under the same id does not open it', () => {
  const sealed = createVault(ring('k1')).seal('secret', 'x');
  expect(() => createVault([{ id: 'k1', key: randomBytes(32) }]).open(sealed, 'x')).toThrow();
});

test('rotation: the new key seals, the old one still opens, and what is old is known to be', () => {
  const old = createVault(ring('k1'));
  const sealed = old.seal('secret', 'x');
  const both = createVault(ring('k2', 'k1'));
  expect(both.open(sealed, 'x')).toBe('secret');
  expect(both.isStale(sealed)).toBe(true);
  const renewed = both.seal('secret', 'x');
  expect(both.isStale(renewed)).toBe(false);
  expect(createVault(ring('k2')).open(renewed, 'x')).toBe('secret');
  expect(() => createVault(ring('k2')).open(sealed, 'x')).toThrow('sealed with a key that is not in ENCRYPTION_KEYS');
  expect(() => old.open(renewed, 'x')).toThrow('sealed with a key that is not in ENCRYPTION_KEYS');
});

test('ids that begin alike are told apart', () => {
  const short = createVault(ring('k'));
  const longer = createVault(ring('k-1'));
  expect(() => longer.open(short.seal('secret', 'x'), 'x')).toThrow();
  const full = createVault(ring('sixteen-letters-'));
  expect(full.open(full.seal('secret', 'x'), 'x')).toBe('secret');
});

test('a derived key is stable while new keys come in front, and differs by purpose', () => {
  const before = createVault(ring('k1')).derive('cursors');
  expect(before).toHaveLength(32);
  expect(createVault(ring('k3', 'k2', 'k1')).derive('cursors')).toEqual(before);
  expect(createVault(ring('k1')).derive('cursor')).not.toEqual(before);
  expect(createVault(ring('k2')).derive('cursors')).not.toEqual(before);
  expect(before.equals(Buffer.alloc(32, 'k1'))).toBe(false);
});

test('a vault without a key is none', () => {
  expect(() => createVault([])).toThrow('a vault needs a key');
});

test('tokens are 256 bits, and what is kept of them does not tell them', () => {
  const tokens = new Set(Array.from({ length: 1000 }, newToken));
  expect(tokens.size).toBe(1000);
  for (const token of tokens) expect(token).toMatch(/^[\w-]{43}$/);
  expect(hashToken('a')).toHaveLength(32);
  expect(hashToken('a')).toEqual(hashToken('a'));
  expect(hashToken('a')).not.toEqual(hashToken('b'));
});
