import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { Json } from '../harness/client.ts';
import { LIVE_CHECKS, type LivedIn, liveIn } from './lived-in.ts';

/** `farebox audit`, as an operator runs it. */

vi.setConfig({ testTimeout: 60_000 }); // each starts several processes

let world: LivedIn;
beforeAll(async () => {
  world = await liveIn();
  await world.rest();
});
afterAll(() => world.close());

async function farebox(args: string[], env: Record<string, string> = {}) {
  const { environment, database } = world.shop.farebox;
  const given = { ...environment, AUDITOR_DATABASE_URL: database.auditorUrl, AUDIT_EXCEPT: 'D03', ...env };
  const child = spawn(process.execPath, ['src/cli.ts', ...args], { env: given, stdio: ['ignore', 'pipe', 'pipe'] });
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  return { out, err, code: Number(code) };
}

/** Done by somebody with all rights, for one test. */
async function with_<T>(corruption: string, repair: string, work: () => Promise<T>): Promise<T> {
  await world.root.unsafe(corruption);
  try {
    return await work();
  } finally {
    await world.root.unsafe(repair);
  }
}
const raised = <T>(work: () => Promise<T>) =>
  with_(
    'update credits.accounts set available = available + 1',
    'update credits.accounts set available = available - 1',
    work,
  );

// REQ E8.4
test('where everything holds it says so, group by group, and ends with 0', async () => {
  const { out, err, code } = await farebox(['audit']);
  expect([code, err]).toEqual([0, '']);
  expect(out).toMatch(/^\n\d+ transfers +\d+ ms\n {2}✓ L01 {2}A transfer takes a positive amount/);
  expect(out).toMatch(new RegExp(`\n\nAll ${LIVE_CHECKS} invariants hold\\. [\\d.]+ m?s\n$`));
  expect(out.split('\n').every((line) => line.length <= 110)).toBe(true);
  expect(out).not.toContain('\x1b');
});

const ledgerAccounts = async (): Promise<number> =>
  (await world.root`select count(*)::int as n from credits.accounts`)[0]?.['n'];

test('what is broken is named with its keys, counted, and ends with 1', async () => {
  await raised(async () => {
    const { out, code } = await farebox(['audit']);
    expect(code).toBe(1);
    const n = await ledgerAccounts();
    const line = `✗ L03 {2}The balances of an account are those after its last transfer +${n} broken`;
    expect(out).toMatch(new RegExp(`\n {2}${line}\n( {9}[0-9a-f-]{36}\n){${Math.min(n, 5)}}`));
    expect(out).toContain(`\n1 of ${LIVE_CHECKS} invariants is broken: L03. `);
  });
});

test('machines get JSON, and the same exit code', async () => {
  const sound = await farebox(['audit', '--json', '--snapshot']);
  expect(sound.code).toBe(0);
  expect(JSON.parse(sound.out)).toMatchObject({ object: 'audit', mode: 'snapshot', sound: true });
  await raised(async () => {
    const { out, code } = await farebox(['audit', '--json']);
    expect(code).toBe(1);
    const { checks, ...rest } = JSON.parse(out);
    expect(rest).toMatchObject({ mode: 'live', sound: false });
    const n = await ledgerAccounts();
    expect(checks.filter((one: Json) => one.offending > 0)).toEqual([
      {
        ...{ id: 'L03', rule: expect.any(String), over: 'ledger accounts', checked: n, offending: n, money: true },
        ...{ examples: Array(n).fill(expect.any(String)), ms: expect.any(Number) },
      },
    ]);
  });
});

test('some invariants alone, in any spelling, even those that are excepted', async () => {
  const { out, code } = await farebox(['audit', '--json', '--only', 'l03, P01,D03']);
  expect(JSON.parse(out).checks.map(({ id }: Json) => id)).toEqual(['L03', 'P01', 'D03']);
  expect(code, 'the server of the tests does without fsync').toBe(1);
});

test('what cannot be found out is neither: 2', async () => {
  const url = (port: string) => world.shop.farebox.database.auditorUrl.replace(/:\d+\//, `:${port}/`);
  const outcomes = {
    'no such invariant': await farebox(['audit', '--only', 'L03,X99']),
    'no such option': await farebox(['audit', '--quickly']),
    'nobody at home': await farebox(['audit'], { AUDITOR_DATABASE_URL: url('9') }),
    'no configuration': await farebox(['audit'], { DATABASE_URL: '' }),
  };
  const codes = Object.entries(outcomes).map(([name, { code, out }]) => [name, code, out]);
  expect(codes).toEqual(Object.keys(outcomes).map((name) => [name, 2, '']));
  expect(outcomes['no such invariant'].err).toBe(
    'There is no invariant X99.\nRun it again with --debug for the details.\n',
  );
  const behind = await with_(
    "update migrations.credits set name = 'x' || name where name = '0001_hold_moves.sql'",
    "update migrations.credits set name = '0001_hold_moves.sql' where name = 'x0001_hold_moves.sql'",
    () => farebox(['audit']),
  );
  expect([behind.code, behind.err]).toEqual([2, expect.stringContaining('farebox migrate')]);
});

// REQ E6.4
test('it works as the auditor, who can write nothing, and as the application, and changes nothing', async () => {
  const before = await world.root`select sum(n_tup_ins + n_tup_upd + n_tup_del)::int as n from pg_stat_user_tables`;
  expect((await farebox(['audit', '--json'], { AUDITOR_DATABASE_URL: '' })).code).toBe(0);
  expect(await world.root`select sum(n_tup_ins + n_tup_upd + n_tup_del)::int as n from pg_stat_user_tables`).toEqual(
    before,
  );
});
