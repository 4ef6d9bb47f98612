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

const DEFAULT_PORT = 5432;
const CONNECT_TIMEOUT_S = 5;
const CLOSE_TIMEOUT_S = 5;
/** The driver would wait up to 20 s between attempts, and requests with it, long after the server is back. */
const RECONNECT_WITHIN_S = 1;
/** Longer than the server lets any statement take. Who is gone without a word (failover, firewall) is not waited for. */
const ANSWER_WITHIN_S = 10;
const IDLE_CLOSE_S = 300; // idle connections go away, but not between two requests
const MAX_LIFETIME_S = 3600; // so that a failover or a changed password is noticed within the hour

/** Limits for every session: nobody waits for ever, nothing stays open for ever. */
const sessionLimits = {
  lock_timeout: 2_000, // ms; a lock is held for one short transaction
  statement_timeout: 5_000,
  idle_in_transaction_session_timeout: 10_000,
};
/** Only from PostgreSQL 17 on: an older server refuses the connection that asks for it. */
const TRANSACTION_TIMEOUT_MS = 15_000;
const TRANSACTION_TIMEOUT_SINCE = 170_000;

/**
 * What the application asks is served by an index. The planner sees it otherwise while a table is young: it plans by the
 * statistics of a minute ago, keeps the plan of a prepared statement, and so reads a queue whole that was empty then.
 */
export const planByIndex = { enable_seqscan: 'off' };

/** Opens the clients, once the server has told its version; further connections are made when first needed. */
export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  const limits = await limitsOf(options);
  const hot = connect(options, options.pool, 'hot', { ...limits, ...planByIndex }) as Sql;
  const rest = connect(options, options.pool, 'main', { ...limits, ...planByIndex });
  const health = connect(options, 1, 'health', limits) as Sql;
  return {
    sql: hot,
    db: drizzle({ client: rest }),
    health,
    close: async () => {
      await Promise.all([hot, rest, health].map((client) => client.end({ timeout: CLOSE_TIMEOUT_S })));
    },
  };
}

async function limitsOf(options: DatabaseOptions): Promise<Record<string, number>> {
  const client = openClient(options);
  try {
    const [server] = await client<{ version: number }[]>`
      select current_setting('server_version_num')::int as version`;
    return (server?.version ?? 0) >= TRANSACTION_TIMEOUT_SINCE
      ? { ...sessionLimits, transaction_timeout: TRANSACTION_TIMEOUT_MS }
      : sessionLimits;
  } finally {
    await client.end({ timeout: CLOSE_TIMEOUT_S });
  }
}

/** A client for one task, such as a migration: one connection, which is kept until the caller ends it. */
export const openClient = (
  options: Omit<DatabaseOptions, 'pool'>,
  limits: Record<string, number | string> = sessionLimits,
): Sql => connect(options, 1, 'task', limits, { idle_timeout: 0, max_lifetime: 0, answer_timeout: 0 }) as Sql;

function connect(
  options: Omit<DatabaseOptions, 'pool'>,
  max: number,
  name: string,
  limits: Record<string, number | string>,
  // `answer_timeout` is our patch's.
  lives = { idle_timeout: IDLE_CLOSE_S, max_lifetime: MAX_LIFETIME_S, answer_timeout: ANSWER_WITHIN_S },
) {
  const url = new URL(options.url);
  // TLS is decided here, from the host, and not by a parameter that somebody pasted into the URL.
  url.searchParams.delete('sslmode');
  return postgres(url.href, {
    max,
    ...ipv6Of(url),
    ssl: tlsFor(url.hostname, options),
    connect_timeout: CONNECT_TIMEOUT_S,
    ...lives,
    backoff: (failures: number) => Math.min(2 ** failures / 20, RECONNECT_WITHIN_S) * (0.5 + Math.random() / 2),
    onnotice: () => {},
    types: { bigint: postgres.BigInt },
    connection: {
      application_name: `${options.applicationName ?? 'farebox'}:${name}`,
      options: Object.entries(limits)
        .map(([setting, value]) => `-c ${setting}=${value}`)
        .join(' '),
    },
  });
}

/** The driver splits hosts at colons, so an IPv6 address must be handed over beside the URL. */
function ipv6Of({ hostname, port }: URL): { host?: string; port?: number } {
  const address = /^\[(.+)\]$/.exec(hostname)?.[1];
  if (!address) return {};
  return { host: [address], port: [Number(port || DEFAULT_PORT)] } as unknown as { host: string; port: number };
}

/** verify-full everywhere but on this machine. */
function tlsFor(host: string, options: Omit<DatabaseOptions, 'pool'>): false | ConnectionOptions {
  if (options.insecure || /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/i.test(host)) return false;
  return {
    minVersion: 'TLSv1.2',
    rejectUnauthorized: true,
    // For an address the driver names no server; then this is what the certificate must name.
    host: host.replace(/^\[|\]$/g, ''),
    ...(options.caFile ? { ca: readFileSync(options.caFile, 'utf8') } : {}),
  };
}
