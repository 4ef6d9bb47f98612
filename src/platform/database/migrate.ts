import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Sql } from './clients.ts';

/**
 * Brings a database to the schema of this version. Each context has a journal of its own (`migrations.<context>`); a
 * migration that was released is never edited, which the checksums enforce. Functions and grants are not history but
 * text: they are applied anew whenever their text changes, and after each migration of their context, whose new tables
 * need rights. Grants are the whole truth: what else a role had is taken away first. An older version leaves alone what
 * a newer one applied, and finds it good: both run while one rolls out.
 */

/** In this order: nothing depends on a later one. */
const CONTEXTS = ['platform', 'identity', 'credits', 'payments', 'workflows', 'refunds'] as const;
const ROOT = fileURLToPath(new URL('../../../migrations/', import.meta.url));
/** One migrator at a time, whichever replica is first. Any constant does; this one is "fare" in ASCII. */
const LOCK = 0x66617265;
const LOCK_POLL_MS = 100;
/** Names of the files that are history. */
const HISTORY = /^\d{4}_/;
const GRANTS = 'grants.sql';
/** First line of a migration that cannot be in a transaction. It may be broken off anywhere and is then run anew as a
 * whole, so it begins with `drop index concurrently if exists …`. */
const NO_TRANSACTION = /^-- no transaction\b/;
const VERSION: string = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')).version;

export interface Roles {
  app: string;
  auditor: string;
}

interface Script {
  context: string;
  /** Path below the context's folder. */
  name: string;
  text: string;
  checksum: string;
  /** History runs once; text (functions, grants) runs when it changes. */
  kind: 'history' | 'text';
}

/** What another folder of migrations, or another version, would do: for tests. */
export interface Release {
  root: string;
  version: string;
}
const present: Release = { root: ROOT, version: VERSION };

export class SchemaFault extends Error {
  override readonly name = 'SchemaFault';
}

/** Applies what is missing, as the owner role; resolves to the names applied. Waits for another migrator. */
export async function migrate(
  sql: Sql,
  roles: Roles,
  onStep: (name: string) => void = () => {},
  release = present,
): Promise<string[]> {
  const scripts = await readScripts(roles, release.root);
  const me = await checkBootstrap(sql, roles);
  // One role for all (ALLOW_SINGLE_DATABASE_ROLE) must not take its own rights away.
  const others = [roles.app, roles.auditor].filter((role) => role !== me);
  return alone(sql, async () => {
    await prepareJournals(sql, roles);
    const missing = differences(scripts, await readJournals(sql), release.version);
    const changed = new Set(missing.filter((one) => one.kind === 'history').map((one) => one.context));
    const due = scripts.filter((one) => missing.includes(one) || (one.kind === 'text' && changed.has(one.context)));
    for (const script of due) {
      onStep(nameOf(script));
      await apply(sql, script, release.version, others);
    }
    return due.map(nameOf);
  });
}

/** Throws `SchemaFault` unless everything of this version is applied. A newer database is fine: it is being rolled out. */
export async function checkSchema(sql: Sql, roles: Roles, release = present): Promise<void> {
  const scripts = await readScripts(roles, release.root);
  const missing = differences(scripts, await readJournals(sql), release.version);
  if (missing.length > 0) {
    throw new SchemaFault(
      `The database is behind this version of Farebox. Run \`farebox migrate\`. Missing: ${missing.map(nameOf).join(', ')}`,
    );
  }
}

/**
 * Holds the lock during the work. Asked for again and again, and not waited for in the database: a waiting statement
 * keeps a snapshot, for which the concurrent index of the migrator that has the lock would wait in turn.
 */
async function alone<T>(sql: Sql, work: () => Promise<T>): Promise<T> {
  for (;;) {
    const [lock] = await sql<{ taken: boolean }[]>`select pg_try_advisory_lock(${LOCK}) as taken`;
    if (lock?.taken) break;
    await sleep(LOCK_POLL_MS);
  }
  try {
    return await work();
  } finally {
    // A connection that broke has lost the lock already.
    await sql`select pg_advisory_unlock(${LOCK})`.catch(() => {});
  }
}

/** Role names of a configuration: the application's is the one it connects as. */
export const rolesOf = (config: { DATABASE_URL: string; AUDITOR_ROLE: string }): Roles => ({
  app: decodeURIComponent(new URL(config.DATABASE_URL).username),
  auditor: config.AUDITOR_ROLE,
});

async function readScripts(roles: Roles, root: string): Promise<Script[]> {
  const scripts: Script[] = [];
  for (const context of CONTEXTS) {
    const files = (await readdir(join(root, context), { recursive: true }))
      .filter((file) => file.endsWith('.sql'))
      .sort();
    const read = async (name: string, kind: Script['kind']) => {
      const source = await readFile(join(root, context, name), 'utf8');
      const text = source.replace(/\{\{(app|auditor)\}\}/g, (_, role: keyof Roles) => quoted(roles[role]));
      scripts.push({ context, name, kind, text, checksum: createHash('sha256').update(text).digest('hex') });
    };
    for (const name of files.filter((file) => HISTORY.test(file))) await read(name, 'history');
    for (const name of files.filter((file) => file.startsWith('functions/'))) await read(name, 'text');
    for (const name of files.filter((file) => file === GRANTS)) await read(name, 'text');
  }
  return scripts;
}

const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`;

const nameOf = (script: Script) => `${script.context}/${script.name}`;

/** What `bootstrap` makes, or the operator; resolves to the role of this connection. Without it all else fails with a riddle. */
async function checkBootstrap(sql: Sql, roles: Roles): Promise<string> {
  const names = [roles.app, roles.auditor];
  const [found] = await sql<{ me: string; owner: string | null; missing: string[] }[]>`
    select current_user as me,
      (select pg_get_userbyid(nspowner) from pg_namespace where nspname = 'migrations') as owner,
      array(select name from unnest(${names}::text[]) as name where name not in (select rolname from pg_roles)) as missing`;
  if (!found?.owner) {
    throw new SchemaFault('The database has no schemas of Farebox yet. Run `farebox bootstrap` first.');
  }
  if (found.missing.length > 0) {
    throw new SchemaFault(`There is no role ${found.missing.join(', ')}. \`farebox bootstrap\` makes the roles.`);
  }
  if (found.me !== found.owner) {
    throw new SchemaFault(`Only ${found.owner}, who owns the schemas, migrates; this connection is ${found.me}'s.`);
  }
  return found.me;
}

async function prepareJournals(sql: Sql, roles: Roles): Promise<void> {
  for (const context of CONTEXTS) {
    await sql.unsafe(`create table if not exists migrations.${context} (
      name text primary key, checksum text not null, version text not null, applied_at timestamptz not null default now())`);
  }
  for (const role of [roles.app, roles.auditor]) {
    await sql.unsafe(`grant usage on schema migrations to ${quoted(role)};
      grant select on all tables in schema migrations to ${quoted(role)}`);
  }
}

interface Entry {
  checksum: string;
  /** Of the Farebox that applied it. */
  version: string;
}

/** What was applied; nothing where this role may not even look, because nobody has migrated for it. */
async function readJournals(sql: Sql): Promise<Map<string, Entry>> {
  const applied = new Map<string, Entry>();
  for (const context of CONTEXTS) {
    const [journal] = await sql`
      select from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = 'migrations' and c.relname = ${context}
        and has_schema_privilege(n.oid, 'USAGE') and has_table_privilege(c.oid, 'SELECT')`;
    if (!journal) continue;
    const rows = await sql.unsafe<(Entry & { name: string })[]>(
      `select name, checksum, version from migrations.${context}`,
    );
    for (const { name, ...entry } of rows) applied.set(`${context}/${name}`, entry);
  }
  return applied;
}

function differences(scripts: Script[], applied: Map<string, Entry>, version: string): Script[] {
  return scripts.filter((script) => {
    const entry = applied.get(nameOf(script));
    if (entry === undefined) return true;
    if (entry.checksum === script.checksum) return false;
    if (script.kind === 'text') return !isNewer(entry.version, version);
    throw new SchemaFault(`${nameOf(script)} was applied with another text. A released migration is never edited.`);
  });
}

/** Versions are three numbers; anything else behind them counts for nothing. */
function isNewer(one: string, other: string): boolean {
  const [a = [], b = []] = [one, other].map((version) => version.split(/[.+-]/).slice(0, 3).map(Number));
  const place = a.findIndex((number, i) => number !== b[i]);
  return place >= 0 && (a[place] ?? 0) > (b[place] ?? 0);
}

/**
 * In one transaction with its journal row, or, for what cannot be in one (concurrent indexes), the row afterwards. A
 * migration strikes the text of its context out of the journal, so that it is due even if this migrator dies now.
 */
async function apply(sql: Sql, script: Script, version: string, others: string[]): Promise<void> {
  const journal = `migrations.${script.context}`;
  const row = [script.name, script.checksum, version].map((value) => `'${value.replaceAll("'", "''")}'`).join(', ');
  const done = `insert into ${journal} (name, checksum, version) values (${row})
    on conflict (name) do update set checksum = excluded.checksum, version = excluded.version, applied_at = now()
    ${script.kind === 'history' ? `;\ndelete from ${journal} where name !~ '${HISTORY.source}'` : ''}`;
  try {
    if (NO_TRANSACTION.test(script.text)) {
      // One by one: several in one message would be one transaction.
      for (const statement of script.text.split(/;[ \t]*$/m)) if (statement.trim() !== '') await sql.unsafe(statement);
      await sql.unsafe(`begin;\n${done};\ncommit`);
    } else {
      const first = script.name === GRANTS ? others.map((role) => revoked(script.context, role)).join('') : '';
      await sql.unsafe(`begin;\n${first}${script.text};\n${done};\ncommit`);
    }
  } catch (fault) {
    await sql.unsafe('rollback').catch(() => {});
    throw new SchemaFault(`${nameOf(script)} failed: ${fault instanceof Error ? fault.message : fault}`, {
      cause: fault,
    });
  }
}

const revoked = (schema: string, role: string) =>
  ['tables', 'sequences', 'functions']
    .map((kind) => `revoke all on all ${kind} in schema ${schema} from ${quoted(role)};\n`)
    .join('');
