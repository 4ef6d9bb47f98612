import { createHash } from 'node:crypto';
import { and, eq } from 'drizzle-orm';
import type { Db, Tx } from '../../platform/database/clients.ts';
import { Problem } from '../../platform/http/problem.ts';
import { fromWire } from '../../platform/ids.ts';
import { cancelIn } from '../finish.ts';
import type { Service } from '../services.ts';
import { type RunOrder, type Started, startRun } from '../start-run.ts';
import { runs, services } from '../tables.ts';
import { workflowFor } from './customers.ts';
import type { DvmDeps } from './deps.ts';
import { priceOf } from './price.ts';
import { fitTo, type JobRequest, readRequest, Unreadable } from './request.ts';
import { type Job, say } from './say.ts';
import type { Word } from './speak.ts';
import { jobs } from './tables.ts';

/** Begins a job: finds who does it, and starts or asks. The run's key is the id of the request, so that again is a replay. */

const MAX_AGE_MS = 24 * 3_600_000;
/** Begun again it is another matter: somebody else is at it, or its price was changed a moment ago. */
const PASSING = new Set(['request_in_flight', 'price_changed']);

type Outcome = { runId: string } | { word: Word };

/** False: what it asks for is asked for later. */
export async function begin(deps: DvmDeps, job: Job): Promise<boolean> {
  const outcome = await attempt(deps, job);
  const asked = 'word' in outcome && outcome.word.status === 'payment-required' ? outcome.word.ask : undefined;
  if (asked && !(await deps.invoicing.prepare(job.accountId, asked))) return false;
  const runId = await deps.db.transaction(async (tx) => {
    const [now] = await tx.select().from(jobs).where(eq(jobs.id, job.id)).for('update');
    if (!now || now.runId !== null) return undefined;
    // Whoever began it before may have died, or be slower: what has a run is not refused, whatever is true by now.
    const runId = 'runId' in outcome ? outcome.runId : await runOf(tx, job);
    if (runId === undefined) {
      if ('word' in outcome && now.closedAt === null) await refuse(tx, deps, now, outcome.word);
    } else if (now.closedAt === null) {
      await tx.update(jobs).set({ runId, failures: 0 }).where(eq(jobs.id, job.id));
    } else await cancelIn(tx, { accountId: job.accountId, id: runId }); // its author was told meanwhile that there is none
    return runId;
  });
  if (runId !== undefined) deps.wakeDispatcher();
  return true;
}

const keyOf = ({ id }: Job) => ({ key: `nostr:${id}`, requestHash: createHash('sha256').update(id).digest() });

async function runOf(tx: Tx, job: Job): Promise<string | undefined> {
  const { key, requestHash } = keyOf(job);
  const isIts = and(
    ...[eq(runs.accountId, job.accountId), eq(runs.idempotencyKey, key), eq(runs.requestHash, requestHash)],
  );
  const [run] = await tx.select({ id: runs.id }).from(runs).where(isIts);
  return run?.id;
}

async function refuse(tx: Tx, deps: DvmDeps, job: Job, word: Word): Promise<void> {
  const price = word.status === 'payment-required' ? await priceOf(tx, deps, word.ask, word.credits) : undefined;
  await say(tx, deps.key, job, word, { price, isLast: true });
}

const error = (info: string): Outcome => ({ word: { status: 'error', info } });

async function attempt(deps: DvmDeps, job: Job): Promise<Outcome> {
  const { request } = job;
  if (job.isWithdrawn) return error('Cancelled. Nothing was charged.');
  if (Date.now() - request.created_at * 1000 > MAX_AGE_MS) return error('The request is older than a day.');
  const service = await serviceOf(deps.db, request.kind);
  if (!service) return error('No job of this kind is done here.');
  try {
    const asked = readRequest(request, deps.key);
    if (asked.until && asked.until.getTime() <= Date.now()) return error('The request has expired.');
    return { runId: (await start(deps, job, service, asked)).run.id };
  } catch (fault) {
    if (fault instanceof Unreadable) return error(fault.message);
    if (fault instanceof Problem && fault.status < 500 && !PASSING.has(fault.code)) return refusalOf(fault);
    throw fault;
  }
}

async function serviceOf(on: Db | Tx, kind: number): Promise<Service | undefined> {
  const [service] = await on
    .select()
    .from(services)
    .where(and(eq(services.nostrKind, kind), eq(services.active, true)));
  return service;
}

async function start(deps: DvmDeps, job: Job, service: Service, asked: JobRequest): Promise<Started> {
  const { accountId } = job;
  const workflow = await deps.db.transaction((tx) => workflowFor(tx, accountId, service));
  const order: RunOrder = {
    // At the price that the bid is compared with: another job of the key may agree to a new one meanwhile.
    ...{ accountId, workflowId: workflow.id, ...keyOf(job), expectedCost: workflow.creditCost, isAsked: true },
    input: fitTo(service.inputSchema as object, asked.input),
    payment: service.payment.mode === 'flexible' ? asked.payment : undefined,
    until: asked.until ?? undefined,
  };
  const most = asked.bidMsat === null ? undefined : creditsFor(service, asked.bidMsat);
  if (most === undefined || most >= workflow.creditCost) return startRun(deps, order);
  // It is told what it costs, and begins when that is paid.
  return startRun(deps, { ...order, isHeldBack: true });
}

const creditsFor = ({ payment }: Service, msat: bigint): bigint | undefined => {
  const terms = payment.rails.find((one) => one.rail === 'lightning');
  return terms && msat / BigInt(terms.price_per_credit);
};

/** What REST answers with a problem. An older debt is asked for; everything else is told in words. */
function refusalOf({ code, message, errors, extra }: Problem): Outcome {
  const ask = extra['ask_id'];
  if (code === 'credit_limit_reached' && typeof ask === 'string') {
    const credits = BigInt(String(extra['amount']));
    return {
      word: {
        status: 'payment-required',
        info: 'An earlier job is to be paid first.',
        ask: fromWire('ask', ask),
        credits,
      },
    };
  }
  const [first] = errors;
  return error(first ? `${first.pointer} ${first.detail}` : message);
}
