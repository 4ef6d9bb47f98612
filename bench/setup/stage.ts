import type { Customer } from '../http.ts';
import {
  type Child,
  type FareboxOptions,
  type Surroundings,
  startFarebox,
  startHello,
  startSurroundings,
} from './children.ts';
import { type BenchDatabase, cloneOf, makeDatabase, removeAll } from './database.ts';
import { addPast, seed, vacuum } from './seed.ts';
import { openServer, type Server } from './server.ts';
import { logIn } from './sessions.ts';

/** Everything that is there before the first turn. */
export interface Stage {
  server: Server;
  base: BenchDatabase;
  /** The same with millions of transfers, when that was asked for. */
  grown: BenchDatabase | undefined;
  accounts: number;
  /** Accounts with a past: those that read pages of it. */
  withPast: number;
  children: Children;
  /** Customers with tokens; renewed before each round, because tokens live for minutes. */
  customers: Customer[];
  hotCustomer: Customer[];
  renewSessions(): Promise<void>;
}

export interface Children {
  hello: Child;
  /** As in production. */
  farebox: Child;
  variants: Variants | undefined;
}

export interface Variants {
  /** Answers requests only: another replica works through the queue. */
  apiOnly: Child;
  /** As `apiOnly`, without the group committer. */
  ungrouped: Child;
}

export interface StageOptions {
  databaseUrl: string | undefined;
  accounts: number;
  customers: number;
  past: { accounts: number; transfers: number };
  /** Transfers of the grown database; 0: none is made. */
  transfers: number;
  /** Also servers that are set up otherwise than in production. */
  withVariants: boolean;
  tell(line: string): void;
}

/** Sets everything up. `closers` grows as it does: whatever happens, the caller calls them in reverse order. */
export async function setStage(options: StageOptions, closers: (() => Promise<void>)[]): Promise<Stage> {
  const { tell, accounts } = options;
  tell('PostgreSQL');
  const server = await openServer(options.databaseUrl);
  closers.push(async () => {
    if (options.databaseUrl) await removeAll(server);
    await server.stop();
  });
  const surroundings = await startSurroundings();
  closers.push(() => surroundings.close());
  tell(`${accounts.toLocaleString('en')} accounts with credits and workflows`);
  const base = await makeDatabase(server);
  const { encryptionKey, executorPort } = surroundings;
  const endpoint = `http://127.0.0.1:${executorPort}/`;
  await seed(base, { accounts, past: options.past, encryptionKey, endpoint });
  const grown = options.transfers > 0 ? await grow(server, base, options) : undefined;
  for (const database of grown ? [base, grown] : [base]) await vacuum(database);
  tell('servers');
  const children = await startChildren(base, surroundings, options.withVariants, closers);
  const customers: Customer[] = [];
  const hotCustomer: Customer[] = [];
  const numbers = Array.from({ length: Math.min(options.customers, accounts - 1) }, (_, i) => i + 1);
  const renewSessions = async () => {
    const tokens = await logIn(base, children.farebox.url, [...numbers, accounts]);
    const all = tokens.map((token, i) => ({ n: numbers[i] ?? accounts, token }));
    hotCustomer.splice(0, 1, ...all.slice(-1));
    customers.splice(0, customers.length, ...all.slice(0, -1));
  };
  return {
    ...{ server, base, grown, accounts, children, customers, hotCustomer, renewSessions },
    withPast: options.past.accounts,
  };
}

async function grow(server: Server, base: BenchDatabase, { accounts, transfers, tell }: StageOptions) {
  tell(`${transfers.toLocaleString('en')} transfers in a second database`);
  const grown = await cloneOf(server, base, 'grown');
  await addPast(grown, { accounts, transfers: Math.ceil(transfers / accounts) });
  return grown;
}

async function startChildren(
  base: BenchDatabase,
  surroundings: Surroundings,
  withVariants: boolean,
  closers: (() => Promise<void>)[],
): Promise<Children> {
  const kept = async (child: Promise<Child>) => {
    const started = await child;
    closers.push(() => started.stop());
    return started;
  };
  const own = (options: FareboxOptions) => kept(startFarebox(base, surroundings, options));
  const farebox = await own({ workers: 'on' });
  const hello = await kept(startHello());
  if (!withVariants) return { hello, farebox, variants: undefined };
  const apiOnly = await own({ workers: 'off' });
  return { hello, farebox, variants: { apiOnly, ungrouped: await own({ workers: 'off', ungrouped: true }) } };
}
