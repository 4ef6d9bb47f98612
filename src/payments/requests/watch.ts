import { and, asc, eq, inArray, isNull, sql } from 'drizzle-orm';
import { accountsOfWallet } from '../../identity/index.ts';
import type { Db, Tx } from '../../platform/database/clients.ts';
import type { Worker } from '../../platform/delivery/worker.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { differ } from '../differences.ts';
import type { Sighting } from '../rails/evm/watch.ts';
import { UNCLAIMED, unclaimedReference } from './apply.ts';
import type { RequestWorkDeps } from './check.ts';
import { note, type PaymentRequest } from './history.ts';
import { lockRequest, move } from './move.ts';
import { chainCursors, paymentRequests, requestTransactions, settlements } from './tables.ts';

const EVERY_MS = 5_000;

/**
 * Finds payments that nobody reported, by the transfers to the treasury. What it finds is treated as if the payer had
 * reported it: whether it pays, the chain says when it is looked at.
 */
export const chainWatcher = (deps: RequestWorkDeps & { wakeChecker(): void }): Worker => ({
  name: 'chain-watcher',
  everyMs: EVERY_MS,
  runOnce: async () => {
    let more = false;
    for (const chain of deps.evm.chains) more = !(await watchChain(deps, chain)) || more;
    return { more };
  },
});

/** True when it has seen the newest block, or the chain cannot be asked now. */
async function watchChain({ db, evm, log, wakeChecker }: Parameters<typeof chainWatcher>[0], chain: string) {
  const cursor = await readCursor(db, chain);
  const watched = await evm.watch(chain, cursor);
  if (watched.outcome === 'unknown') {
    log.warn({ chain, reason: watched.reason }, 'a chain could not be watched; it is read on from there later');
    return true;
  }
  await failpoint('payments.watch.after_look');
  const { sightings, next } = watched;
  let found = 0;
  for (const sighting of sightings) if (await db.transaction((tx) => take(tx, chain, sighting))) found += 1;
  await failpoint('payments.watch.before_cursor');
  await moveCursor(db, chain, cursor, next);
  await failpoint('payments.watch.after_cursor');
  if (found > 0) wakeChecker();
  return watched.isCaughtUp;
}

async function readCursor(db: Db, chain: string): Promise<bigint | null> {
  const [row] = await db.select().from(chainCursors).where(eq(chainCursors.chain, chain));
  return row?.nextBlock ?? null;
}

/** Forward only: another replica may have read further meanwhile. */
const moveCursor = (db: Db, chain: string, cursor: bigint | null, next: bigint) =>
  cursor === next
    ? undefined
    : db
        .insert(chainCursors)
        .values({ chain, nextBlock: next })
        .onConflictDoUpdate({
          target: chainCursors.chain,
          set: { nextBlock: sql`greatest(${chainCursors.nextBlock}, excluded.next_block)` },
        });

/**
 * Adds the transaction to the request that it pays; true when that is news. Twice is the same as once. What comes from a
 * wallet that nobody here has proved to be theirs is no business of ours.
 */
async function take(tx: Tx, chain: string, sighting: Sighting): Promise<boolean> {
  const accounts = await accountsOfWallet(tx, sighting.from);
  if (accounts.length === 0 || (await isKnown(tx, chain, sighting, accounts))) return false;
  const chosen = choose(await requestsOf(tx, sighting, accounts), sighting.amount);
  if (chosen === undefined) {
    await tellUnclaimed(tx, chain, sighting);
    return false;
  }
  const request = await lockRequest(tx, chosen.id);
  const { txHash } = sighting;
  const added = await tx
    .insert(requestTransactions)
    .values({ requestId: request.id, txHash, nextCheckAt: sql`now()` })
    .onConflictDoNothing()
    .returning({ txHash: requestTransactions.txHash });
  if (added.length === 0) return false;
  await note(tx, request.id, { actor: 'chain', what: 'transaction_found', txHash });
  await move(tx, request, 'chain');
  await failpoint('payments.watch.before_commit');
  return true;
}

/** It has paid a request, or the payer has reported it. What others report of it means nothing. */
async function isKnown(tx: Tx, chain: string, { txHash, logIndex }: Sighting, accounts: string[]): Promise<boolean> {
  const settled = and(
    eq(settlements.chain, chain),
    eq(settlements.txHash, txHash),
    eq(settlements.logIndex, logIndex),
    isNull(settlements.goneAt),
  );
  if ((await tx.$count(settlements, settled)) > 0) return true;
  const [reported] = await tx
    .select({ id: paymentRequests.id })
    .from(requestTransactions)
    .innerJoin(paymentRequests, eq(paymentRequests.id, requestTransactions.requestId))
    .where(
      and(
        eq(requestTransactions.txHash, txHash),
        eq(paymentRequests.chain, chain),
        inArray(paymentRequests.payerAccountId, accounts),
      ),
    )
    .limit(1);
  return reported !== undefined;
}

const MOST_CANDIDATES = 100;

/** Agreed to by the owner of the wallet, in this asset, and not paid: those that are open first, and the oldest of them. */
const requestsOf = (tx: Tx, { asset }: Sighting, accounts: string[]): Promise<PaymentRequest[]> =>
  tx
    .select()
    .from(paymentRequests)
    .where(
      and(
        inArray(paymentRequests.payerAccountId, accounts),
        eq(paymentRequests.asset, asset),
        inArray(paymentRequests.state, ['authenticated', 'underpaid', 'expired']),
      ),
    )
    .orderBy(asc(sql`${paymentRequests.state} = 'expired'`), asc(paymentRequests.createdAt))
    .limit(MOST_CANDIDATES);

/** The one of which exactly so much is missing; where none is, the only one that is open. */
export function choose(
  candidates: Pick<PaymentRequest, 'id' | 'amount' | 'received' | 'state'>[],
  amount: bigint,
): { id: string } | undefined {
  const exact = candidates.find((one) => BigInt(one.amount) - BigInt(one.received) === amount);
  const open = candidates.filter(({ state }) => state !== 'expired');
  return exact ?? (open.length === 1 ? open[0] : undefined);
}

/** A payer's money that fits no request, or could be for any of several: the payer may yet say, and an operator sees it. */
async function tellUnclaimed(
  tx: Tx,
  chain: string,
  { txHash, logIndex, from, amount, asset }: Sighting,
): Promise<void> {
  const detail = { chain, asset, tx_hash: txHash, from, amount: amount.toString() };
  await differ(tx, UNCLAIMED, unclaimedReference(chain, txHash, logIndex), null, detail);
}
