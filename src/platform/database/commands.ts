import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { print } from '../commands.ts';
import { readConfig } from '../config.ts';
import { openClient } from './clients.ts';
import { migrate, rolesOf } from './migrate.ts';

/** `bootstrap`, `migrate`, `maintain`: the database's own commands. */
export function databaseCommands(program: Command): void {
  program
    .command('bootstrap')
    .description('make the roles and schemas in a new database (runs migrations/bootstrap.sql)')
    .requiredOption('--url <url>', 'the database, as its owner with CREATEROLE or as a superuser')
    .option('--owner <role>', 'name of the role that migrates', 'farebox_owner')
    .option('--app <role>', 'name of the role that the server uses', 'farebox_app')
    .option('--auditor <role>', 'name of the role that only reads', 'farebox_auditor')
    .action(async ({ url, owner, app, auditor }: Record<'url' | 'owner' | 'app' | 'auditor', string>) => {
      const client = openClient({ url, insecure: process.env['ALLOW_INSECURE_DATABASE'] === 'true' }, {});
      try {
        for (const [name, role] of Object.entries({ owner, app, auditor })) {
          await client`select set_config(${`farebox.${name}_role`}, ${role}, false)`;
          const password = process.env[`${name.toUpperCase()}_PASSWORD`] ?? '';
          await client`select set_config(${`farebox.${name}_password`}, ${password}, false)`;
        }
        await client.unsafe(await readFile(new URL('../../../migrations/bootstrap.sql', import.meta.url), 'utf8'));
        print(`roles     ${owner} (migrates), ${app} (runs), ${auditor} (reads)`);
        print('passwords from OWNER_PASSWORD, APP_PASSWORD and AUDITOR_PASSWORD, where they were set');
      } finally {
        await client.end();
      }
    });

  program
    .command('migrate')
    .description('bring the database to the schema of this version (as MIGRATION_DATABASE_URL)')
    .action(() =>
      asOwner(async (client, roles) => {
        const applied = await migrate(client, roles, (name) => print(`applying  ${name}`));
        print(applied.length === 0 ? 'The database is up to date.' : `applied   ${applied.length}`);
      }),
    );

  program
    .command('maintain')
    .description(
      'make the event partitions of the coming months, and drop those older than --keep (as MIGRATION_DATABASE_URL)',
    )
    .option('--keep <months>', 'months of events to keep', '13')
    .action(({ keep }: { keep: string }) =>
      asOwner(async (client) => {
        await client`select platform.make_event_partitions(24)`;
        const dropped = await client<
          { name: string }[]
        >`select platform.drop_event_partitions(${Number(keep)}) as name`;
        for (const { name } of dropped) print(`dropped   ${name}`);
        print('The partitions of the next 24 months are there.');
      }),
    );
}

async function asOwner(
  work: (client: ReturnType<typeof openClient>, roles: ReturnType<typeof rolesOf>) => Promise<void>,
): Promise<void> {
  const config = readConfig(process.env);
  const url = config.MIGRATION_DATABASE_URL;
  if (!url) throw new Error('MIGRATION_DATABASE_URL is not set: this is done as the owner of the schema.');
  const client = openClient({ url, caFile: config.DATABASE_CA_FILE, insecure: config.ALLOW_INSECURE_DATABASE }, {});
  try {
    await work(client, rolesOf(config));
  } finally {
    await client.end();
  }
}
