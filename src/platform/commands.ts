import { type Config, readConfig } from './config.ts';
import { type Db, openDatabase, type Sql } from './database/clients.ts';
import { createVault, type Vault } from './secrets.ts';

/** What a command works with: the installation that the environment describes. */
export interface Installation {
  config: Config;
  db: Db;
  sql: Sql;
  vault: Vault;
  print(line: string): void;
}

/** Runs a piece of work on the installation and closes it again. */
export type WithInstallation = <T>(work: (installation: Installation) => Promise<T>) => Promise<T>;

export const withInstallation: WithInstallation = async (work) => {
  const config = readConfig(process.env);
  const database = await openDatabase(databaseOptions(config));
  try {
    const vault = createVault(config.ENCRYPTION_KEYS);
    return await work({ config, db: database.db, sql: database.sql, vault, print });
  } finally {
    await database.close();
  }
};

export const print = (line: string) => {
  process.stdout.write(`${line}\n`);
};

/** Connection options of the application's database. */
export const databaseOptions = (config: Config) => ({
  url: config.DATABASE_URL,
  pool: config.DATABASE_POOL,
  caFile: config.DATABASE_CA_FILE,
  insecure: config.ALLOW_INSECURE_DATABASE,
});
