import { and, eq, sql } from 'drizzle-orm';
import { capture, hold, release } from '../../credits/index.ts';
import { arrivalsFor } from '../../payments/index.ts';
import type { Tx } from '../../platform/database/clients.ts';
import { appendEvents } from '../../platform/delivery/events.ts';
import type { Subscriber } from '../../platform/delivery/subscriptions.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { newId, toWire } from '../../platform/ids.ts';
import { runs } from '../tables.ts';
import { advance } from './advance.ts';
import { decideSettlement } from './decide.ts';
import { changeAsk, changeRun, isQuoted, type QuotedRun } from './open.ts';
import type { RunQuote } from './policy.ts';
import { type Ask, dueOf, type Settlement, settlementsOf, tellAsk } from './read.ts';
import { leaveTab, payOld } from './tab.ts';
import { asks, settlements } from './tables.ts';

/**
 * How asks are settled. Every rail alike: the money is a hold already when it is looked at here, under the lock of the run;
 * what pays an ask is taken, and the run goes on, in one transaction.
 */

/** An ask and its run, both locked. */
export interface Asked {
  run: QuotedRun;
  ask: Ask;
  /** Its price holds no more. By the database's clock. */
  isLate: boolean;
}

/** What came for it, and its purpose as the ledger and payments know it. */
export const purposeOf = ({ id }: { id: string }) => ({ type: 'ask', id });

/** Locks an ask; its run first, as everywhere. */
export async function lockAsk(tx: Tx, id: string, accountId?: string): Promise<Asked | undefined> {
  const own = accountId === undefined ? eq(asks.id, id) : and(eq(asks.id, id), eq(asks.accountId, accountId));
  const [found] = await tx.select({ accountId: asks.accountId, runId: asks.runId }).from(asks).where(own);
  if (!found) return undefined;
  const [run] = await tx
    .select()
    .from(runs)
    .where(and(eq(runs.accountId, found.accountId), eq(runs.id, found.runId)))
    .for('update');
  const [row] = await tx
    .select({ ask: asks, isLate: sql<boolean>`${asks.expiresAt} <= now()` })
    .from(asks)
    .where(own)
    .for('update');
  if (!run || !isQuoted(run) || !row) throw new Error('an ask without its run');
  return { run, ...row };
}

/** Hears that money has come for something: for an ask, or for what others know. */
export const onSettled: Subscriber = async (tx, { subjectId, payload }) => {
  if ((payload as { for_type?: unknown }).for_type !== 'ask') return;
  const asked = await lockAsk(tx, subjectId);
  if (asked) await absorb(tx, asked);
};

/** Looks at everything that has come for an ask and was not looked at yet, in the order in which it came. */
export async function absorb(tx: Tx, asked: Asked): Promise<Asked> {
  let now = asked;
  const known = new Set((await settlementsOf(tx, asked.ask)).map(({ id }) => id));
  for (const arrival of await arrivalsFor(tx, purposeOf(asked.ask))) {
    if (known.has(arrival.id) || arrival.held === 0n || arrival.accountId !== asked.ask.accountId) continue;
    const { id, rail, held, createdAt, purchaseId } = arrival;
    const isInTime = asked.ask.kind === 'result' || createdAt <= asked.ask.expiresAt;
    const { underpay } = asked.run.quote;
    now = await apply(tx, now, { id, rail, credits: held, isInTime, purchaseId, underpay });
  }
  return now;
}

/** Pays all that is due from the account's own credits. What is available, when that is not enough: then nothing has changed. */
export async function payFromCredits(tx: Tx, asked: Asked): Promise<Asked | { available: bigint }> {
  const set = await setAside(tx, asked, dueOf(asked.ask));
  return 'available' in set ? set : apply(tx, asked, { ...set, ...OWN });
}

/** Sets own credits aside, as far as there are any, and leaves the rest to be paid in another way. */
export async function putDown(tx: Tx, asked: Asked): Promise<Asked> {
  const due = dueOf(asked.ask);
  const all = await setAside(tx, asked, due);
  if (!('available' in all)) return apply(tx, asked, { ...all, ...OWN });
  if (all.available === 0n) return asked;
  // The refusal holds the account's lock: nobody spends these meanwhile.
  const some = await setAside(tx, asked, all.available);
  if ('available' in some) throw new Error('credits that were there are gone');
  return apply(tx, asked, { ...some, ...OWN });
}

/** A part of one's own that is set aside on purpose is no short payment. */
const OWN = { rail: 'credits', isInTime: true, purchaseId: null, underpay: 'accumulate' } as const;

async function setAside(
  tx: Tx,
  { ask }: Asked,
  credits: bigint,
): Promise<{ id: string; credits: bigint } | { available: bigint }> {
  const id = newId();
  const held = await hold(tx, ask.accountId, id, credits, purposeOf(ask), { type: 'settlement', id });
  if (held.result === 'insufficient') return { available: held.available };
  if (held.result !== 'posted') throw new Error(`the credits of an ask were ${held.result}`);
  await failpoint('workflows.ask.after_hold');
  return { id, credits };
}

interface Coming {
  /** Of the hold. */
  id: string;
  rail: string;
  credits: bigint;
  isInTime: boolean;
  underpay: RunQuote['underpay'];
  purchaseId: string | null;
}

async function apply(tx: Tx, asked: Asked, coming: Coming): Promise<Asked> {
  const { run, ask } = asked;
  const { id, rail, credits, purchaseId } = coming;
  const { accountId } = ask;
  const verdict = decideSettlement({ ...ask, ...coming });
  await tx.insert(settlements).values({ accountId, id, askId: ask.id, rail, credits });
  if (verdict.release > 0n) {
    await letGo(tx, { accountId, id }, verdict.release);
    if (verdict.what !== 'underpaid') await returnSurplus(tx, asked, verdict.release, purchaseId);
  }
  const received = ask.received + verdict.keep;
  const change = { received, surplus: ask.surplus + verdict.release, state: verdict.state };
  const isPaid = verdict.what === 'paid';
  const changed = await changeAsk(tx, ask, isPaid ? { ...change, closedAt: sql`now()` } : change);
  await tellAsk(tx, changed, verdict.what, { rail, credits: Number(credits), released: Number(verdict.release) });
  if (isPaid) return { ...asked, ...(await pay(tx, run, ask, changed)) };
  if (verdict.keep === 0n) return { ...asked, ask: changed };
  if (ask.state === 'written_off') return { ...asked, ...(await takeOld(tx, run, changed, verdict.keep)) };
  const waiting = await changeRun(tx, run, { due: dueOf(changed), paymentState: changed.state });
  return { ...asked, run: waiting, ask: changed };
}

/** All of it is there: it is taken, and the run goes on. */
async function pay(tx: Tx, run: QuotedRun, before: Ask, ask: Ask): Promise<Pick<Asked, 'run' | 'ask'>> {
  const taken = await takeAll(tx, ask);
  if (before.state === 'written_off') await payOld(tx, ask, before.amount - before.received);
  else if (ask.kind === 'result') await leaveTab(tx, ask, ask.amount);
  const paid = await changeRun(tx, run, { paid: run.paid + taken, due: 0n, paymentState: 'paid' });
  await failpoint('workflows.ask.after_take');
  return { ask, run: await advance(tx, paid, ask) };
}

/** A part of what was written off. */
async function takeOld(tx: Tx, run: QuotedRun, ask: Ask, credits: bigint): Promise<Pick<Asked, 'run' | 'ask'>> {
  const taken = await takeAll(tx, ask);
  await payOld(tx, ask, credits);
  return { ask, run: await changeRun(tx, run, { paid: run.paid + taken, due: dueOf(ask) }) };
}

const isOf = ({ accountId, id }: Pick<Settlement, 'accountId' | 'id'>) =>
  and(eq(settlements.accountId, accountId), eq(settlements.id, id));

const heldOf = ({ credits, taken, released }: Settlement): bigint => credits - taken - released;

/** Takes everything that is set aside for an ask; answers how much that was. */
export async function takeAll(tx: Tx, ask: Ask): Promise<bigint> {
  let sum = 0n;
  for (const one of await settlementsOf(tx, ask)) {
    const held = heldOf(one);
    if (held === 0n) continue;
    const { result } = await capture(tx, ask.accountId, one.id, held, { type: 'settlement', id: one.id });
    if (result !== 'posted') throw new Error(`the credits of an ask were ${result} when they were taken`);
    await tx.update(settlements).set({ taken: held }).where(isOf(one));
    sum += held;
  }
  return sum;
}

/** Lets everything go that is set aside for an ask, which is wanted no more. */
export async function letAllGo(tx: Tx, ask: Ask): Promise<void> {
  for (const one of await settlementsOf(tx, ask)) if (heldOf(one) > 0n) await letGo(tx, one, heldOf(one));
}

async function letGo(tx: Tx, one: Pick<Settlement, 'accountId' | 'id'>, credits: bigint): Promise<void> {
  const { result } = await release(tx, one.accountId, one.id, credits, { type: 'settlement', id: one.id });
  if (result !== 'posted') throw new Error(`the credits of an ask were ${result} when they were let go`);
  await tx
    .update(settlements)
    .set({ released: sql`${settlements.released} + ${credits}::bigint` })
    .where(isOf(one));
}

/** Money that came too much goes back where it came from, where the policy wants that: whoever gives money back hears of it. */
async function returnSurplus(tx: Tx, { run, ask }: Asked, credits: bigint, purchaseId: string | null): Promise<void> {
  if (run.quote.surplus !== 'refund' || purchaseId === null) return;
  const payload = {
    account_id: toWire('account', ask.accountId),
    credits: Number(credits),
    ask_id: toWire('ask', ask.id),
  };
  await appendEvents(tx, [{ accountId: null, type: 'workflows.surplus_unwanted', subjectId: purchaseId, payload }]);
}
