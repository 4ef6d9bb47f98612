import { afterAll, beforeAll, expect, test } from 'vitest';
import { seeded } from '../../sandbox/omise/faults/random.ts';
import type { FaultRule } from '../../sandbox/omise/faults/rules.ts';
import { type Client, type Json, newCustomer, type Reply } from '../harness/client.ts';
import { startProvider } from '../harness/farebox.ts';
import { CREDITS, type Hands, handsOf, openShop, PRICE, type Shop, uuidOf } from './shop.ts';

/** Draws repeat with the seed; what runs beside each other does not quite. `SEED=7 vitest …` tries another one. */
const SEED = Number(process.env['SEED'] ?? 20_261_122);
const PURCHASES = 200;
const AT_ONCE = 12;
const DEADLINE_MS = 150;

let shop: Shop;
let hands: Hands;
let customers: Client[];
const logged: string[] = [];
const random = seeded(SEED);
const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T;

beforeAll(async () => {
  const omise = await startProvider({ seed: SEED, webhookTimeoutMs: 2_000 });
  shop = await openShop({
    omise,
    env: { OMISE_DEADLINE_MS: String(DEADLINE_MS) },
    log: { write: (line) => void logged.push(line) },
  });
  hands = await handsOf(shop.farebox);
  customers = await Promise.all(Array.from({ length: 5 }, () => newCustomer(shop.farebox)));
});
afterAll(async () => {
  await hands.close();
  await shop.stop();
  await shop.farebox.omise.close();
});

const apiFaults: FaultRule[] = [
  { api: 'latency', ms: 5, spread_ms: 60 },
  { api: 'hang' },
  { api: 'hang', executed: false },
  { api: 'hang_in_body' },
  { api: 'cut_in_body' },
  { api: 'reset_after_execution' },
  { api: 'reset_before_execution' },
  { api: 'rate_limited' },
  { api: 'rate_limited', body: false },
  { api: 'server_error' },
  { api: 'server_error', status: 503, executed: true },
  { api: 'bad_gateway' },
  { api: 'no_content' },
  { api: 'null_body' },
  { api: 'wrong_content_type' },
  { api: 'unauthorized' },
];
const webhookFaults: FaultRule[] = [
  { webhook: 'drop', probability: 0.4 },
  { webhook: 'duplicate', deliveries: 4 },
  { webhook: 'delay', ms: 80 },
  { webhook: 'reorder' },
  { webhook: 'before_answer' },
  { webhook: 'old_timestamp' },
  { webhook: 'corrupt_signature' },
  { webhook: 'unsigned' },
  { webhook: 'tampered_amount' },
  { webhook: 'unknown_key' },
  { webhook: 'huge_body' },
  { webhook: 'foreign_charge', extra: true },
  { webhook: 'livemode_flip' },
];

interface Wish {
  buyer: Client;
  key: string;
  method: Json;
  replies: Reply[];
}

/** A client that repeats its request with its key, a few times. */
async function ask(wish: Wish, tries: number): Promise<void> {
  for (let n = 0; n < tries; n += 1) {
    const body = { package_id: shop.pack.id, method: wish.method };
    const reply = await wish.buyer.call('POST', '/v1/purchases', { key: wish.key, body });
    wish.replies.push(reply);
    if (reply.status === 201 && (reply.body.qr_url || reply.body.authorize_uri || reply.body.status !== 'pending'))
      return;
  }
}

async function inTurns<T>(items: T[], each: (item: T) => Promise<unknown>): Promise<void> {
  const left = [...items];
  const hand = async () => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) await each(item);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, hand));
}

const aMethod = async (): Promise<Json> =>
  pick([
    { type: 'promptpay' },
    { type: 'promptpay' },
    { type: 'truemoney', phone_number: '0812345678' },
    { type: 'mobile_banking_kbank' },
    { type: 'card', token: await shop.token() },
  ]);

/** What people, banks and dashboards do to a charge. Some of it is impossible for it, and then does not happen. */
const deeds: ((id: string) => unknown)[] = [
  ...Array<(id: string) => unknown>(8).fill((id) => shop.omise.pay(id)),
  (id) => shop.omise.fail(id),
  (id) => shop.omise.expire(id),
  (id) => shop.omise.mutate(id, { data: 'twin' }),
  (id) => shop.omise.mutate(id, { data: 'partial_capture' }),
  (id) => shop.omise.mutate(id, { data: 'paid_after_expiry' }),
  (id) => shop.omise.refund(id, { amount: 1 + Math.floor(random() * 1000) }),
  (id) => shop.omise.dispute(id),
  (id) => shop.omise.mutate(id, { data: 'amount_off_by_one' }),
];
const happens = (deed: (id: string) => unknown, id: string) => {
  try {
    deed(id);
  } catch {} // not possible for this charge any more
};

const everyRound = ['attempt-poll', 'webhook-inbox', 'event-sweep', 'purchase-expiry'];

/** Lets the pauses of retries pass, and works everything off. */
async function calmDown(): Promise<void> {
  for (let round = 0; round < 5; round += 1) {
    await shop.omise.settled();
    await shop.sql`
      update payments.charges set created_at = created_at - interval '40 seconds', next_check_at = now() - interval '1 second'
      where next_check_at is not null`;
    await shop.sql`update payments.webhook_inbox set next_attempt_at = now() where state = 'received'`;
    for (const name of everyRound) while ((await hands.run(name)).more);
  }
}

// REQ E3.3 E7.1 E7.2 E7.3
test(`two hundred purchases, every fault at once: in the end the books are right (seed ${SEED})`, async () => {
  const wishes: Wish[] = [];
  for (let n = 0; n < PURCHASES; n += 1) {
    wishes.push({ buyer: pick(customers), key: `wish-${n}`, method: await aMethod(), replies: [] });
  }
  // Everything goes wrong.
  for (const fault of apiFaults) shop.omise.fault({ probability: 0.025, ...fault });
  for (const fault of webhookFaults) shop.omise.fault({ probability: 0.04, ...fault });
  await inTurns(wishes, async (wish) => {
    await ask(wish, 2);
    await somethingHappens(wishes);
  });
  for (let n = 0; n < PURCHASES; n += 1) await somethingHappens(wishes);

  // The provider is well again; what was lost stays lost. Clients repeat what they have no answer to, and most pay.
  shop.omise.clearFaults();
  await calmDown();
  await inTurns(wishes, (wish) => ask(wish, 1));
  for (const { id, status } of shop.omise.charges()) {
    if (status === 'pending' && random() < 0.7) happens((one) => shop.omise.pay(one), String(id));
  }
  await calmDown();
  await shop.operator.ok('POST', '/v1/admin/reconcile', { body: {} });

  checkReplies(wishes);
  await checkBooks(wishes);
}, 120_000);

async function somethingHappens(wishes: Wish[]): Promise<void> {
  const charge = pick(shop.omise.charges());
  if (charge) happens(pick(deeds), String(charge['id']));
  if (random() > 0.1) return;
  const { buyer, replies } = pick(wishes);
  const id = replies.find(({ status }) => status === 201)?.body.id;
  if (id) replies.push(await buyer.post(`/v1/purchases/${id}/cancel`));
}

function checkReplies(wishes: Wish[]): void {
  for (const { replies } of wishes) {
    for (const { status, body, text } of replies) {
      expect([200, 201, 409, 503], text).toContain(status);
      if (status === 503) expect(body.code).toBe('provider_unavailable');
    }
    const made = replies.filter(({ body }) => body?.object === 'purchase').map(({ body }) => body.id);
    expect(new Set(made).size, 'one key, one purchase').toBe(1);
  }
  const lines = logged.join('');
  for (const secret of ['skey_', 'tokn_', 'Basic ', '0812345678', 'whsec']) expect(lines).not.toContain(secret);
}

async function checkBooks(wishes: Wish[]): Promise<void> {
  const rows = await shop.sql`
    select p.id, p.state, c.reference as credited, count(t.*)::int as times, coalesce(sum(t.amount), 0)::int as credits
    from payments.purchases p
      left join payments.claims c on c.purchase_id = p.id
      left join credits.transfers t on t.ref_type = 'purchase' and t.ref_id = p.id
    group by p.id, p.state, c.reference`;
  expect(rows).toHaveLength(wishes.length);
  for (const { state, credited, times, credits } of rows) {
    // Completed, claimed and booked are one and the same.
    expect({ state, times, credits, isClaimed: credited !== null }).toEqual(
      ['completed', 'partially_refunded', 'refunded'].includes(state)
        ? { state, times: 1, credits: CREDITS, isClaimed: true }
        : { state, times: 0, credits: 0, isClaimed: false },
    );
  }
  const completed = rows.filter(({ credited }) => credited !== null).length;
  expect(completed).toBeGreaterThan(PURCHASES / 4);

  const [sums] = await shop.sql`
    select sum(available - debt)::int as owned,
      (select coalesce(sum(credits), 0)::int from refunds.clawbacks where restored_at is null) as clawed
    from credits.accounts`;
  expect(sums?.['owned']).toBe(completed * CREDITS - sums?.['clawed']);

  const creditedIds = new Set(rows.map((row) => row['credited']));
  const differences = await shop.sql`select kind, reference from payments.differences where resolved_at is null`;
  const seen = new Set((await shop.sql`select charge_id from refunds.sightings`).map((row) => row['charge_id']));
  const told = (id: string) => differences.filter(({ reference }) => reference === id).map(({ kind }) => kind);
  for (const charge of shop.omise.charges() as Json[]) {
    const isCredited = creditedIds.has(charge.id);
    const tells = told(charge.id);
    const state = `${charge.id} ${charge.status} ${charge.captured_amount}/${charge.amount} ${tells} credited: ${isCredited}`;
    if (charge.status === 'successful') {
      expect(isCredited || tells.length > 0, `money that nobody knows of: ${state}`).toBe(true);
      if (isCredited && (charge.refunded_amount > 0 || charge.dispute))
        expect(tells.length > 0 || seen.has(charge.id), state).toBe(true);
    } else expect(isCredited, `credits for nothing: ${state}`).toBe(false);
    if (isCredited && tells.length === 0) {
      expect([charge.captured_amount, charge.amount, charge.currency], state).toEqual([PRICE, PRICE, 'THB']);
    }
  }
  expect(Math.max(...Object.values(shop.omise.chargesPerAttempt())), 'charges of one attempt').toBe(1);
  const [open] = await shop.sql`
    select (select count(*)::int from payments.charges where state = 'creating') as unanswered,
      (select count(*)::int from payments.webhook_inbox where state = 'received') as unread`;
  expect(open).toEqual({ unanswered: 0, unread: 0 });
  void uuidOf;
}
