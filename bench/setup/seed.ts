import postgres from 'postgres';
import { openDatabase } from '../../src/platform/database/clients.ts';
import { createVault } from '../../src/platform/secrets.ts';
import { standardPolicy } from '../../src/workflows/asks/policy.ts';
import { createService } from '../../src/workflows/services.ts';
import type { BenchDatabase } from './database.ts';
import { accountId, workflowId } from './numbers.ts';

/** Customers, each with a workflow and with credits that no benchmark can use up; books that are in order. */

export const COST = 1n;
const CREDITS = 1_000_000_000;
const CHUNK = 1_000; // accounts per statement
const AT_ONCE = 2;
const TOLD_TOGETHER = 350; // grants in one line of the audit log; it takes 16 KiB

export interface SeedOptions {
  accounts: number;
  /** The first so many accounts have a past of so many transfers. */
  past: { accounts: number; transfers: number };
  encryptionKey: { id: string; key: Buffer };
  /** Where the executor listens. */
  endpoint: string;
}

export async function seed(database: BenchDatabase, options: SeedOptions): Promise<void> {
  const serviceId = await makeService(database, options);
  const client = postgres(database.superuserUrl, { max: AT_ONCE, onnotice: () => {} });
  await inChunks(options.accounts, async (from, to) => {
    await client.unsafe(`
      insert into identity.accounts (id, email)
      select ${accountId.sql('n')}, 'customer-' || n || '@bench.example' from generate_series(${from}, ${to}) n`);
    await client.unsafe(`
      insert into workflows.workflows (id, account_id, service_id, name, credit_cost, price_version)
      select ${workflowId.sql('n')}, ${accountId.sql('n')}, '${serviceId}', 'Workflow ' || n, ${COST}, 1
      from generate_series(${from}, ${to}) n`);
    await client.unsafe(`
      with given as materialized (
        select ${accountId.sql('n')} as account_id, gen_random_uuid() as id from generate_series(${from}, ${to}) n
      ), told as (
        insert into platform.audit_log (actor, action, subject_id, detail)
        select 'bench', 'credits.grant', account_id::text, jsonb_build_object('id', id)::text from given
      )
      select count(credits.post(account_id, 'grant', ${CREDITS}, 'grant', id, null, null)) from given`);
  });
  await client.end();
  await addPast(database, options.past);
}

/** An operator's offer, made by the product's own code: its secret is sealed as the server expects it. */
async function makeService(database: BenchDatabase, { encryptionKey, endpoint }: SeedOptions): Promise<string> {
  const app = await openDatabase({ url: database.appUrl, pool: 1, insecure: true });
  const { service } = await app.db.transaction((tx) =>
    createService(tx, createVault([encryptionKey]), {
      name: 'Summarize',
      description: 'Sums a document up.',
      creditCost: COST,
      inputSchema: { type: 'object', properties: { document: { type: 'string' } }, required: ['document'] },
      endpoint,
      timeoutMs: 300_000,
      maxAttempts: 50,
      deadlineS: 2_592_000,
      reportIntervalS: 86_400,
      maxConcurrency: 1,
      refundOnFailure: 'full',
      nostrKind: null,
      payment: standardPolicy,
      active: true,
    }),
  );
  await app.close();
  return service.id;
}

/**
 * Gives the first accounts so many transfers each. Written beside the ledger's functions, which would take half an hour
 * for ten million, but in their form: numbers, balances and hash chains go on where they were. Within a chunk in order
 * of time, so that an account's transfers lie apart as they do in real life.
 */
export async function addPast(database: BenchDatabase, past: SeedOptions['past']): Promise<void> {
  if (past.accounts === 0 || past.transfers <= 1) return;
  const client = postgres(database.superuserUrl, {
    max: AT_ONCE,
    onnotice: () => {},
    connection: { synchronous_commit: false, work_mem: '256MB' },
  });
  await inChunks(past.accounts, async (from, to) => {
    await client.unsafe(`
      with recursive line as (
        select a.account_id, a.seq, null::uuid as id, null::uuid as ref, a.available, a.held, a.debt, a.head_hash as hash
        from credits.accounts a where a.account_id between ${accountId.sql(String(from))} and ${accountId.sql(String(to))}
        union all
        select n.account_id, n.seq, n.id, n.ref, n.available, n.held, n.debt,
          credits.transfer_hash(n.previous, n.account_id, n.seq, n.id, 'grant', 'issued', 'available', 1,
            n.available, n.held, n.debt, 'bench', n.ref, null, null, now())
        from (
          select l.account_id, l.seq + 1 as seq, gen_random_uuid() as id, gen_random_uuid() as ref,
            l.available + 1 as available, l.held, l.debt, l.hash as previous
          from line l where l.seq < ${past.transfers} offset 0
        ) n
      ), kept as (
        update credits.accounts a set available = l.available, seq = l.seq, head_hash = l.hash
        from line l where l.account_id = a.account_id and l.seq = ${past.transfers} and l.id is not null
      ), told as (
        insert into platform.audit_log (actor, action, subject_id, detail)
        select 'bench', 'credits.grant', account_id::text, jsonb_build_object('ids', jsonb_agg(ref))::text
        from line where id is not null group by account_id, seq / ${TOLD_TOGETHER}
      )
      insert into credits.transfers
      select account_id, seq, id, 'grant', 'issued', 'available', 1, available, held, debt, 'bench', ref, null, null,
        now(), hash
      from line where id is not null order by seq, account_id`);
  });
  await client.end();
}

/** Fresh statistics, and nothing left to clean up. */
export async function vacuum(database: BenchDatabase): Promise<void> {
  const client = postgres(database.superuserUrl, { max: 1, onnotice: () => {} });
  await client.unsafe('vacuum analyze');
  await client.unsafe('checkpoint');
  await client.end();
}

async function inChunks(count: number, work: (from: number, to: number) => Promise<void>): Promise<void> {
  let next = 1;
  const worker = async () => {
    for (let from = next; from <= count; from = next) {
      next = from + CHUNK;
      await work(from, Math.min(from + CHUNK - 1, count));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}
