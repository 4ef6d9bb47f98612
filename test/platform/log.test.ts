import { randomUUID } from 'node:crypto';
import { Writable } from 'node:stream';
import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { accounts } from '../../src/identity/tables.ts';
import { type Database, openDatabase } from '../../src/platform/database/clients.ts';
import { createLog, describeFault } from '../../src/platform/log.ts';
import type { Json } from '../harness/client.ts';
import { cloneDatabase, type TestDatabase } from '../harness/database.ts';

/** Everything that a customer gave us and that no log may show. */
const CANARY = 'c4n4ry-9f1d';

let at: TestDatabase;
let database: Database;
beforeAll(async () => {
  at = await cloneDatabase();
  database = await openDatabase({ url: at.appUrl, pool: 2 });
});
afterAll(async () => {
  await database.close();
  await at.drop();
});

/** What the log writes of a fault, as text and as the object that it is. */
function logged(fault: unknown): { text: string; err: Json } {
  let text = '';
  const sink = new Writable({
    write(chunk, _, done) {
      text += String(chunk);
      done();
    },
  });
  createLog('info', sink).error({ err: fault }, 'something failed');
  return { text, err: JSON.parse(text).err };
}

const faultOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => expect.unreachable('it did not fail'),
    (fault) => fault,
  );

const email = `${CANARY}@example.com`;
const newAccount = (id = randomUUID()) => database.db.insert(accounts).values({ id, email });

/** A fault of every kind that a database can quote values in. */
const faults: [string, () => Promise<unknown>, string, string][] = [
  ['a duplicate, by drizzle', () => newAccount().then(() => newAccount()), '23505', 'accounts_email'],
  [
    'a duplicate, on the hot path',
    () => database.sql`insert into identity.accounts (id, email) values (${randomUUID()}::uuid, ${email})`,
    '23505',
    'accounts_email',
  ],
  [
    'a violated check',
    () => database.db.execute(sql`insert into identity.accounts (id, role) values (${randomUUID()}::uuid, ${CANARY})`),
    '23514',
    'accounts_role',
  ],
  [
    'a value that cannot be read',
    () => database.db.select().from(accounts).where(eq(accounts.id, CANARY)),
    '22P02',
    'string_to_uuid',
  ],
  ['a statement that is none', () => database.sql.unsafe(`select '${CANARY}' from where`), '42601', 'scanner_yyerror'],
  ['a cast inside', () => database.db.execute(sql`select ${CANARY}::text::int`), '22P02', 'pg_strtoint32_safe'],
];

// REQ E6.1
test.each(faults)('%s is logged without values', async (_, work, code, place) => {
  const { text, err } = logged(await faultOf(work()));
  expect(text).not.toContain(CANARY);
  const inner = err.cause ?? err;
  expect(inner).toMatchObject({ type: 'PostgresError', code, message: place });
  expect(inner.stack).toMatch(/^ +at /);
  expect(err).not.toHaveProperty('query');
  expect(err).not.toHaveProperty('params');
});

test('a transaction’s fault is logged without values, too', async () => {
  const fault = await faultOf(
    database.db.transaction(async (tx) => {
      await tx.execute(sql`select ${CANARY}::text`);
      await tx.execute(sql`select ${CANARY}::text::numeric`);
    }),
  );
  expect(logged(fault).text).not.toContain(CANARY);
});

// The frames used to be taken from the whole stack, whose first lines are the message.
test('a value with lines that look like frames of a stack stays out', async () => {
  const sly = `x\n    at ${CANARY} (secret.ts:1:1)\n    at more`;
  const { text, err } = logged(await faultOf(database.db.execute(sql`select ${sly}::text::uuid`)));
  expect(text).not.toContain(CANARY);
  expect(err.stack).toMatch(/^ +at /);
});

test('a fault of ours keeps its message, its code and its causes, up to five', () => {
  let fault: Error = new Error('the innermost');
  for (let i = 1; i <= 8; i += 1) fault = Object.assign(new Error(`level ${i}`, { cause: fault }), { code: `E${i}` });
  const { err } = logged(fault);
  expect(err).toMatchObject({ type: 'Error', code: 'E8', message: 'level 8', cause: { message: 'level 7' } });
  let depth = 0;
  for (let one = err; one; one = one.cause) depth += 1;
  expect(depth).toBe(6);
});

test('what is thrown and is no error is named by its type alone', () => {
  for (const thrown of [CANARY, { password: CANARY }, [CANARY], 7, null]) {
    const { text, err } = logged(thrown);
    expect(text).not.toContain(CANARY);
    expect(Object.keys(err ?? { type: 'null' })).toEqual(['type']);
  }
  expect(describeFault(undefined)).toEqual({ type: 'undefined' });
});

// REQ E6.5
test('a request or reply that somebody logs leaves no trace, and no line break splits a line', () => {
  const lines: string[] = [];
  const log = createLog('info', { write: (line: string) => void lines.push(line) });
  log.info({ req: { headers: { authorization: CANARY } }, res: { body: CANARY } }, 'seen');
  log.warn({ actor: 'a\r\nb\u001b[31m' }, 'line one\nline two');
  const text = lines.join('');
  expect(text).not.toContain(CANARY);
  expect(text.trimEnd().split('\n')).toHaveLength(2);
  const [first] = text.split('\n');
  expect(JSON.parse(first ?? '')).toMatchObject({
    level: 'info',
    service: 'farebox',
    time: expect.stringMatching(/Z$/),
  });
});
