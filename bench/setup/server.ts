import { rm } from 'node:fs/promises';
import { totalmem } from 'node:os';
import postgres from 'postgres';
import { startPostgres, temporaryHome } from '../../sandbox/postgres.ts';

/** The PostgreSQL under test, and a superuser's look at it. */
export interface Server {
  /** Superuser's URL of a database. */
  url(database?: string): string;
  version: string;
  settings: Record<string, string>;
  /** Flushes of the write-ahead log since ever. */
  walFlushes(): Promise<number>;
  admin: postgres.Sql;
  /** Where its own data lies; `undefined` for a server that somebody else runs. */
  home?: string;
  stop(): Promise<void>;
}

const GIB = 1024 ** 3;

/** As a production server is set up for this load: durable, with memory, and no checkpoint in the middle of a turn. */
const productionLike = (): Record<string, string> => ({
  fsync: 'on',
  synchronous_commit: 'on',
  full_page_writes: 'on',
  shared_buffers: totalmem() > 8 * GIB ? '2GB' : '256MB',
  max_wal_size: '16GB',
  checkpoint_timeout: '1h', // after one, whoever comes first writes whole pages to the log and looks slow
  max_connections: '300',
  track_activity_query_size: '8192', // whole statements, so that one can be taken from there and run by pgbench
});

const SHOWN = [
  ...['fsync', 'synchronous_commit', 'full_page_writes', 'wal_sync_method', 'commit_delay'],
  ...['shared_buffers', 'max_wal_size', 'checkpoint_timeout', 'autovacuum'],
];

/** The server at `url`, connected to as a superuser; without one, a new embedded PostgreSQL that goes with the benchmark. */
export async function openServer(url: string | undefined): Promise<Server> {
  if (url) return serverAt(at(url), () => Promise.resolve());
  const home = temporaryHome();
  const embedded = await startPostgres({ home, settings: productionLike() });
  const stop = async () => {
    await embedded.stop('immediate');
    await rm(home, { recursive: true, force: true });
  };
  try {
    return { ...(await serverAt(embedded.url, stop)), home };
  } catch (fault) {
    await stop();
    throw fault;
  }
}

const at = (url: string) => (database?: string) => {
  const there = new URL(url);
  if (database) there.pathname = `/${database}`;
  return there.href;
};

async function serverAt(url: Server['url'], stop: () => Promise<void>): Promise<Server> {
  const admin = postgres(url(), { max: 1, onnotice: () => {} });
  const [about] = await admin<{ version: string; number: number }[]>`
    select current_setting('server_version') as version, current_setting('server_version_num')::int as number`;
  if (!about) throw new Error('the server does not tell its version');
  const rows = await admin<{ name: string; value: string }[]>`
    select name, current_setting(name) as value from unnest(${SHOWN}::text[]) as name`;
  const settings = Object.fromEntries(rows.map(({ name, value }) => [name, value]));
  if (settings['fsync'] !== 'on' || settings['synchronous_commit'] === 'off') {
    process.stderr.write(
      'This server does not wait for its disk (fsync or synchronous_commit is off): fast, and lossy.\n',
    );
  }
  // Of the log's flushes pg_stat_wal told until 17, pg_stat_io does since 18.
  const flushes =
    about.number >= 180_000
      ? "select coalesce(sum(fsyncs), 0)::float8 as n from pg_stat_io where object = 'wal'"
      : 'select wal_sync::float8 as n from pg_stat_wal';
  return {
    url,
    version: about.version,
    settings,
    admin,
    walFlushes: async () => Number((await admin.unsafe(flushes))[0]?.['n'] ?? 0),
    stop: async () => {
      await admin.end();
      await stop();
    },
  };
}
