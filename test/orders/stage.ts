import { randomBytes, randomUUID } from 'node:crypto';
import postgres from 'postgres';
import {
  type Client,
  clientOf,
  type Json,
  newCustomer,
  newMerchant,
  newOperator,
  type Reply,
} from '../harness/client.ts';
import { type Holder, keyHolder, link } from '../harness/dids.ts';
import { type FareboxOptions, fareboxForFile, type TestFarebox } from '../harness/farebox.ts';
import { grant } from '../workflows/stage.ts';

/** A shop that sells articles, and people with wallets and browsers. */
export interface OrderStage {
  farebox: TestFarebox;
  shop: Client;
  operator: Client;
  anybody: Client;
  /** As the superuser. */
  root: postgres.Sql;
  /** An order as the shop makes it; the reply, and its addresses for a session. */
  order(more?: Json, around?: Json): Promise<Order>;
  /** A wallet whose DID opens an account with so many credits. */
  richWallet(credits?: number): Promise<Wallet & { customer: Client }>;
  wallet(holder?: Holder): Wallet;
  close(): Promise<void>;
}

export interface Order {
  id: string;
  token: string | undefined;
  sessionId: string | undefined;
}

/** What a wallet does with an order; every deed is a challenge and its answer. */
export interface Wallet {
  holder: Holder;
  claim(order: Order, more?: Json): Promise<Reply>;
  unclaim(order: Order, hash: string): Promise<Reply>;
  pay(order: Order, hash: string, session: string | null, by?: Client, rail?: string): Promise<Reply>;
  prove(order: Order, hash: string, session: string): Promise<Reply>;
  /** All of it: the hash of the contract. */
  buy(order: Order, session?: string | null): Promise<string>;
}

export const SHOP = 'https://shop.example.com';
export const newSession = () => randomBytes(18).toString('base64url');

export async function openOrderStage(options: FareboxOptions = {}): Promise<OrderStage> {
  const farebox = await fareboxForFile({ ...options, env: { RETURN_ORIGINS: SHOP, ...options.env } });
  const root = postgres(farebox.database.superuserUrl, { max: 3, onnotice: () => {} });
  const close = async () => {
    await root.end();
    await farebox.stop();
  };
  return { ...(await orderStageOn(farebox, await newOperator(farebox))), root, close };
}

/** The same on a Farebox that is there already; addresses of articles must be allowed there. */
export async function orderStageOn(
  farebox: TestFarebox,
  operator: Client,
): Promise<Omit<OrderStage, 'root' | 'close'>> {
  const shop = await newMerchant(farebox);
  const anybody = clientOf(farebox.url);
  const walletOf = (holder: Holder = keyHolder()): Wallet => newWallet(anybody, holder);
  return {
    ...{ farebox, operator, shop, anybody, wallet: walletOf },
    ...ordersOf(shop),
    richWallet: async (credits = 100) => {
      const [customer, holder] = [await newCustomer(farebox), keyHolder()];
      await grant(operator, customer, credits);
      await link(customer, holder);
      return { ...walletOf(holder), customer };
    },
  };
}

export const ordersOf = (shop: Client): Pick<OrderStage, 'order'> => ({
  order: async (more = {}, around = {}) => {
    const article = `${SHOP}/articles/${randomUUID()}`;
    const order = { amount: 'CREDITS:40', summary: 'On paying once', fulfillment_url: article, ...more };
    const made = await shop.ok('POST', '/private/orders', { body: { order, ...around } });
    return { id: made.order_id, token: made.token, sessionId: around.session_id };
  },
});

export function newWallet(
  anybody: Client,
  holder: Holder,
): Wallet & { answer(order: Order, wish: Json): Promise<Json> } {
  const answer = async (path: string, wish: Json): Promise<Json | Reply> => {
    const asked = await anybody.call('POST', `${path}/challenges`, { body: wish });
    if (asked.status !== 201) return asked;
    return { challenge_id: asked.body.challenge_id, proof: await holder.prove(asked.body) };
  };
  const deed = async (order: Order, wish: Json, to: string, body: Json, by = anybody): Promise<Reply> => {
    const path = `/orders/${order.id}`;
    const answered = await answer(path, wish);
    if ('status' in answered) return answered as Reply;
    return by.call('POST', `${path}/${to}`, { body: { ...body, ...answered } });
  };
  const self: Wallet = {
    holder,
    claim: (order, more = {}) => {
      const told = { did: holder.did, nonce: randomBytes(16).toString('hex'), token: order.token, ...more };
      return deed(order, { action: 'claim', ...told }, 'claim', told);
    },
    unclaim: (order, h_contract) => deed(order, { action: 'unclaim', h_contract }, 'unclaim', { h_contract }),
    pay: (order, h_contract, session_id, by, rail = 'credits') => {
      const told = { h_contract, session_id, rail };
      return deed(order, { action: 'pay', ...told }, 'pay', told, by);
    },
    prove: (order, h_contract, session_id) => {
      const told = { h_contract, session_id };
      return deed(order, { action: 'prove', ...told }, 'paid', told);
    },
    buy: async (order, session = order.sessionId ?? null) => {
      const claimed = await self.claim(order);
      if (claimed.status !== 200) throw new Error(`the claim was ${claimed.status}: ${claimed.text}`);
      const paid = await self.pay(order, claimed.body.h_contract, session);
      if (paid.status !== 200) throw new Error(`the payment was ${paid.status}: ${paid.text}`);
      return claimed.body.h_contract;
    },
  };
  return { ...self, answer: (order, wish) => answer(`/orders/${order.id}`, wish) };
}

/** The status of an order by its link, as JSON unless something else is asked for. */
export const seen = (
  { anybody }: Pick<OrderStage, 'anybody'>,
  { id }: Pick<Order, 'id'>,
  query: Record<string, string | undefined> = {},
  headers: Record<string, string> = {},
): Promise<Reply> => {
  const told = Object.entries(query).filter((pair): pair is [string, string] => pair[1] !== undefined);
  return anybody.call('GET', `/orders/${id}?${new URLSearchParams(told)}`, {
    headers: { accept: 'application/json', ...headers },
  });
};

/** As the shop sees it. */
export const standing = (
  { shop }: Pick<OrderStage, 'shop'>,
  { id }: Pick<Order, 'id'>,
  session?: string,
): Promise<Json> => shop.ok('GET', `/private/orders/${id}${session === undefined ? '' : `?session_id=${session}`}`);
