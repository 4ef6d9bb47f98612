import { and, eq, inArray, isNull, lte, sql } from 'drizzle-orm';
import type { Db } from '../../platform/database/clients.ts';
import type { Worker } from '../../platform/delivery/worker.ts';
import { failpoint } from '../../platform/failpoints.ts';
import type { Log } from '../../platform/log.ts';
import type { EvmRail } from '../rails/evm/evm.ts';
import type { Verification } from '../rails/evm/verify.ts';
import { applySeen, postpone, type Seen, type Submitted } from './apply.ts';
import { lockRequest, move } from './move.ts';
import { paymentRequests, requestTransactions, settlements } from './tables.ts';

export interface RequestWorkDeps {
  db: Db;
  evm: EvmRail;
  log: Log;
}

type Unknown = Extract<Verification, { outcome: 'unknown' }>;

const EVERY_MS = 1_000;
const AT_ONCE = 16;
/** Nobody else looks meanwhile; longer than all calls of one look together may take. */
const LEASE_S = 60;

/** Looks at submitted transactions: whether they have come, whether they are final, and whether they are still there. */
export const transactionChecker = ({ db, evm, log }: RequestWorkDeps): Worker => ({
  name: 'request-transactions',
  everyMs: EVERY_MS,
  runOnce: async () => {
    const due = await lease(db);
    if (due.length > 0) await failpoint('payments.request.after_lease');
    await Promise.all(
      due.map((one) =>
        checkTransaction({ db, evm, log }, one).catch((fault) => {
          log.error({ err: fault, tx_hash: one.txHash }, 'a transaction could not be looked at; it is tried again');
        }),
      ),
    );
    return { more: due.length === AT_ONCE };
  },
});

async function lease(db: Db): Promise<Submitted[]> {
  const due = db
    .select({ place: sql`ctid` })
    .from(requestTransactions)
    .where(lte(requestTransactions.nextCheckAt, sql`now()`))
    .orderBy(requestTransactions.nextCheckAt)
    .limit(AT_ONCE)
    .for('update', { skipLocked: true });
  return db
    .update(requestTransactions)
    .set({ nextCheckAt: sql`now() + make_interval(secs => ${LEASE_S})` })
    .where(sql`ctid in ${due}`)
    .returning();
}

/** Asks the chain, then writes down what it said. Trouble with the chain changes nothing: the look is repeated. */
async function checkTransaction({ db, evm, log }: RequestWorkDeps, submitted: Submitted): Promise<void> {
  const seen = await look(db, evm, submitted);
  await failpoint('payments.request.after_look');
  if (seen.outcome === 'unknown')
    log.warn({ tx_hash: submitted.txHash, reason: seen.reason }, 'the chain could not be asked about a transaction');
  await db.transaction(async (tx) => {
    await (seen.outcome === 'unknown' ? postpone(tx, submitted) : applySeen(tx, submitted, seen));
    await failpoint('payments.request.before_commit');
  });
  await failpoint('payments.request.after_commit');
}

/** What was counted is asked for in its block: taking it back is grave, and takes more than one voice. */
async function look(db: Db, evm: EvmRail, { requestId, txHash }: Submitted): Promise<Seen | Unknown> {
  const [request] = await db.select().from(paymentRequests).where(eq(paymentRequests.id, requestId));
  if (!request) throw new Error('a transaction of no request');
  const [counted] = await db
    .select({ number: settlements.blockNumber, hash: settlements.blockHash })
    .from(settlements)
    .where(and(eq(settlements.requestId, requestId), eq(settlements.txHash, txHash), isNull(settlements.goneAt)))
    .limit(1);
  if (!counted) return evm.verify(request, txHash);
  const again = await evm.recheck(request, txHash, counted);
  if (again.outcome === 'moved') return again.to;
  return again.outcome === 'gone' ? { outcome: again.because } : again;
}

const EXPIRED_AT_ONCE = 100;

/** Ends what was not paid in time. */
export const requestExpirer = ({ db }: RequestWorkDeps): Worker => ({
  name: 'request-expirer',
  everyMs: 5_000,
  runOnce: async () => {
    const over = await db
      .select({ id: paymentRequests.id })
      .from(paymentRequests)
      .where(
        and(
          lte(paymentRequests.expiresAt, sql`now()`),
          inArray(paymentRequests.state, ['pending', 'authenticated', 'underpaid']),
        ),
      )
      .orderBy(paymentRequests.expiresAt)
      .limit(EXPIRED_AT_ONCE);
    for (const { id } of over) {
      await db.transaction(async (tx) => {
        await move(tx, await lockRequest(tx, id), 'clock');
        await failpoint('payments.request.before_expire_commit');
      });
    }
    return { more: over.length === EXPIRED_AT_ONCE };
  },
});
