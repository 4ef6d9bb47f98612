import { afterAll, beforeAll, expect, test } from 'vitest';
import { auditOf, brokenIn, checks, type LivedIn, liveIn } from './lived-in.ts';

let world: LivedIn;
let auditorUrl: string;
beforeAll(async () => {
  world = await liveIn();
  auditorUrl = world.shop.farebox.database.auditorUrl;
});
afterAll(async () => {
  await world.rest();
  await world.close();
});

// REQ E8.4
test('an installation in which everything has been done that can be done has nothing broken', async () => {
  for (const mode of ['live', 'snapshot'] as const) {
    const { checks: done } = await auditOf(auditorUrl, mode);
    expect(
      done.filter(({ offending }) => offending > 0),
      mode,
    ).toEqual([]);
    expect(
      done.filter(({ checked }) => checked === 0).map(({ id }) => id),
      'looked at nothing',
    ).toEqual([]);
  }
});

test('what is overdue is asked of a live database only, and what must be seen at one moment of a snapshot only', async () => {
  const ids = async (mode: 'live' | 'snapshot') => (await auditOf(auditorUrl, mode)).checks.map(({ id }) => id);
  const [live, snapshot] = [await ids('live'), await ids('snapshot')];
  expect(live.filter((id) => !snapshot.includes(id)).toSorted()).toEqual([
    'A02',
    'E04',
    'E05',
    'I03',
    'N06',
    'N07',
    'P12',
    'P13',
    'P17',
    'P25',
    'P26',
    'P52',
    'R11',
    'W06',
    'W19',
    'W20',
  ]);
  expect(snapshot.filter((id) => !live.includes(id))).toEqual(['L11']);
});

test('a snapshot sees one moment: what is committed while it works it does not see', async () => {
  const { root, shop } = world;
  const slow = {
    id: 'X01',
    rule: 'All in its time',
    over: 'schema',
    broken: "select '' as key from (select pg_sleep(0.7)::text as s) waited where s is null",
  };
  const audit = auditOf(auditorUrl, 'snapshot', [slow, ...checks]);
  await new Promise((resolve) => setTimeout(resolve, 300));
  await root`update credits.accounts set available = available + 1`;
  expect(brokenIn(await audit)).toEqual([]);
  expect(brokenIn(await auditOf(shop.farebox.database.auditorUrl, 'snapshot'))).toEqual(['L03', 'L11']);
  await root`update credits.accounts set available = available - 1`;
});

test('sums that do not come out are told of a snapshot', async () => {
  const { root } = world;
  await root`update credits.accounts set held = held + 3 where seq = (select max(seq) from credits.accounts)`;
  const { checks: done } = await auditOf(auditorUrl, 'snapshot');
  expect(done.find(({ id }) => id === 'L11')?.examples).toEqual([
    expect.stringMatching(/^\d+ owned, \d+ moved to them$/),
  ]);
  await root`update credits.accounts set held = held - 3 where seq = (select max(seq) from credits.accounts)`;
  expect(brokenIn(await auditOf(auditorUrl, 'snapshot'))).toEqual([]);
});
