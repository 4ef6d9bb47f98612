import { setTimeout as sleep } from 'node:timers/promises';
import type postgres from 'postgres';
import { toWire } from '../../src/platform/ids.ts';
import { type Client, clientOf, type Json, newCustomer, newMerchant, type Reply } from '../harness/client.ts';
import { type KeyHolder, keyHolder, link } from '../harness/dids.ts';
import { grant } from '../workflows/stage.ts';
import { call } from './people.ts';
import { type Dice, diceOf, type Tally } from './tally.ts';
import type { World } from './world.ts';

/** A shop that sells articles, and readers with wallets who take its orders, pay them, show them and give them up by chance. */

export interface ReadingWorld {
  shop: Client;
  /** DIDs that open an account with credits, of which so many were granted. */
  rich: { holder: KeyHolder; account: string }[];
  orders: Article[];
}

const READERS = 3;
const CREDITS = 400;
const PRICE = 20;
const IN_BAHT = 1_000;

/** An order as its reader knows it: what was answered, and not what was lost. */
interface Article {
  id: string;
  token: string;
  resource: string;
  sessions: string[];
  /** Who may have it: each has tried to claim it. */
  takers: { holder: KeyHolder; nonce: string; hash: string | undefined }[];
  /** An answer has said so. */
  isPaid: boolean;
}

export async function openReadingWorld(farebox: World['farebox'], operator: Client): Promise<ReadingWorld> {
  const rich: ReadingWorld['rich'] = [];
  for (let n = 0; n < READERS; n += 1) {
    const [customer, holder] = [await newCustomer(farebox), keyHolder()];
    await grant(operator, customer, CREDITS);
    await link(customer, holder);
    rich.push({ holder, account: customer.accountId });
  }
  return { shop: await newMerchant(farebox), rich, orders: [] };
}

/** Until the signal. */
export async function readArticles(world: World, seed: number, tally: Tally, signal: AbortSignal): Promise<void> {
  await Promise.all(
    world.reading.rich.map(async ({ holder }, n) => {
      const dice = diceOf(seed, 200 + n);
      const own: Article[] = [];
      const reader = readerOf(world, holder, dice, tally);
      const lately = () => dice.pick(own.slice(-6));
      const deeds: [number, () => Promise<unknown>][] = [
        [
          2,
          async () => {
            const made = await reader.order();
            if (made) own.push(made);
          },
        ],
        [3, () => reader.claim(lately())],
        [3, () => reader.pay(lately(), 'credits')],
        [3, () => reader.pay(lately(), 'omise')],
        [2, () => reader.prove(lately())],
        [1, () => reader.unclaim(lately())],
        [1, () => reader.refund(lately())],
        [1, () => Promise.all([reader.claim(lately()), reader.unclaim(lately()), reader.pay(lately(), 'credits')])],
        [
          1,
          () => Promise.all([reader.pay(lately(), 'credits'), reader.pay(lately(), 'omise'), reader.refund(lately())]),
        ],
      ];
      const bag = deeds.flatMap(([weight, deed]) => Array.from({ length: weight }, () => deed));
      while (!signal.aborted) {
        const deed = own.length === 0 ? deeds[0]?.[1] : dice.pick(bag);
        await deed?.();
        await sleep(dice.between(0, 120));
      }
    }),
  );
}

function readerOf({ reading, farebox }: World, rich: KeyHolder, dice: Dice, tally: Tally) {
  const { shop } = reading;
  const anybody = clientOf(farebox.url);
  const ask = (who: Client, path: string, body: Json) => call(who, 'POST', path, tally, { body });

  /** A challenge and its answer; anything may be lost on the way. */
  async function deed(
    { id }: Article,
    { holder }: Article['takers'][number],
    wish: Json,
    to: string,
    body: Json,
  ): Promise<Reply | undefined> {
    const asked = await ask(anybody, `/orders/${id}/challenges`, wish);
    const reply =
      asked?.status === 201
        ? await ask(anybody, `/orders/${id}/${to}`, {
            ...{ ...body, challenge_id: asked.body.challenge_id },
            proof: await holder.prove(asked.body),
          })
        : asked;
    tally.count(`an order: ${to}`, reply ? String(reply.status) : 'no answer');
    if (reply && !EXPECTED.has(reply.status)) tally.fault(`/orders/${id}/${to}: ${reply.status} ${reply.text}`);
    return reply;
  }

  /** Whoever of those that have a contract; as a rule the last one, who is the one that holds it. */
  const takerOf = ({ takers }: Article) =>
    takers.filter(({ hash }) => hash !== undefined).at(dice.chance(0.9) ? -1 : 0);

  return {
    order: async (): Promise<Article | undefined> => {
      const [id, resource, session] = [`chaos-${dice.uuid()}`, dice.uuid(), dice.uuid()];
      const prices = [{ rail: 'omise', amount: IN_BAHT, currency: 'THB' }];
      const terms = { amount: `CREDITS:${PRICE}`, summary: 'Of the dice', resource, prices };
      const more = { max_sessions: dice.between(1, 2), refund_policy: dice.pick(['revoke_on_any', 'revoke_on_full']) };
      for (let tries = 0; tries < 3; tries += 1) {
        const order = { ...terms, ...more, order_id: id };
        const made = await ask(shop, '/private/orders', { order, session_id: session });
        tally.count('an order: made', made ? String(made.status) : 'no answer');
        if (made?.status !== 200) continue;
        const article = { id, resource, token: made.body.token, sessions: [session], takers: [], isPaid: false };
        reading.orders.push(article);
        return article;
      }
      return undefined;
    },
    claim: async (article: Article) => {
      // Again by the same wallet, by the one with credits, or by a fresh one.
      const again = article.takers.at(-1);
      const fresh = { holder: dice.chance(0.5) ? rich : keyHolder(), nonce: dice.uuid(), hash: undefined };
      const taker: Article['takers'][number] = again && dice.chance(0.4) ? again : fresh;
      const told = { did: taker.holder.did, nonce: taker.nonce, token: article.token };
      const reply = await deed(article, taker, { action: 'claim', ...told }, 'claim', told);
      if (reply?.status !== 200) return;
      taker.hash = reply.body.h_contract;
      article.takers = [...article.takers.filter((one) => one !== taker), taker];
    },
    unclaim: async (article: Article) => {
      const taker = takerOf(article);
      const told = { h_contract: taker?.hash };
      if (taker) await deed(article, taker, { action: 'unclaim', ...told }, 'unclaim', told);
    },
    pay: async (article: Article, rail: string) => {
      const taker = takerOf(article);
      if (!taker) return;
      const told = { h_contract: taker.hash, session_id: article.sessions[0], rail };
      const reply = await deed(article, taker, { action: 'pay', ...told }, 'pay', told);
      if (reply?.status === 200) article.isPaid = true;
      if (reply?.status !== 202) return;
      // At the checkout; the money comes when somebody pays at the provider.
      const body = new URLSearchParams({ method: 'promptpay' });
      await fetch(`${reply.body.status_url}/pay`, {
        ...{ method: 'POST', redirect: 'manual', body, signal: AbortSignal.timeout(3_000) },
      }).catch(() => {});
    },
    prove: async (article: Article) => {
      const taker = takerOf(article);
      if (!taker) return;
      const session = dice.chance(0.5) ? dice.pick(article.sessions) : dice.uuid();
      if (!article.sessions.includes(session)) article.sessions.push(session);
      const told = { h_contract: taker.hash, session_id: session };
      await deed(article, taker, { action: 'prove', ...told }, 'paid', told);
    },
    refund: async ({ id }: Article) => {
      const body = { refund: `CREDITS:${dice.between(1, PRICE)}`, reason: 'of the dice' };
      const reply = await ask(shop, `/private/orders/${id}/refund`, body);
      tally.count('an order: given back', reply ? String(reply.status) : 'no answer');
      if (reply && !EXPECTED.has(reply.status)) tally.fault(`a refund of ${id}: ${reply.status} ${reply.text}`);
    },
  };
}

/** What may be answered to a deed, whatever has happened meanwhile. */
const EXPECTED = new Set([200, 202, 204, 401, 402, 403, 404, 409, 410, 429, 503]);

/** Each order was paid once or not at all, by somebody's own credits; and whoever may read it may, in all places where it is asked. */
export async function checkOrders(sql: postgres.Sql, world: World, tally: Tally): Promise<void> {
  const { shop, orders, rich } = world.reading;
  const rows = await sql<
    { order_id: string; state: string; captures: number; told: number; revoked: boolean; open: string[] }[]
  >`
    select o.order_id, o.state,
      (select count(*)::int from credits.transfers t where t.ref_type = 'order' and t.ref_id = o.id and t.kind = 'capture') as captures,
      (select count(*)::int from platform.events e where e.subject_id = o.id and e.type = 'payments.order_paid') as told,
      case o.refund_policy when 'revoke_on_any' then o.refunded_credits > 0 else o.refunded_credits >= o.price end as revoked,
      coalesce((select array_agg(s.session_id) from payments.order_sessions s where s.order_id = o.id and s.evicted_at is null), '{}') as open
    from payments.orders o where o.order_id like 'chaos-%'`;
  const known = new Map(rows.map((row) => [row.order_id, row]));
  for (const { id, isPaid, sessions, resource } of orders) {
    const row = known.get(id);
    if (!row) {
      tally.fault(`the order ${id} was acknowledged and is not there`);
      continue;
    }
    const times = row.state === 'paid' ? 1 : 0;
    if (row.captures !== times || row.told !== times)
      tally.fault(`the order ${id} is ${row.state}, was paid ${row.captures} times, and told ${row.told} times`);
    if (isPaid && row.state !== 'paid') tally.fault(`the order ${id} was acknowledged as paid, and is ${row.state}`);
    if (row.revoked && row.open.length > 0) tally.fault(`the order ${id} went back, and is open to ${row.open}`);
    for (const session of sessions.slice(0, 3)) {
      const mayRead = row.state === 'paid' && row.open.includes(session);
      const seen = await shop.ok('GET', `/private/orders/${id}?session_id=${session}`);
      const isOpen = seen.order_status === 'paid' && !seen.refunded;
      const asked = { session_id: session, resource, order: { amount: `CREDITS:${PRICE}`, summary: 'Of the dice' } };
      const { entitled } = await shop.ok('POST', '/private/entitlements/check', { body: asked });
      if (isOpen !== mayRead || entitled !== mayRead)
        tally.fault(`${id} is ${mayRead ? '' : 'not '}open to ${session}; the shop is told ${isOpen} and ${entitled}`);
    }
    tally.count('orders in the end', row.revoked ? 'given back' : row.state);
  }
  await checkReaders(sql, new Map(rich.map(({ account }) => [account, CREDITS])), tally);
}

/** What was granted and bought, less what orders took and what went back, is what each has. */
async function checkReaders(sql: postgres.Sql, granted: Map<string, number>, tally: Tally): Promise<void> {
  const accounts = await sql<{ id: string; has: number; moved: number }[]>`
    select a.id,
      coalesce((select available + held - debt from credits.accounts where account_id = a.id), 0)::int as has,
      ((select coalesce(sum(credits), 0) from payments.purchases where account_id = a.id
          and state in ('completed', 'partially_refunded', 'refunded'))
        - (select coalesce(sum(price - refunded_credits), 0) from payments.orders where payer_id = a.id)
        - (select coalesce(sum(credits), 0) from refunds.refunds
           where account_id = a.id and subject_type = 'purchase' and state = 'completed')
        - (select coalesce(sum(credits), 0) from refunds.clawbacks where account_id = a.id and restored_at is null))::int as moved
    from (select account_id as id from payments.purchases where order_id is not null
      union select payer_id from payments.orders where payer_id is not null) a`;
  for (const { id, has, moved } of accounts) {
    const expected = (granted.get(toWire('account', id)) ?? 0) + moved;
    if (has !== expected) tally.fault(`the reader ${id} has ${has}, and should ${expected}`);
  }
  tally.count('readers in the end', `${accounts.length} with credits`);
}
