import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Problem } from '../../src/platform/http/problem.ts';
import { fromWire, type IdKind, newId, prefixOf, toWire } from '../../src/platform/ids.ts';

const kinds: IdKind[] = [
  'account',
  'apiKey',
  'challenge',
  'did',
  'event',
  'hold',
  'package',
  'purchase',
  'run',
  'service',
  'transfer',
  'wallet',
  'workflow',
];

function refusal(id: string, kind: IdKind = 'run'): Problem {
  try {
    fromWire(kind, id);
  } catch (fault) {
    if (fault instanceof Problem) return fault;
    throw fault;
  }
  throw new Error(`${id} was accepted`);
}

// The vector of the TypeID specification, with a prefix of ours.
test('the form on the wire is that of the TypeID specification', () => {
  expect(toWire('run', '01890a5d-ac96-774b-bcce-b302099a8057')).toBe('run_01h455vb4pex5vsknk084sn02q');
  expect(toWire('run', '00000000-0000-0000-0000-000000000000')).toBe('run_00000000000000000000000000');
  expect(toWire('run', 'ffffffff-ffff-ffff-ffff-ffffffffffff')).toBe('run_7zzzzzzzzzzzzzzzzzzzzzzzzz');
});

test('every uuid goes out and comes back, for every kind', () => {
  fc.assert(
    fc.property(fc.uuid(), fc.constantFrom(...kinds), (uuid, kind) => {
      const wire = toWire(kind, uuid);
      expect(wire).toMatch(new RegExp(`^${prefixOf(kind)}_[0-9a-z]{26}$`));
      expect(fromWire(kind, wire)).toBe(uuid);
    }),
  );
});

test('each kind has a prefix of its own, and no other is taken for it', () => {
  expect(new Set(kinds.map(prefixOf)).size).toBe(kinds.length);
  const uuid = randomUUID();
  for (const kind of kinds) {
    for (const other of kinds) {
      if (kind !== other) expect(refusal(toWire(kind, uuid), other)).toMatchObject({ status: 400, code: 'invalid_id' });
    }
  }
});

const good = toWire('run', '01890a5d-ac96-774b-bcce-b302099a8057');
test.each([
  ['nothing', ''],
  ['the prefix alone', 'run_'],
  ['no prefix', good.slice(4)],
  ['a bare uuid', '01890a5d-ac96-774b-bcce-b302099a8057'],
  ['one character too few', good.slice(0, -1)],
  ['one character too many', `${good}0`],
  ['upper case', good.toUpperCase()],
  ['an upper-case prefix', good.replace('run', 'RUN')],
  ['letters that base32 leaves out', good.replace('h', 'u')],
  ['letters that look like digits', good.replace('0', 'o')],
  ['more than 128 bits', 'run_8zzzzzzzzzzzzzzzzzzzzzzzzz'],
  ['far more than 128 bits', 'run_zzzzzzzzzzzzzzzzzzzzzzzzzz'],
  ['another separator', good.replace('_', '-')],
  ['two separators', good.replace('_', '__')],
  ['a space before', ` ${good}`],
  ['a line break behind', `${good}\n`],
  ['a null byte', `${good.slice(0, -1)}\0`],
  ['letters beyond ASCII', good.replace('h', 'é')],
  ['full-width digits', good.replace('0', '０')],
  ['a quote', `${good}'`],
  ['a very long text', 'run_'.repeat(20_000)],
  ['a property of objects', 'constructor'],
])('%s is a 400', (_, id) => {
  const problem = refusal(id);
  expect(problem).toMatchObject({ status: 400, code: 'invalid_id' });
  expect(problem.detail).toBe('An id that begins with run_ is expected here.');
});

test('no text of the wrong form gets through', () => {
  const form = /^run_[0-7][0-9a-hjkmnp-tv-z]{25}$/;
  fc.assert(
    fc.property(fc.string(), (text) => {
      expect(form.test(text) || refusal(text).status === 400).toBe(true);
    }),
  );
});

test('new ids are uuids of version 7 and sort by their time of birth', async () => {
  const ids: string[] = [];
  for (let i = 0; i < 20; i += 1) {
    ids.push(newId());
    await new Promise((done) => setTimeout(done, 2));
  }
  for (const id of ids) expect(id).toMatch(/^[\da-f]{8}-[\da-f]{4}-7[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/);
  expect(ids).toEqual(ids.toSorted());
  expect(ids.map((id) => toWire('run', id))).toEqual(ids.map((id) => toWire('run', id)).toSorted());
});
