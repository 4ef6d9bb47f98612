import postgres from 'postgres';
import { inject, onTestFinished } from 'vitest';
import { PASSWORDS, TEMPLATE } from './template.ts';

export interface TestDatabase {
  name: string;
  /** As the application role. */
  appUrl: string;
  ownerUrl: string;
  auditorUrl: string;
  superuserUrl: string;
  drop(): Promise<void>;
}

let made = 0;

/** A database of its own, cloned from the migrated template. */
export async function cloneDatabase(template = TEMPLATE): Promise<TestDatabase> {
  const server = inject('postgres');
  made += 1;
  const name = `t_${process.pid}_${made}_${Math.random().toString(36).slice(2, 8)}`;
  await asRoot((root) => root.unsafe(`create database ${name} template ${template}`));
  const url = (user?: string, password?: string) => {
    const at = new URL(server.superuserUrl);
    at.pathname = `/${name}`;
    if (user && password) {
      at.username = user;
      at.password = password;
    }
    return at.href;
  };
  return {
    name,
    appUrl: url('farebox_app', PASSWORDS.app),
    ownerUrl: url('farebox_owner', PASSWORDS.owner),
    auditorUrl: url('farebox_auditor', PASSWORDS.auditor),
    superuserUrl: url(),
    drop: () => asRoot((root) => root.unsafe(`drop database if exists ${name} with (force)`)).then(() => {}),
  };
}

/** A database for one test, dropped with it. */
export async function databaseForTest(template = TEMPLATE): Promise<TestDatabase> {
  const database = await cloneDatabase(template);
  onTestFinished(() => database.drop());
  return database;
}

async function asRoot<T>(work: (root: postgres.Sql) => Promise<T>): Promise<T> {
  const root = postgres(inject('postgres').superuserUrl, { max: 1, onnotice: () => {} });
  try {
    return await work(root);
  } finally {
    await root.end();
  }
}
