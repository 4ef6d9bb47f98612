import { randomUUID } from 'node:crypto';
import postgres from 'postgres';
import { expect, test } from 'vitest';
import { faultsInBooks } from '../harness/books.ts';
import { databaseForTest } from '../harness/database.ts';

/** The accountant of the tests is itself tried: what it does not find, no test of the ledger would. */
const corruptions: [string, string, RegExp][] = [
  ['a changed amount', 'update credits.transfers set amount = 41 where seq = 2', /available after|hash/],
  ['a changed memo', "update credits.transfers set memo = 'x' where seq = 1", /hash/],
  ['a changed time', "update credits.transfers set created_at = created_at + interval '1 microsecond'", /hash/],
  ['a removed line', 'delete from credits.transfers where seq = 2', /seq is 3, computed 2/],
  ['a removed last line', 'delete from credits.transfers where seq = 5', /number of transfers/],
  ['a changed balance', 'update credits.accounts set available = available + 1', /available is/],
  ['a changed hold', 'update credits.holds set captured = captured + 1', /hold .+: capture/],
  ['a changed head', "update credits.accounts set head_hash = sha256('x')", /head is/],
  [
    'a forged line, hashed as it should be',
    `with forged as (
       update credits.accounts set seq = 6, available = available + 9, head_hash = credits.transfer_hash(head_hash,
         account_id, 6, account_id, 'grant', 'issued', 'available', 8, available + 9, held, debt, 't', account_id, null,
         null, now()) returning *)
     insert into credits.transfers select account_id, 6, account_id, 'grant', 'issued', 'available', 8, available, held,
       debt, 't', account_id, null, null, now(), head_hash from forged`,
    /#6: available after/,
  ],
  [
    'a line without an account',
    'alter table credits.transfers drop constraint transfers_account; alter table credits.holds drop constraint holds_account; delete from credits.accounts',
    /transfers without an account/,
  ],
];

test('sound books have no faults, and each seeded corruption is found', async () => {
  const at = await databaseForTest();
  const root = postgres(at.superuserUrl, { max: 1, onnotice: () => {} });
  const [account, hold] = [randomUUID(), randomUUID()];
  await root`select credits.post(${account}::uuid, 'grant', 100, 'test', ${randomUUID()}::uuid, null, null)`;
  await root`select credits.spend(${account}::uuid, 40, ${randomUUID()}::uuid)`;
  await root`select credits.hold(${account}::uuid, ${hold}::uuid, 20, 'ask', ${hold}::uuid, null, 't', ${hold}::uuid)`;
  await root`select credits.capture(${account}::uuid, ${hold}::uuid, 5, 't', ${hold}::uuid)`;
  await root`select credits.release(${account}::uuid, ${hold}::uuid, 5, 't', ${hold}::uuid)`;
  expect(await faultsInBooks(at.superuserUrl)).toEqual([]);

  await root.unsafe('create schema kept; create table kept.t as table credits.transfers');
  await root.unsafe('create table kept.a as table credits.accounts; create table kept.h as table credits.holds');
  for (const [what, corruption, finding] of corruptions) {
    await root.unsafe(`set session_replication_role = replica; ${corruption}`);
    expect((await faultsInBooks(at.superuserUrl)).join('\n'), what).toMatch(finding);
    await root.unsafe(`truncate credits.transfers, credits.accounts, credits.holds;
      insert into credits.accounts table kept.a; insert into credits.holds table kept.h;
      insert into credits.transfers table kept.t`);
    expect(await faultsInBooks(at.superuserUrl), `after ${what}`).toEqual([]);
  }
  await root.end();
});
