import { and, asc, eq, gt, type SQL, sql } from 'drizzle-orm';
import type { Tx } from '../../platform/database/clients.ts';
import { inParallel } from '../../platform/delivery/in-parallel.ts';
import type { Worker } from '../../platform/delivery/worker.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { canBeRead } from '../asks/advance.ts';
import { asks } from '../asks/tables.ts';
import { cancelIn } from '../finish.ts';
import { isOver, type Run } from '../runs.ts';
import { parts, runs } from '../tables.ts';
import { begin } from './begin.ts';
import type { DvmDeps } from './deps.ts';
import type { Invoicing } from './invoices.ts';
import { priceOf } from './price.ts';
import { type Job, say } from './say.ts';
import { askedAs, type Speech, type Standing, speak, type Word } from './speak.ts';
import { jobs } from './tables.ts';

/**
 * Looks at the jobs that are open and have changed: begins them, and says what has become true of their runs. It goes by
 * how things stand and not by what happened, so a crash, a lost bell or a second replica changes nothing of what is said.
 */

const EVERY_MS = 500;
const AT_ONCE = 50;
const HANDS = 2;
const MAX_BACKOFF_S = 300;
const WALLET_MS = 2_000; // of a round: whoever has only to be told something does not wait for the invoices of others
const LATER_S = 1;
const MAX_LOOKS = 4; // what is due may change while the wallet is asked; the next round goes on

/** Everything of a run that something may be said about. */
const standing: SQL<string> = sql`concat_ws(' ', ${runs.state}, ${runs.askId}, ${runs.due}, ${runs.paid}, ${runs.paidParts},
  (select max(p.number) from workflows.parts p where p.account_id = ${runs.accountId} and p.run_id = ${runs.id}),
  (select a.surplus from workflows.asks a where a.account_id = ${runs.accountId} and a.id = ${runs.askId}))`;

export const jobWorker = (deps: DvmDeps): Worker => ({
  name: 'nostr-jobs',
  everyMs: EVERY_MS,
  runOnce: async () => {
    const due = await deps.db
      .select({ job: jobs })
      .from(jobs)
      .leftJoin(runs, and(eq(runs.accountId, jobs.accountId), eq(runs.id, jobs.runId)))
      .where(
        and(
          sql`${jobs.closedAt} is null and ${jobs.nextAt} <= now()`,
          sql`(${jobs.runId} is null or ${jobs.isWithdrawn} or ${jobs.heard} is distinct from ${standing})`,
        ),
      )
      .orderBy(asc(jobs.nextAt))
      .limit(AT_ONCE);
    const invoicing = within(deps.invoicing, Date.now() + WALLET_MS);
    await inParallel(due, HANDS, ({ job }) => attempt({ ...deps, invoicing }, job));
    if (due.length > 0) deps.wakePublisher();
    return { more: due.length === AT_ONCE };
  },
});

/** Asks the wallet for no more invoices after a moment. */
const within = (invoicing: Invoicing, until: number): Invoicing => ({
  ...invoicing,
  prepare: async (...of) => Date.now() < until && invoicing.prepare(...of),
});

/** One that cannot be done now does not keep the others from it. */
async function attempt(deps: DvmDeps, job: Job): Promise<void> {
  try {
    const isDone = await (job.runId === null ? begin(deps, job) : follow(deps, job));
    if (isDone) return;
    // Behind all the others, for it would be the first one again.
    const nextAt = sql`now() + make_interval(secs => ${LATER_S})`;
    await deps.db.update(jobs).set({ nextAt }).where(eq(jobs.id, job.id));
  } catch (fault) {
    deps.log.error({ err: fault, job: job.id }, 'a job of Nostr could not be looked at; it is tried again');
    const wait = Math.min(MAX_BACKOFF_S, 2 ** job.failures);
    await deps.db
      .update(jobs)
      .set({ failures: sql`${jobs.failures} + 1`, nextAt: sql`now() + make_interval(secs => ${wait})` })
      .where(eq(jobs.id, job.id));
  }
}

/** An ask is made public with its invoice, which is made between two looks. False: later. */
async function follow(deps: DvmDeps, { id, accountId }: Job): Promise<boolean> {
  let prepared: string | undefined;
  for (let looks = 0; looks < MAX_LOOKS; looks += 1) {
    const asked = await deps.db.transaction((tx) => look(tx, deps, id, prepared));
    if (asked === undefined) return true;
    if (!(await deps.invoicing.prepare(accountId, asked.ask))) return false;
    prepared = askedAs(asked.ask, asked.credits);
  }
  return false;
}

/**
 * Says what has become true since it was looked at last. Job, run: in this order. Resolves to what is asked for, and has said
 * nothing then, where an invoice was not tried to be made for it.
 */
async function look(
  tx: Tx,
  deps: DvmDeps,
  id: string,
  prepared: string | undefined,
): Promise<{ ask: string; credits: bigint } | undefined> {
  const [job] = await tx.select().from(jobs).where(eq(jobs.id, id)).for('update');
  if (!job || job.closedAt !== null || job.runId === null) return undefined;
  const ref = { accountId: job.accountId, id: job.runId };
  const before = await read(tx, ref);
  if (job.isWithdrawn && !isOver(before.run.state)) await cancelIn(tx, ref);
  const now = job.isWithdrawn ? await read(tx, ref) : before;
  const speech = speak(await standingOf(tx, now, job.said.parts), job.said);
  const asked = deps.hasWallet
    ? speech.words.flatMap(askIn).find(({ ask, credits }) => askedAs(ask, credits) !== prepared)
    : undefined;
  if (asked) return asked;
  if (speech.cancels) await cancelIn(tx, ref);
  await speakUp(tx, deps, job, speech);
  await tx.update(jobs).set({ said: speech.said, heard: now.heard, failures: 0 }).where(eq(jobs.id, id));
  await failpoint('workflows.nostr.before_follow_commit');
  return undefined;
}

async function read(
  tx: Tx,
  { accountId, id }: { accountId: string; id: string },
): Promise<{ run: Run; heard: string }> {
  const [row] = await tx
    .select({ run: runs, heard: standing })
    .from(runs)
    .where(and(eq(runs.accountId, accountId), eq(runs.id, id)))
    .for('update');
  if (!row) throw new Error('a job without its run');
  return row;
}

async function standingOf(tx: Tx, { run }: { run: Run }, delivered: number): Promise<Standing> {
  const { accountId, id, askId } = run;
  const [asked] =
    askId === null
      ? []
      : await tx
          .select({ ask: asks, isLate: sql<boolean>`${asks.expiresAt} <= now()` })
          .from(asks)
          .where(and(eq(asks.accountId, accountId), eq(asks.id, askId)));
  const there = await tx
    .select({ number: parts.number, content: parts.content })
    .from(parts)
    .where(and(eq(parts.accountId, accountId), eq(parts.runId, id), gt(parts.number, delivered)))
    .orderBy(asc(parts.number));
  return {
    run,
    ask: asked ? { ...asked.ask, isLate: asked.isLate, underpay: run.quote?.underpay ?? 'reject' } : null,
    parts: there.filter(({ number }) => canBeRead(run, number)),
  };
}

async function speakUp(tx: Tx, deps: DvmDeps, job: Job, { words, isOver: ends }: Speech): Promise<void> {
  let now = job;
  for (const [at, word] of words.entries()) {
    const isLast = ends && at === words.length - 1;
    now = await say(tx, deps.key, now, word, { price: await priceOfWord(tx, deps, word), isLast });
  }
}

const askIn = (word: Word) =>
  'ask' in word && word.ask !== null && word.credits > 0n ? [{ ask: word.ask, credits: word.credits }] : [];

async function priceOfWord(tx: Tx, deps: DvmDeps, word: Word) {
  const [asked] = askIn(word);
  return asked && priceOf(tx, deps, asked.ask, asked.credits);
}
