import { eq } from 'drizzle-orm';
import type { Database } from './database/clients.ts';
import { installation } from './database/tables.ts';

/** A start that must not go on; told to the operator without a stack. */
export class BootFault extends Error {
  override readonly name = 'BootFault';
}

const OLDEST_SERVER = 160_000;

/**
 * Checks what must hold before the first request: a server that is new enough, a role that cannot rewrite the books,
 * and the same mode (live or test) as ever.
 */
export async function checkInstallation(
  { db, sql: client }: Database,
  expected: { livemode: boolean; allowSingleRole: boolean },
): Promise<void> {
  const [server] = await client<{ version: number; mayWrite: boolean; mayCreate: boolean }[]>`
    select current_setting('server_version_num')::int as version,
      has_table_privilege('credits.transfers', 'INSERT, UPDATE, DELETE, TRUNCATE') as "mayWrite",
      has_schema_privilege('credits', 'CREATE') or has_database_privilege(current_database(), 'CREATE') as "mayCreate"`;
  if (!server || server.version < OLDEST_SERVER) throw new BootFault('Farebox needs PostgreSQL 16 or newer.');
  if ((server.mayWrite || server.mayCreate) && !expected.allowSingleRole) {
    throw new BootFault(
      'DATABASE_URL connects as a role that could rewrite the ledger. Use the application role that migrations/bootstrap.sql makes\n' +
        '(or set ALLOW_SINGLE_DATABASE_ROLE=true and give up that protection).',
    );
  }
  const mode = expected.livemode ? 'live' : 'test';
  await db.insert(installation).values({ name: 'mode', value: mode }).onConflictDoNothing();
  const [kept] = await db.select().from(installation).where(eq(installation.name, 'mode'));
  if (kept?.value !== mode) {
    throw new BootFault(
      `This database belongs to a ${kept?.value} installation; the Omise keys are of ${mode} mode. They never mix.`,
    );
  }
}

/** True when the database answers within the time given; on a connection of its own. */
export async function isDatabaseUp({ health }: Database, withinMs: number): Promise<boolean> {
  const answer = health`select 1`.then(
    () => true,
    () => false,
  );
  return Promise.race([answer, new Promise<boolean>((done) => setTimeout(done, withinMs, false).unref())]);
}
