import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Sql } from './clients.ts';

/**
 * Brings a database to the schema of this version. Each context has a journal of its own (`migrations.<context>`); a
 * migration that was released is never edited, which the checksums enforce. Functions and grants are not history but
 * text: they are applied anew whenever their text changes.
 */

/** In this order: nothing depends on a later one. */
const CONTEXTS = ['platform', 'identity', 'credits', 'payments', 'workflows'] as const;
const ROOT = fileURLToPath(new URL('../../../migrations/', import.meta.url));
/** One migrator at a time, whichever replica is first. Any constant does; this one is "fare" in ASCII. */
const LOCK = 0x66617265;
const NO_TRANSACTION = /^-- no transaction\b/;

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

export class SchemaFault extends Error {}

/** Applies what is missing, as the owner role; resolves to the names applied. Waits for another migrator. */
export async function migrate(sql: Sql, roles: Roles, onStep: (name: string) => void = () => {}): Promise<string[]> {
  const scripts = await readScripts(roles);
  await sql`select pg_advisory_lock(${LOCK})`;
  try {
    await prepareJournals(sql, roles);
    const missing = differences(scripts, await readJournals(sql));
    for (const script of missing) {
      onStep(`${script.context}/${script.name}`);
      await apply(sql, script);
    }
    return missing.map((script) => `${script.context}/${script.name}`);
  } finally {
    await sql`select pg_advisory_unlock(${LOCK})`;
  }
}

/** Throws `SchemaFault` unless everything of this version is applied. A newer database is fine: it is being rolled out. */
export async function checkSchema(sql: Sql, roles: Roles): Promise<void> {
  const missing = differences(await readScripts(roles), await readJournals(sql));
  const names = missing.map((script) => `${script.context}/${script.name}`);
  if (names.length > 0) {
    throw new SchemaFault(
      `The database is behind this version of Farebox. Run \`farebox migrate\`. Missing: ${names.join(', ')}`,
    );
  }
}

/** Role names of a configuration: the application's is the one it connects as. */
export const rolesOf = (config: { DATABASE_URL: string; AUDITOR_ROLE: string }): Roles => ({
  app: decodeURIComponent(new URL(config.DATABASE_URL).username),
  auditor: config.AUDITOR_ROLE,
});

async function readScripts(roles: Roles): Promise<Script[]> {
  const scripts: Script[] = [];
  for (const context of CONTEXTS) {
    const files = (await readdir(join(ROOT, context), { recursive: true }))
      .filter((file) => file.endsWith('.sql'))
      .sort();
    const read = async (name: string, kind: Script['kind']) => {
      const source = await readFile(join(ROOT, context, name), 'utf8');
      const text = source.replaceAll('{{app}}', quoted(roles.app)).replaceAll('{{auditor}}', quoted(roles.auditor));
      scripts.push({ context, name, kind, text, checksum: createHash('sha256').update(text).digest('hex') });
    };
    for (const name of files.filter((file) => /^\d{4}_/.test(file))) await read(name, 'history');
    for (const name of files.filter((file) => file.startsWith('functions/'))) await read(name, 'text');
    for (const name of files.filter((file) => file === 'grants.sql')) await read(name, 'text');
  }
  return scripts;
}

const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`;

async function prepareJournals(sql: Sql, roles: Roles): Promise<void> {
  for (const context of CONTEXTS) {
    await sql.unsafe(`create table if not exists migrations.${context} (
      name text primary key, checksum text not null, applied_at timestamptz not null default now())`);
  }
  for (const role of [roles.app, roles.auditor]) {
    await sql.unsafe(`grant usage on schema migrations to ${quoted(role)};
      grant select on all tables in schema migrations to ${quoted(role)}`);
  }
}

async function readJournals(sql: Sql): Promise<Map<string, string>> {
  const applied = new Map<string, string>();
  for (const context of CONTEXTS) {
    const [table] = await sql`select to_regclass(${`migrations.${context}`}) as name`;
    if (!table?.['name']) continue;
    const rows = await sql.unsafe<{ name: string; checksum: string }[]>(
      `select name, checksum from migrations.${context}`,
    );
    for (const row of rows) applied.set(`${context}/${row.name}`, row.checksum);
  }
  return applied;
}

function differences(scripts: Script[], applied: Map<string, string>): Script[] {
  return scripts.filter((script) => {
    const checksum = applied.get(`${script.context}/${script.name}`);
    if (checksum === undefined) return true;
    if (script.kind === 'text') return checksum !== script.checksum;
    if (checksum !== script.checksum) {
      throw new SchemaFault(
        `${script.context}/${script.name} was applied with another text. A released migration is never edited.`,
      );
    }
    return false;
  });
}

/** In one transaction with its journal row, or, for what cannot be in one (concurrent indexes), the row afterwards. */
async function apply(sql: Sql, script: Script): Promise<void> {
  const journal = `insert into migrations.${script.context} (name, checksum) values ('${script.name.replaceAll("'", "''")}', '${script.checksum}')
    on conflict (name) do update set checksum = excluded.checksum, applied_at = now()`;
  try {
    if (NO_TRANSACTION.test(script.text)) {
      await sql.unsafe(script.text);
      await sql.unsafe(journal);
    } else {
      await sql.unsafe(`begin;\n${script.text};\n${journal};\ncommit`);
    }
  } catch (fault) {
    await sql.unsafe('rollback').catch(() => {});
    throw new SchemaFault(
      `${script.context}/${script.name} failed: ${fault instanceof Error ? fault.message : fault}`,
      { cause: fault },
    );
  }
}
