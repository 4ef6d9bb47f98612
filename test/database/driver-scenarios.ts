import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import type Postgres from 'postgres';
import { startProxy } from '../harness/tcp-proxy.ts';

/**
 * Run as a process of its own: `node driver-scenarios.ts <folder of the driver> <url> <scenario>`. Prints what came of
 * it as JSON. What kills the process or hangs is for driver.test.ts to see.
 */
const [folder = '', url = '', scenario = ''] = process.argv.slice(2);
const { default: postgres }: { default: typeof Postgres } = await import(pathToFileURL(`${folder}/src/index.js`).href);

const open = (max: number, options: Record<string, unknown> = {}) =>
  postgres(url, { max, onnotice: () => {}, ...options });
const codeOf = (fault: { code?: string; message: string }) => fault.code ?? fault.message;
const killer = open(1);

async function pidOf(tx: Postgres.ISql): Promise<number> {
  const [row] = await tx`select pg_backend_pid() as pid`;
  return row?.['pid'];
}
const kill = (pid: number) => killer`select pg_terminate_backend(${pid})`;

/** The pool works when each of several queries at once is answered. */
const works = async (sql: Postgres.Sql) =>
  (await Promise.all(Array.from({ length: 8 }, () => sql`select 1`.then(() => 'ok', codeOf)))).every(
    (one) => one === 'ok',
  );

const scenarios: Record<string, () => Promise<unknown>> = {
  /** A backend dies while its transaction goes on asking. */
  killed: async () => {
    const sql = open(2);
    const outcomes = new Set<string>();
    for (let round = 0; round < 30; round += 1) {
      const outcome = sql.begin(async (tx) => {
        await kill(await pidOf(tx));
        for (;;) {
          await tx`select 1`;
          await new Promise((done) => setImmediate(done));
        }
      });
      outcomes.add(await outcome.then(() => 'committed', codeOf));
    }
    return { outcomes: [...outcomes].toSorted(), works: await works(sql) };
  },

  /** The server ends a transaction that is idle for too long; its code wakes up and goes on. */
  idle: async () => {
    const sql = open(2, { connection: { options: '-c idle_in_transaction_session_timeout=50' } });
    const outcomes = await Promise.all(
      Array.from({ length: 6 }, () =>
        sql
          .begin(async (tx) => {
            await tx`select 1`;
            await sleep(150);
            await tx`select 2`;
          })
          .then(() => 'committed', codeOf),
      ),
    );
    return { outcomes: [...new Set(outcomes)], works: await works(sql) };
  },

  /** The first query of a connection, which asks for array types, is cancelled. */
  types: async () => {
    const outcomes = new Set<string>();
    for (let round = 0; round < 10; round += 1) {
      const sql = open(1, { connection: { options: '-c statement_timeout=1' } });
      outcomes.add(await sql`select 1`.then(() => 'ok', codeOf));
      await sql.end({ timeout: 1 });
    }
    return [...outcomes];
  },

  /** A transaction whose connection was lost goes on while the pool has given the connection to another one. */
  crossing: async () => {
    const sql = open(1);
    await killer`drop table if exists public.crossing`;
    await killer`create table public.crossing (who text)`;
    const late = Promise.withResolvers<string>();
    const first = sql.begin(async (tx) => {
      await kill(await pidOf(tx));
      const rest = (async () => {
        await sleep(200);
        await tx`insert into public.crossing values ('first')`;
        return 'written';
      })();
      late.resolve(rest.catch(codeOf));
      return rest;
    });
    const told = await first.catch(codeOf);
    const second = sql.begin(async (tx) => {
      await tx`insert into public.crossing values ('second')`;
      await sleep(400);
      throw new Error('rolled back');
    });
    const outcome = await second.catch(codeOf);
    const rows = await killer`select who from public.crossing order by who`;
    return { first: told, late: await late.promise, second: outcome, rows: rows.map((row) => row['who']) };
  },

  /** Transactions and single statements under a hail of terminations: all are answered, what was acknowledged is there. */
  hail: async () => {
    const sql = open(4);
    await killer`drop table if exists public.hail`;
    await killer`create table public.hail (id int primary key)`;
    const acknowledged: number[] = [];
    let next = 0;
    const end = Date.now() + 2000;
    const writer = async (alone: boolean) => {
      while (Date.now() < end) {
        next += 1;
        const id = next;
        const writing = alone
          ? sql`insert into public.hail values (${id})`
          : sql.begin(async (tx) => {
              await tx`select 1`;
              await tx`insert into public.hail values (${id})`;
            });
        await writing.then(() => acknowledged.push(id)).catch(codeOf);
      }
    };
    const hailing = (async () => {
      while (Date.now() < end) {
        await killer`
          select pg_terminate_backend(pid) from pg_stat_activity
          where datname = current_database() and pid <> pg_backend_pid() order by random() limit 1`;
        await sleep(15);
      }
    })();
    await Promise.all([hailing, ...Array.from({ length: 16 }, (_, i) => writer(i % 2 === 0))]);
    const alive = await works(sql);
    const rows = await killer`select id from public.hail`;
    const written = new Set(rows.map((row) => row['id']));
    const some = acknowledged.length > 50;
    return { alive, some, lost: acknowledged.filter((id) => !written.has(id)) };
  },

  /** The other side is gone without a word: what is sent there is dropped, new connections come through. */
  silence: async () => {
    const direct = new URL(url);
    const proxy = await startProxy({ target: { port: Number(direct.port) } });
    const sql = postgres(proxy.url(url), { max: 3, onnotice: () => {}, ...{ answer_timeout: 0.5 } });
    await works(sql);
    proxy.halfOpen('server');
    const asked = Date.now();
    const transaction = sql.begin((tx) => tx`select 1`).then(() => 'committed', codeOf);
    const outcomes = await Promise.all([transaction, ...[1, 2].map(() => sql`select 1`.then(() => 'ok', codeOf))]);
    const tookMs = Date.now() - asked;
    // A statement that takes longer than the time to answer is not answered; one that begins to is read to its end.
    const slow = await sql`select pg_sleep(1)`.then(() => 'ok', codeOf);
    const streamed = await sql`select i, pg_sleep(0.01), repeat('x', 8192) from generate_series(1, 100) i`;
    return { outcomes, inTime: tookMs < 1500, works: await works(sql), slow, rows: streamed.length };
  },

  /** Closing waits for what is under way, also when that breaks off. */
  closing: async () => {
    const sql = open(1);
    const pid = await pidOf(sql);
    const query = sql`select pg_sleep(60)`.then(() => 'ok', codeOf);
    await sleep(50);
    const closed = sql.end().then(() => 'closed');
    await kill(pid);
    return { query: await query, closed: await closed };
  },
};

process.stdout.write(JSON.stringify(await scenarios[scenario]?.()));
process.exit(0);
