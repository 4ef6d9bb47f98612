import type postgres from 'postgres';
import type { Client, Json, Reply } from '../harness/client.ts';
import { omiseKeys } from '../harness/farebox.ts';
import type { Dice, Tally } from './tally.ts';
import type { World } from './world.ts';

/** Customers who want their money back, operators who decide, and somebody at the provider's dashboard who asks nobody. */

type Call = (
  who: Client,
  method: string,
  path: string,
  options?: { key?: string; body?: Json },
) => Promise<Reply | undefined>;

/** A card token, made in the customer's browser; undefined when the provider is in trouble. */
export async function cardToken({ providerUrl }: World): Promise<string | undefined> {
  const asked = fetch(`${providerUrl}/tokens`, {
    method: 'POST',
    headers: {
      authorization: `Basic ${Buffer.from(`${omiseKeys.publicKey}:`).toString('base64')}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify({
      card: { name: 'Somchai', number: '4242424242424242', expiration_month: 12, expiration_year: 2099 },
    }),
    signal: AbortSignal.timeout(2_000),
  });
  const made = await asked.then((reply) => reply.json() as Json).catch(() => undefined);
  return made?.object === 'token' ? made.id : undefined;
}

/** All of it, or some credits: more often than not of something that can be given back at all. */
export function refundOf(id: string, dice: Dice): Json {
  const type = id.startsWith('run_') ? 'run' : 'purchase';
  const amount = type === 'purchase' && dice.chance(0.7) ? { amount: dice.between(1, 30) } : {};
  return { subject: { type, id }, reason: 'of the dice', ...amount };
}

/** One refund that waits for a person is approved, rejected, or paid by bank. */
export async function decideSomething({ operator }: World, call: Call, dice: Dice, tally: Tally): Promise<void> {
  const status = dice.pick(['awaiting_approval', 'reserved']);
  const listed = await call(operator, 'GET', `/v1/admin/refunds?limit=20&status=${status}`);
  const waiting: Json[] = listed?.status === 200 ? listed.body.data : [];
  const byHand = status === 'reserved' ? waiting.filter(({ rail }) => rail === 'bank') : waiting;
  if (byHand.length === 0) return;
  const { id } = dice.pick(byHand);
  const deed = dice.pick(status === 'reserved' ? ['payouts', 'payouts', 'reject'] : ['approve', 'approve', 'reject']);
  const body = deed === 'payouts' ? { type: 'bank_transfer', reference: `KBANK ${id}` } : { reason: 'of the dice' };
  const reply = await call(operator, 'POST', `/v1/admin/refunds/${id}/${deed}`, { key: dice.uuid(), body });
  tally.count(`an operator: ${deed}`, reply ? String(reply.status) : 'no answer');
}

/** A part of a charge goes back without us. */
export function givenBackElsewhere({ omise }: World, dice: Dice, tally: Tally): void {
  const paid = omise
    .charges()
    .filter((one: Json) => one.status === 'successful' && one.refundable && one.amount - one.refunded_amount > 5_000);
  if (paid.length === 0) return;
  omise.refund(String(dice.pick(paid)['id']), { amount: dice.between(1, 5) * 1_000 });
  tally.count('at the provider: refund', 'done');
}

const refundsOf = ({ omise }: World): Json[] =>
  omise.charges().flatMap((charge: Json) => charge.refunds.data.map((one: Json) => ({ ...one, charge: charge.id })));

/** Refunds of credited charges at the provider that Farebox does not know of yet. */
export async function unseenRefunds(sql: postgres.Sql, world: World): Promise<number> {
  const [seen, credited] = await Promise.all([
    sql`select reference from refunds.payouts where rail = 'omise'`,
    sql`select reference from payments.claims where rail = 'omise'`,
  ]);
  const [known, charges] = [setOf(seen), setOf(credited)];
  return refundsOf(world).filter(({ id, charge }) => charges.has(charge) && !known.has(id)).length;
}

const setOf = (rows: readonly postgres.Row[]) => new Set(rows.map((row) => String(row['reference'])));

/** What went back at the provider is what we say went back, each of ours once; and never more than was paid. */
export async function checkRefunds(sql: postgres.Sql, world: World, tally: Tally): Promise<void> {
  const paidOut = await sql<{ reference: string; refundId: string | null }[]>`
    select reference, refund_id as "refundId" from refunds.payouts where rail = 'omise'`;
  const made = new Map(refundsOf(world).map((one) => [String(one.id), one]));
  for (const { reference } of paidOut)
    if (!made.has(reference)) tally.fault(`${reference} is told as paid out, and was never made`);
  const times = new Map<string, number>();
  for (const { metadata } of made.values()) {
    const ours = metadata?.refund_id;
    if (ours !== undefined) times.set(ours, (times.get(ours) ?? 0) + 1);
  }
  for (const [id, n] of times) if (n > 1) tally.fault(`the refund ${id} was made ${n} times`);
  for (const charge of world.omise.charges() as Json[])
    if (charge.refunded_amount > charge.amount) tally.fault(`${charge.id} gave back more than it took`);
  const states = await sql<{ state: string; rail: string; n: number }[]>`
    select state, rail, count(*)::int as n from refunds.refunds group by 1, 2 order by 1, 2`;
  for (const { state, rail, n } of states) tally.count('refunds in the end', `${state} (${rail}) × ${n}`);
}
