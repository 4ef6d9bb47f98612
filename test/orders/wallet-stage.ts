import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import postgres from 'postgres';
import { type Client, type Json, newCustomer, newOperator } from '../harness/client.ts';
import { fareboxForFile } from '../harness/farebox.ts';
import { openRelay, type Relay } from '../harness/relay.ts';
import { grant } from '../workflows/stage.ts';
import { newSession, type Order, orderStageOn, SHOP, standing } from './stage.ts';

/** People at terminals with `farebox wallet`, and a Farebox behind a relay that can lose answers. */
export interface WalletStage {
  relay: Relay;
  shop: Client;
  operator: Client;
  databaseUrl: string;
  /** As the superuser. */
  root: postgres.Sql;
  /** Of this test file, on the disk. */
  folder: string;
  host: string;
  payUri(order: Order, session?: string | undefined): string;
  newOrder(more?: Json): Promise<Order>;
  /** A wallet that somebody else has, and not at a terminal. */
  otherWallet: Awaited<ReturnType<typeof orderStageOn>>['wallet'];
  standing(order: Order, session?: string): Promise<Json>;
  /** Whether the session may read it. */
  isOpen(order: Order, session?: string | undefined): Promise<boolean>;
  wallet(): TerminalWallet;
  /** An account with credits, and how the command line names it. */
  rich(credits?: number): Promise<{ customer: Client; available(): Promise<number>; args: string[] }>;
  close(): Promise<void>;
}

export interface TerminalWallet {
  start(args: string[], input?: string, entry?: string): ChildProcess;
  run(args: string[], input?: string, entry?: string): Promise<{ out: string; err: string; code: number; json: Json }>;
  home: string;
}

/** What `npm run farebox` starts. */
export const CLI = 'src/cli.ts';

export const article = () => `${SHOP}/articles/${randomUUID()}`;

export async function openWalletStage(): Promise<WalletStage> {
  const relay = await openRelay();
  const farebox = await fareboxForFile({ env: { PUBLIC_URL: relay.url, RETURN_ORIGINS: SHOP } });
  relay.leadTo(farebox.url);
  const operator = await newOperator(farebox);
  const stage = await orderStageOn(farebox, operator);
  const root = postgres(farebox.database.superuserUrl, { max: 2, onnotice: () => {} });
  const folder = await mkdtemp(join(tmpdir(), 'farebox-wallet-'));
  const { host } = new URL(relay.url);
  return {
    ...{ relay, shop: stage.shop, operator, root, folder, host, databaseUrl: farebox.database.superuserUrl },
    payUri: ({ id, token, sessionId }, session = sessionId) =>
      `farebox+http://pay/${host}/${id}/${session ?? ''}${token === undefined ? '' : `?c=${token}`}`,
    newOrder: (more = {}) => stage.order(more, { session_id: newSession() }),
    otherWallet: stage.wallet,
    standing: (order, session) => standing(stage, order, session),
    isOpen: async (order, session = order.sessionId) => (await standing(stage, order, session)).order_status === 'paid',
    wallet: () => terminalWallet(folder),
    rich: async (credits = 100) => {
      const customer = await newCustomer(farebox);
      await grant(operator, customer, credits);
      const available = async () => (await customer.ok('GET', '/v1/credits/balance')).available;
      return { customer, available, args: ['--token', customer.token, '--host', host, '--yes', '--json'] };
    },
    close: async () => {
      await root.end();
      await farebox.stop();
      await relay.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A terminal of somebody, with a wallet in a directory of its own. */
function terminalWallet(folder: string): TerminalWallet {
  const home = join(folder, randomUUID());
  const start: TerminalWallet['start'] = (args, input = '', entry = 'test/orders/wallet-main.ts') => {
    const child = spawn(process.execPath, [entry, 'wallet', ...args], {
      env: {
        ...{ PATH: process.env['PATH'] ?? '', NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'] ?? '' },
        XDG_DATA_HOME: home,
      },
    });
    child.stdin?.on('error', () => {}); // it may end without having read
    child.stdin?.end(input);
    return child;
  };
  const run: TerminalWallet['run'] = async (args, input, entry) => {
    const child = start(args, input, entry);
    if (!child.stdout || !child.stderr) throw new Error('no output');
    const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
    return { out, err, code: Number(code), json: parse(out) };
  };
  return { start, run, home: join(home, 'farebox', 'wallet') };
}

function parse(out: string): Json {
  try {
    return JSON.parse(out);
  } catch {
    return null;
  }
}
