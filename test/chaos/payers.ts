import type postgres from 'postgres';
import { erc20Abi, type Hex, TimeoutError, toHex } from 'viem';
import { findAnvil } from '../../sandbox/chain/anvil.ts';
import { type Chain, dollarsOf, newWallet, payDollars, startChain, type Wallet } from '../harness/chain.ts';
import type { Client, Json } from '../harness/client.ts';
import { type KeyHolder, keyHolder, link } from '../harness/dids.ts';
import { startProxy, type TcpProxy } from '../harness/tcp-proxy.ts';
import type { Dice, Tally } from './tally.ts';

/** Customers who buy on chain: from wallets of their own, whatever happens to Farebox meanwhile. */

const PRICE = 5_000_000n;

/** The chain of this world, which Farebox reaches by a bad network, and its payers directly. */
export interface ChainWorld {
  chain: Chain;
  proxy: TcpProxy;
  /** EVM_CHAINS. */
  setting: string;
  close(): Promise<void>;
}

/** A customer's key, whose wallet belongs to it. */
export interface Purse {
  holder: KeyHolder;
  wallet: Wallet;
}

/** `undefined` where npm has no anvil for the processor. */
export async function openChainWorld(): Promise<ChainWorld | undefined> {
  if (!findAnvil()) return undefined;
  const chain = await startChain();
  const proxy = await startProxy({ target: { port: Number(new URL(chain.url).port) } });
  const rpc_urls = [`http://127.0.0.1:${proxy.port}`];
  return {
    ...{ chain, proxy, setting: JSON.stringify([{ ...chain.setting, rpc_urls, finality: { usual: 2 } }]) },
    close: async () => {
      await proxy.close();
      await chain.stop();
    },
  };
}

export async function priceOnChain({ chain }: ChainWorld, operator: Client, pack: Json): Promise<void> {
  const prices = [{ asset: dollarsOf(chain), amount: PRICE.toString() }];
  await operator.ok('PUT', `/v1/admin/packages/${pack.id}/crypto-prices`, { body: { prices } });
}

export async function newPurse({ chain }: ChainWorld, who: Client): Promise<Purse> {
  const holder = keyHolder('secp256k1');
  const wallet = await newWallet(chain, toHex(holder.secret));
  await link(who, holder);
  return { holder, wallet };
}

export const chainMethod = ({ chain }: ChainWorld): Json => ({ type: 'crypto', asset: dollarsOf(chain) });

type Ask = (method: string, path: string, body?: Json) => Promise<{ status: number; body: Json } | undefined>;

/** Agrees to a request and pays it, exactly or not, and reports it or not; each answer may be lost, and is asked for again. */
export async function payOnChain(
  { chain }: ChainWorld,
  { holder, wallet }: Purse,
  requestId: string,
  ask: Ask,
  dice: Dice,
  tally: Tally,
): Promise<void> {
  const path = `/v1/payment-requests/${requestId}`;
  for (let tries = 0; tries < 3; tries += 1) {
    const asked = await ask('POST', `${path}/challenges`);
    if (asked?.status !== 201) continue;
    const proof = await holder.prove(asked.body);
    const agreed = await ask('POST', `${path}/authorizations`, { challenge_id: asked.body.challenge_id, proof });
    if (agreed?.status === 200) break;
  }
  const deed = dice.pick(['exact', 'exact', 'exact', 'too little', 'too much'] as const);
  const amount = { exact: PRICE, 'too little': PRICE - 7n, 'too much': PRICE + 7n }[deed];
  const hash = await payDollars(wallet, chain, amount);
  tally.count('on chain', `paid ${deed}`);
  if (dice.chance(0.5)) await ask('POST', `${path}/transactions`, { tx_hash: hash });
}

/** Blocks come by themselves, and sometimes the last one is another one, without what lay in it. */
export async function chainGoesOn({ chain }: ChainWorld, dice: Dice, tally: Tally): Promise<void> {
  const isReorg = dice.chance(0.15);
  try {
    await (isReorg ? chain.control.reorg(1) : chain.control.mine());
    tally.count('on chain', isReorg ? 'a block replaced' : 'a block');
  } catch (fault) {
    if (!(fault instanceof TimeoutError)) throw fault;
    tally.count('on chain', 'a block late'); // on a machine with too much to do the chain is slow, too
  }
}

/** Every payment that lies in the chain settles a request, or an operator is told; nothing else is counted. */
export async function checkChain(sql: postgres.Sql, world: ChainWorld, purses: Purse[], tally: Tally): Promise<void> {
  const paid = await transfersIn(world, purses);
  const known = await sql<{ place: string }[]>`
    select tx_hash || ':' || log_index as place from payments.settlements where gone_at is null`;
  const told = await sql<{ place: string }[]>`
    select substr(reference, length(${`eip155:${world.chain.chainId}:`}) + 1) as place from payments.differences
    where kind = 'unclaimed_transfer'`;
  const settled = new Set(known.map(({ place }) => place));
  const all = new Set([...settled, ...told.map(({ place }) => place)]);
  for (const place of paid) if (!all.has(place)) tally.fault(`${place} was paid on chain and nobody knows`);
  for (const place of settled) if (!paid.has(place)) tally.fault(`${place} is counted and not in the chain`);
  tally.count('on chain in the end', `${paid.size} payments, ${settled.size} settled`);
}

async function transfersIn({ chain }: ChainWorld, purses: Purse[]): Promise<Set<string>> {
  const [first] = purses;
  if (!first) return new Set();
  const event = erc20Abi.find((one) => one.type === 'event' && one.name === 'Transfer');
  const logs = await first.wallet.getLogs({
    ...{ address: chain.token, event: event as never, args: { to: chain.treasury } as never },
    fromBlock: 0n,
  });
  return new Set(logs.map(({ transactionHash, logIndex }) => `${transactionHash as Hex}:${logIndex}`));
}
