import { randomUUID } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/postgres-js';
import postgres from 'postgres';
import { expect, onTestFinished, test } from 'vitest';
import { audit, auditSealer, brokenSeals } from '../../src/platform/audit-log.ts';
import { type Db, openDatabase } from '../../src/platform/database/clients.ts';
import { createLog } from '../../src/platform/log.ts';
import { eventually } from '../harness/client.ts';
import { databaseForTest } from '../harness/database.ts';

/** The trail of who did what, and the chain of seals over it. */

async function trail() {
  const at = await databaseForTest();
  const database = await openDatabase({ url: at.appUrl, pool: 4 });
  const root = postgres(at.superuserUrl, { max: 2, onnotice: () => {} });
  onTestFinished(async () => {
    await Promise.all([database.close(), root.end()]);
  });
  const { db } = database;
  const write = (...actors: string[]) =>
    db.transaction(async (tx) => {
      for (const actor of actors) await audit(tx, { actor, action: 'test.happened' });
    });
  const seals = () => root<{ rows: number }[]>`select rows from platform.audit_seals order by id`;
  const sealedRows = async () => (await seals()).map(({ rows }) => rows);
  /** Seals until so many rows are sealed: a transaction elsewhere on the server may hold the horizon for a moment. */
  const seal = (rows: number) =>
    eventually(
      async () => {
        await auditSealer(db, createLog('silent')).runOnce(new AbortController().signal);
        return (await sealedRows()).reduce((a, b) => a + b, 0);
      },
      (sealed) => sealed >= rows,
    );
  return { at, db, root, write, seal, sealedRows };
}

const once = (db: Db) => auditSealer(db, createLog('silent')).runOnce(new AbortController().signal);

// REQ E6.5
test('an entry holds who, what, on what and why, and shares the fate of what it tells of', async () => {
  const { db, root } = await trail();
  const entry = { actor: 'worker:test', action: 'credits.granted', subjectId: randomUUID(), requestId: 'r1' };
  await audit(db, { ...entry, detail: { amount: 5, reason: 'é\n"' } });
  const undone = db.transaction(async (tx) => {
    await audit(tx, { actor: 'nobody', action: 'test.undone' });
    throw new Error('changed my mind');
  });
  await expect(undone).rejects.toThrow('changed my mind');
  const rows = await root`select actor, action, subject_id, detail, request_id, now() - at < '1 min' as fresh
    from platform.audit_log`;
  expect(rows).toEqual([
    {
      ...{ actor: entry.actor, action: entry.action, subject_id: entry.subjectId, request_id: 'r1', fresh: true },
      detail: '{"amount":5,"reason":"é\\n\\""}',
    },
  ]);
});

test('what was written since is sealed, once; with nothing new there is no new seal', async () => {
  const { db, write, seal, sealedRows } = await trail();
  expect(await once(db)).toEqual({ more: false });
  expect(await sealedRows()).toEqual([]);
  await write('a', 'b', 'c');
  await seal(3);
  await once(db);
  await write('d');
  await seal(4);
  expect(await sealedRows()).toEqual([3, 1]);
  expect(await brokenSeals(db)).toEqual([]);
});

test('entries of a transaction that still runs are left to the next seal, and are not lost', async () => {
  const { db, root, write, seal, sealedRows } = await trail();
  await write('before');
  const end = Promise.withResolvers<void>();
  const began = Promise.withResolvers<void>();
  const slow = db.transaction(async (tx) => {
    await audit(tx, { actor: 'slow', action: 'test.happened' });
    began.resolve();
    await end.promise;
    await audit(tx, { actor: 'slow again', action: 'test.happened' });
  });
  await began.promise;
  await write('quick');
  await seal(1);
  await once(db);
  expect(await sealedRows()).toEqual([1]);
  end.resolve();
  await slow;
  await write('after');
  await seal(5);
  const rows = await root`select actor from platform.audit_log order by xid, seq`;
  expect(rows.map(({ actor }) => actor)).toEqual(['before', 'slow', 'slow again', 'quick', 'after']);
  expect(await brokenSeals(db)).toEqual([]);
});

test('many sealers at once, while entries are written, make one chain without gap or overlap', async () => {
  const { at, db, write, seal, sealedRows } = await trail();
  const second = await openDatabase({ url: at.appUrl, pool: 4 });
  onTestFinished(() => second.close());
  let writing = true;
  const writer = async () => {
    for (let n = 0; n < 30; n += 1) await write(`entry ${n}`, `and ${n}`);
  };
  const sealer = async (on: Db) => {
    while (writing) expect(await once(on)).toEqual({ more: false });
  };
  await Promise.all([
    Promise.all([writer(), writer()]).finally(() => {
      writing = false;
    }),
    ...[db, db, second.db, second.db].map(sealer),
  ]);
  await seal(120);
  expect((await sealedRows()).reduce((a, b) => a + b)).toBe(120);
  expect(await brokenSeals(db)).toEqual([]);
});

test('a long backlog is sealed piece by piece, even when it came in one transaction or two at once', async () => {
  const { db, root, seal, sealedRows } = await trail();
  const insert = (on: postgres.ISql, rows: number) => on`
    insert into platform.audit_log (actor, action, detail)
    select 'worker:test', 'test.happened', '{}' from generate_series(1, ${rows}::int)`;
  // The older of two transactions writes the last rows, too.
  await root.begin(async (older) => {
    await insert(older, 1);
    await insert(root, 6_999);
    await insert(older, 4_000);
  });
  await eventually(
    () => once(db),
    ({ more }) => more,
  );
  expect(await once(db)).toEqual({ more: true });
  expect(await once(db)).toEqual({ more: false });
  expect(await sealedRows()).toEqual([5000, 5000, 1000]);
  await seal(11_000);
  expect(await brokenSeals(db)).toEqual([]);
});

/** A chain of four seals over two rows each, and what somebody with all rights may do to it. */
const tampering: [string, string, string[]][] = [
  ['nothing', 'select', []],
  ['a changed actor', "update platform.audit_log set actor = 'x' where seq = 3", ['2']],
  ['a changed action', "update platform.audit_log set action = 'test.other' where seq = 3", ['2']],
  ['a changed detail', `update platform.audit_log set detail = '{"amount": 1}' where seq = 4`, ['2']],
  ['a changed subject', "update platform.audit_log set subject_id = 's' where seq = 1", ['1']],
  ['nothing that became an empty text', "update platform.audit_log set request_id = '' where seq = 1", ['1']],
  [
    'a letter that moved to the field before',
    "update platform.audit_log set actor = actor || 't', action = 'est.happened' where seq = 2",
    ['1'],
  ],
  [
    'a time that moved by a microsecond',
    "update platform.audit_log set at = at + interval '1 us' where seq = 8",
    ['4'],
  ],
  ['a deleted row', 'delete from platform.audit_log where seq = 5', ['3']],
  ['all rows of a seal deleted', 'delete from platform.audit_log where seq in (5, 6)', ['3']],
  ['all rows deleted', 'delete from platform.audit_log', ['1', '2', '3', '4']],
  [
    'a row put in between',
    `insert into platform.audit_log overriding system value
      select 1000, xid, at, actor, action, subject_id, detail, request_id from platform.audit_log where seq = 3`,
    ['3'],
  ],
  [
    'a row put before all others',
    `insert into platform.audit_log overriding system value
      select -1, '0', at, actor, action, subject_id, detail, request_id from platform.audit_log where seq = 1`,
    ['1'],
  ],
  [
    'two rows of a seal that changed places',
    `alter table platform.audit_log alter seq drop identity;
      update platform.audit_log set seq = -seq where seq in (3, 4);
      update platform.audit_log set seq = 7 + seq where seq < 0`,
    ['2'],
  ],
  [
    'two rows whose contents changed places across seals',
    `update platform.audit_log a set actor = b.actor from platform.audit_log b
      where (a.seq, b.seq) in ((3, 5), (5, 3))`,
    ['2', '3'],
  ],
  ['a row moved to another transaction', "update platform.audit_log set xid = '3' where seq = 3", ['1', '2']],
  ['the first seal deleted', 'delete from platform.audit_seals where id = 1', ['2']],
  ['a seal in the middle deleted', 'delete from platform.audit_seals where id = 3', ['4']],
  ['a changed hash', "update platform.audit_seals set hash = sha256('x') where id = 2", ['2', '3']],
  ['the hash of the last seal changed', "update platform.audit_seals set hash = sha256('x') where id = 4", ['4']],
  ['a changed link', "update platform.audit_seals set previous = sha256('x') where id = 2", ['2']],
  ['a changed count', 'update platform.audit_seals set rows = 3 where id = 2', ['2']],
  ['a boundary that moved', 'update platform.audit_seals set until_seq = until_seq - 1 where id = 2', ['2', '3']],
  [
    'two seals that changed places',
    `update platform.audit_seals set id = -id where id in (2, 3);
      update platform.audit_seals set id = 5 + id where id < 0`,
    ['2', '3', '4'],
  ],
  [
    'a seal put in between',
    `update platform.audit_seals set id = id + 1 where id = 4;
      insert into platform.audit_seals select 4, until_xid, until_seq, 0, hash, sha256(hash) from platform.audit_seals where id = 3`,
    ['4', '5'],
  ],
  [
    'a row changed and its seal made anew',
    `update platform.audit_log set actor = 'x' where seq = 3;
      update platform.audit_seals s set hash = sha256(s.previous || convert_to((
        select string_agg(platform.audit_text(r), E'\\n' order by r.xid, r.seq) from platform.audit_log r where seq in (3, 4)), 'UTF8'))
      where id = 2`,
    ['3'],
  ],
];

// REQ E6.5
test('whoever changes, removes, adds or moves a row or a seal, even with all rights, is found out', async () => {
  const { at, write, seal, db } = await trail();
  for (let n = 1; n <= 4; n += 1) {
    await db.transaction(async (tx) => {
      for (const half of ['first', 'second'])
        await audit(tx, { actor: `${half} ${n}`, action: 'test.happened', detail: { n }, requestId: 'r1' });
    });
    await seal(2 * n);
  }
  await write('not sealed yet');
  const superuser = postgres(at.superuserUrl, { max: 1, onnotice: () => {} });
  onTestFinished(() => superuser.end());
  const all = drizzle({ client: superuser });
  const found: Record<string, string[]> = {};
  for (const [name, statements] of tampering) {
    await all
      .transaction(async (tx) => {
        await tx.execute(sql`set local session_replication_role = replica`); // no trigger stands in the way
        for (const statement of statements.split(';')) await tx.execute(sql.raw(statement));
        found[name] = (await brokenSeals(tx)).toSorted();
        tx.rollback();
      })
      .catch((fault) => {
        if (!(name in found)) throw fault;
      });
  }
  expect(found).toEqual(Object.fromEntries(tampering.map(([name, , broken]) => [name, broken])));
  expect(await brokenSeals(db)).toEqual([]);
});

test('the auditor can check the seals, in any time zone and with any settings', async () => {
  const { at, db, write, seal } = await trail();
  await write('a', 'b');
  await seal(2);
  const auditor = postgres(at.auditorUrl, {
    max: 1,
    connection: { TimeZone: 'Asia/Bangkok', DateStyle: 'SQL, DMY', bytea_output: 'escape', extra_float_digits: -5 },
  });
  onTestFinished(() => auditor.end());
  expect(await brokenSeals(drizzle({ client: auditor }))).toEqual([]);
  expect(await brokenSeals(db)).toEqual([]);
});

test('the head of the seals is told at the start and then once a day: who cuts the newest off leaves a trace in the log', async () => {
  const { db, root, write, seal } = await trail();
  const lines: Record<string, unknown>[] = [];
  const sealer = auditSealer(db, createLog('info', { write: (line: string) => void lines.push(JSON.parse(line)) }));
  await sealer.runOnce(new AbortController().signal); // nothing is sealed yet, nothing to tell
  await write('one');
  await seal(1);
  const again = auditSealer(db, createLog('info', { write: (line: string) => void lines.push(JSON.parse(line)) }));
  for (let n = 0; n < 3; n += 1) await again.runOnce(new AbortController().signal);
  const [head] =
    await root`select id::text as seal, encode(hash, 'hex') as hash from platform.audit_seals order by id desc limit 1`;
  expect(lines.map(({ seal, hash }) => ({ seal, hash }))).toEqual([{ ...head }]);
});
