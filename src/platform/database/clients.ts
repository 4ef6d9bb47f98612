import { readFileSync } from 'node:fs';
import type { ConnectionOptions } from 'node:tls';
import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js';
import postgres from 'postgres';

/** The raw client: hot path only, single statements, bigint parsed to BigInt. */
export type Sql = postgres.Sql<{ bigint: bigint }>;
/** drizzle's client: everything else. drizzle replaces the parsers of the client it owns, hence two. */
export type Db = PostgresJsDatabase;
/** An open transaction: I join you. A `Db` is not one, and the compiler says so. */
export type Tx = Parameters<Parameters<Db['transaction']>[0]>[0];

export interface Database {
  /** Hot path. */
  sql: Sql;
  db: Db;
  /** One connection of its own, so that a full pool does not look like a dead database. */
  health: Sql;
  close(): Promise<void>;
}

export interface DatabaseOptions {
  url: string;
  pool: number;
  caFile?: string | undefined;
  insecure?: boolean;
  applicationName?: string;
}

const CONNECT_TIMEOUT_S = 5;
const CLOSE_TIMEOUT_S = 5;
const IDLE_CLOSE_S = 300; // idle connections go away, but not between two requests
const MAX_LIFETIME_S = 3600; // so that a failover or a changed password is noticed within the hour

/** Limits for every session: nobody waits for ever, nothing stays open for ever. */
const sessionLimits = {
  lock_timeout: 2_000, // ms; a lock is held for one short transaction
  statement_timeout: 5_000,
  transaction_timeout: 15_000, // PostgreSQL 17 and newer; older ones ignore it by the prefix below
  idle_in_transaction_session_timeout: 10_000,
};

/** Opens the clients; connections are made when first needed. */
export function openDatabase(options: DatabaseOptions): Database {
  const hot = connect(options, options.pool, 'hot') as Sql;
  const rest = connect(options, options.pool, 'main');
  const health = connect(options, 1, 'health') as Sql;
  return {
    sql: hot,
    db: drizzle({ client: rest }),
    health,
    close: async () => {
      await Promise.all([hot, rest, health].map((client) => client.end({ timeout: CLOSE_TIMEOUT_S })));
    },
  };
}

/** A client for one task, such as a migration; the caller ends it. */
export const openClient = (options: Omit<DatabaseOptions, 'pool'>, limits?: Record<string, number>): Sql =>
  connect({ ...options, pool: 1 }, 1, 'task', limits) as Sql;

function connect(options: DatabaseOptions, max: number, name: string, limits: Record<string, number> = sessionLimits) {
  const url = new URL(options.url);
  // TLS is decided here, from the host, and not by a parameter that somebody pasted into the URL.
  url.searchParams.delete('sslmode');
  return postgres(url.href, {
    max,
    ssl: tlsFor(url.hostname, options),
    connect_timeout: CONNECT_TIMEOUT_S,
    idle_timeout: IDLE_CLOSE_S,
    max_lifetime: MAX_LIFETIME_S,
    onnotice: () => {},
    types: { bigint: postgres.BigInt },
    connection: {
      application_name: `${options.applicationName ?? 'farebox'}:${name}`,
      options: Object.entries(limits)
        .map(([setting, ms]) => `-c ${setting}=${ms}`)
        .join(' '),
    },
  });
}

/** verify-full everywhere but on this machine. */
function tlsFor(host: string, options: DatabaseOptions): false | ConnectionOptions {
  if (options.insecure || host === '' || /^(localhost|127\.|\[::1\]$)/.test(host)) return false;
  return {
    minVersion: 'TLSv1.2',
    rejectUnauthorized: true,
    ...(options.caFile ? { ca: readFileSync(options.caFile, 'utf8') } : {}),
  };
}
