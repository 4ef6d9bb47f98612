import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import postgres from 'postgres';
import { expect, inject, onTestFinished, test } from 'vitest';
import { openClient } from '../../src/platform/database/clients.ts';
import { checkSchema, migrate } from '../../src/platform/database/migrate.ts';

const run = promisify(execFile);
const serverUrl = (database: string, user?: string, password = 'secret') => {
  const url = new URL(inject('postgres').superuserUrl);
  url.pathname = `/${database}`;
  if (user) Object.assign(url, { username: encodeURIComponent(user), password });
  return url.href;
};

/** A new database that belongs to a role with CREATEROLE and nothing more, as a managed service gives one. */
async function managedDatabase() {
  const name = `managed_${randomBytes(5).toString('hex')}`;
  const root = postgres(inject('postgres').superuserUrl, { max: 1, onnotice: () => {} });
  await root.unsafe(`create role ${name}_admin login createrole password 'secret'`);
  await root.unsafe(`create database ${name} owner ${name}_admin`);
  const roles = { owner: `${name} Owner`, app: `${name}-App$&`, auditor: `${name}_auditor` };
  onTestFinished(async () => {
    await root.unsafe(`drop database ${name} with (force)`);
    for (const role of [...Object.values(roles), `${name}_admin`]) await root`drop role if exists ${root(role)}`;
    await root.end();
  });
  return { name, roles, admin: serverUrl(name, `${name}_admin`), root };
}

type Names = { owner: string; app: string; auditor: string };

/** As an operator does it without psql. */
const byCommand = (url: string, roles: Names) =>
  run(
    process.execPath,
    ['src/cli.ts', 'bootstrap', '--url', url, '--owner', roles.owner, '--app', roles.app, '--auditor', roles.auditor],
    { env: { ...process.env, OWNER_PASSWORD: 'secret', APP_PASSWORD: 'secret', AUDITOR_PASSWORD: 'secret' } },
  );

/** As with psql: the settings first, then the file. */
async function bootstrap(url: string, roles: Names, passwords: Partial<Names> = {}): Promise<void> {
  const client = postgres(url, { max: 1, onnotice: () => {} });
  try {
    for (const [name, role] of Object.entries(roles)) {
      await client`select set_config(${`farebox.${name}_role`}, ${role}, false)`;
      const password = passwords[name as keyof Names] ?? 'secret';
      await client`select set_config(${`farebox.${name}_password`}, ${password}, false)`;
    }
    await client.unsafe(await readFile('migrations/bootstrap.sql', 'utf8'));
  } finally {
    await client.end();
  }
}

// REQ E6.4
test('an owner without superuser makes roles of any name, migrates, and the application is bound', async () => {
  const { name, roles, admin } = await managedDatabase();
  const { stdout } = await byCommand(admin, roles);
  expect(stdout).toContain(`${roles.owner} (migrates), ${roles.app} (runs), ${roles.auditor} (reads)`);
  expect(stdout).not.toContain('secret');

  const owner = openClient({ url: serverUrl(name, roles.owner) }, {});
  const applied = await migrate(owner, roles);
  expect(applied).toContain('credits/grants.sql');
  await expect(owner`create schema more`).rejects.toMatchObject({ code: '42501' });
  await owner.end();

  const app = openClient({ url: serverUrl(name, roles.app) });
  await checkSchema(app, roles);
  const id = '0193f8a0-0000-7000-8000-000000000001';
  const [posted] = await app`select result from credits.post(${id}::uuid, 'grant', 5, 't', ${id}::uuid, null, null)`;
  expect(posted?.['result']).toBe('posted');
  for (const statement of [
    'update credits.accounts set available = 1000',
    'delete from credits.transfers',
    'delete from platform.audit_log',
    'create table public.mine (id int)',
    'create temporary table mine (id int)',
    'create schema mine',
    `set role "${roles.owner}"`,
  ]) {
    await expect(app.unsafe(statement), statement).rejects.toMatchObject({ code: '42501' });
  }
  await app.end();

  const auditor = openClient({ url: serverUrl(name, roles.auditor) });
  expect(await auditor`select amount from credits.transfers`).toEqual([{ amount: 5n }]);
  await expect(auditor`select password_hash from identity.accounts`).rejects.toMatchObject({ code: '42501' });
  await auditor.end();
});

test('bootstrap may be repeated: it changes nothing but the passwords that it is given', async () => {
  const { name, roles, admin } = await managedDatabase();
  await bootstrap(admin, roles);
  const owner = openClient({ url: serverUrl(name, roles.owner) }, {});
  await migrate(owner, roles);
  const rights = () => owner`
    select array(select (nspname, nspacl)::text from pg_namespace order by 1) as schemas,
      array(select (defaclrole::regrole, defaclacl)::text from pg_default_acl order by 1) as defaults,
      (select datacl::text from pg_database where datname = current_database()) as database`;
  const before = await rights();
  await bootstrap(admin, roles, { owner: '', app: 'changed', auditor: '' });
  expect(await rights()).toEqual(before);
  expect(await migrate(owner, roles)).toEqual([]);
  await owner.end();

  await expect(openClient({ url: serverUrl(name, roles.app) })`select 1`).rejects.toMatchObject({ code: '28P01' });
  for (const [role, password] of [
    [roles.app, 'changed'],
    [roles.auditor, 'secret'],
  ] as const) {
    const client = openClient({ url: serverUrl(name, role, password) });
    expect(await client`select current_user as me`).toEqual([{ me: role }]);
    await client.end();
  }
});

test('a database that was upgraded from before PostgreSQL 15 lets nobody create in public any more', async () => {
  const { name, roles, admin } = await managedDatabase();
  const inside = postgres(serverUrl(name), { max: 1, onnotice: () => {} });
  await inside`grant create on schema public to public`;
  await bootstrap(admin, roles);
  const [row] = await inside`select has_schema_privilege(${roles.app}, 'public', 'CREATE') as may`;
  expect(row?.['may']).toBe(false);
  await inside.end();
});

test('who may not make roles is told so, and nothing is half done', async () => {
  const { name, roles, root } = await managedDatabase();
  await root.unsafe(`alter role ${name}_admin nocreaterole`);
  const failed = await byCommand(serverUrl(name, `${name}_admin`), roles).catch((fault) => fault);
  expect(failed.code).toBe(2);
  expect(failed.stderr).toContain('permission denied to create role');
  expect(failed.stderr).not.toContain('secret');
  const inside = postgres(serverUrl(name), { max: 1 });
  expect(await inside`select from pg_namespace where nspname = 'credits'`).toHaveLength(0);
  await inside.end();
});

test('roles that the operator supplies are enough', async () => {
  const { name, roles, root } = await managedDatabase();
  for (const role of Object.values(roles)) await root.unsafe(`create role "${role}" login password 'secret'`);
  await root.unsafe(`grant "${roles.owner}" to ${name}_admin; alter role ${name}_admin nocreaterole`);
  await bootstrap(serverUrl(name, `${name}_admin`), roles, { owner: '', app: '', auditor: '' });
  const owner = openClient({ url: serverUrl(name, roles.owner) }, {});
  expect((await migrate(owner, roles)).length).toBeGreaterThan(10);
  await owner.end();
});
