import { readFile } from 'node:fs/promises';
import postgres from 'postgres';
import { openClient } from '../../src/platform/database/clients.ts';
import { migrate } from '../../src/platform/database/migrate.ts';

export const TEMPLATE = 'farebox_template';
export const PASSWORDS = { owner: 'owner-password', app: 'app-password', auditor: 'auditor-password' };

/** Makes the database that every test clones: bootstrapped and migrated as in production. */
export async function makeTemplate(url: (database?: string) => string) {
  const root = postgres(url(), { max: 1 });
  await root.unsafe(`create database ${TEMPLATE}`);
  await root.end();
  const inside = postgres(url(TEMPLATE), { max: 1, onnotice: () => {} });
  for (const [role, password] of Object.entries(PASSWORDS)) {
    await inside`select set_config(${`farebox.${role}_password`}, ${password}, false)`;
  }
  await inside.unsafe(await readFile('migrations/bootstrap.sql', 'utf8'));
  await inside.end();
  const owner = new URL(url(TEMPLATE));
  owner.username = 'farebox_owner';
  owner.password = PASSWORDS.owner;
  const client = openClient({ url: owner.href });
  await migrate(client, { app: 'farebox_app', auditor: 'farebox_auditor' });
  await client.end();
}
