import { randomUUID } from 'node:crypto';
import postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cloneDatabase, type TestDatabase } from '../harness/database.ts';

let database: TestDatabase;
let root: postgres.Sql;
beforeAll(async () => {
  database = await cloneDatabase();
  root = postgres(database.superuserUrl, { max: 1, onnotice: () => {} });
});
afterAll(async () => {
  await root.end();
  await database.drop();
});

// REQ E8.4
test('whoever records past the look-up of a cause is stopped by the index on causes, and nothing has moved', async () => {
  const [account, run] = [randomUUID(), randomUUID()];
  await root`insert into credits.accounts (account_id) values (${account})`;
  await root`select credits.post(${account}, 'grant', 100, 'test', ${randomUUID()}, null, null)`;
  const record = () => root`
    select result from credits.record(${account}, 'spend', 'available', 'revenue', 10, 'run', ${run}, null, null)`;
  await record();
  await expect(record()).rejects.toMatchObject({ code: '23505', constraint_name: 'transfers_reference' });
  const [row] = await root`select available::int, seq::int from credits.accounts where account_id = ${account}`;
  expect(row).toEqual({ available: 90, seq: 2 });
});
