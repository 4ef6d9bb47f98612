import postgres from 'postgres';
import type { Client, Json, Reply } from '../harness/client.ts';
import { payInvoice } from './invoices.ts';
import type { Dice, Tally } from './tally.ts';
import type { World } from './world.ts';

/** Customers who pay their runs by asks: with credits, at the provider, late, or never. */

const rails = [
  { rail: 'credits' },
  { rail: 'omise', currency: 'THB', price_per_credit: 500 },
  { rail: 'lightning', price_per_credit: 1_000 },
];
const after = { credit_limit: 60, max_unpaid_runs: 4, grace_s: 3_600 };

/** Beside the plain services of the world. */
export const ASK_SERVICES: { path: string; credit_cost: number; payment: Json }[] = [
  { path: '/echo?paid=upfront', credit_cost: 90, payment: { rails } },
  { path: '/async-fail?paid=upfront', credit_cost: 8, payment: { rails, underpay: 'accumulate' } },
  { path: '/echo?paid=after', credit_cost: 5, payment: { rails, mode: 'after', after } },
  { path: '/async?parts=2&delay_ms=40&paid=any', credit_cost: 9, payment: { rails, mode: 'flexible', after } },
  { path: '/milestones?delay_ms=20', credit_cost: 12, payment: { rails, milestones: [3, 4, 5] } },
  {
    path: '/milestones?delay_ms=20&ahead=1',
    credit_cost: 10,
    payment: { rails, milestones: [5, 5], unpaid_part: 'continue' },
  },
];

/** What a customer says of the payment of a run. */
export const wishedOf = ({ payment }: Json, dice: Dice): Json => {
  if (payment.mode === 'flexible') return { payment: dice.pick(['upfront', 'after'] as const) };
  return payment.mode === 'upfront' && payment.milestones === null ? { payment: 'upfront' } : {};
};

type Knock = (method: string, path: string, options?: { key?: string; body?: Json }) => Promise<Reply | undefined>;

const PAID = [200, 202, 402, 409, 410, 503];

/** Pays one of the asks that are open: perhaps twice, perhaps by somebody else's rail. */
export async function payAnAsk({ invoices }: World, knock: Knock, dice: Dice, tally: Tally): Promise<void> {
  const state = dice.pick(['open', 'open', 'open', 'part_paid', 'written_off', 'expired'] as const);
  const list = await knock('GET', `/v1/asks?state=${state}&limit=5`);
  if (list?.status !== 200 || list.body.data.length === 0) return;
  const ask = dice.pick<Json>(list.body.data);
  const rail = dice.pick(['credits', 'credits', 'credits', 'omise', 'lightning'] as const);
  const body = rail === 'credits' ? { rail } : { rail, use_credits: dice.chance(0.5) };
  const key = dice.uuid();
  for (let tries = dice.between(1, 2); tries > 0; tries -= 1) {
    const reply = await knock('POST', `/v1/asks/${ask.id}/pay`, { key, body });
    tally.count(`pay an ask with ${body.rail}`, reply ? String(reply.status) : 'no answer');
    if (reply && !PAID.includes(reply.status)) tally.fault(`pay ${ask.id}: ${reply.status} ${reply.text}`);
    const bolt11: string | undefined = reply?.body.lightning?.invoice;
    if (bolt11 !== undefined && dice.chance(0.8)) await payInvoice(invoices, bolt11, tally);
    else if (reply?.status === 202 && rail === 'omise') await openCheckout(reply.body.status_url);
  }
}

/** The provider is chosen on the page; whether it is paid is somebody else's to decide. */
async function openCheckout(url: string): Promise<void> {
  const body = new URLSearchParams({ method: 'promptpay' });
  const signal = AbortSignal.timeout(3_000);
  await fetch(`${url}/pay`, { method: 'POST', redirect: 'manual', body, signal }).catch(() => {});
}

/** The time of an ask is over. */
export async function letOneExpire({ superuserUrl }: World, dice: Dice, tally: Tally): Promise<void> {
  const sql = postgres(superuserUrl, { max: 1, onnotice: () => {} });
  try {
    const gone = await sql`
      update workflows.asks set expires_at = now() where id = (
        select id from workflows.asks where state in ('open', 'part_paid') order by id offset ${dice.below(4)} limit 1)`;
    tally.count('the time of an ask is over', String(gone.count));
  } catch {
    tally.count('the time of an ask is over', 'database away');
  } finally {
    await sql.end();
  }
}

/** Whoever reads parts gets none that is not paid. */
export async function readParts(who: Client, runId: string, knock: Knock, tally: Tally): Promise<void> {
  // The run after its parts: what it says is paid can only have grown since.
  const parts = await knock('GET', `/v1/runs/${runId}/parts`);
  const run = await knock('GET', `/v1/runs/${runId}`);
  if (parts?.status !== 200 || run?.status !== 200 || run.body.payment.parts === null) return;
  const { paid, of } = run.body.payment.parts;
  const open = parts.body.data.filter(({ number }: Json) => number > paid && paid < of);
  if (open.length > 0) tally.fault(`${who.accountId} reads unpaid parts of ${runId}: ${parts.text}`);
  tally.count('read parts', `${parts.body.data.length} of ${of}`);
}
