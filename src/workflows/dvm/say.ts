import { createHash } from 'node:crypto';
import { eq, sql } from 'drizzle-orm';
import type { Tx } from '../../platform/database/clients.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { type EventTemplate, signEvent } from '../../platform/nostr/event.ts';
import { hideFrom } from './request.ts';
import type { Word } from './speak.ts';
import { jobs, words } from './tables.ts';

/**
 * Says something of a job: signs it, and writes it down beside the change that makes it true. Whoever publishes it later
 * publishes these bytes, however often: the id is what relays and customers tell repetitions by.
 */

export type Job = typeof jobs.$inferSelect;

const FEEDBACK = 7000;
/** The request's, and this (NIP-90). */
const RESULT_OFFSET = 1000;
const MAX_EVENT = 60_000; // bytes of its JSON, about; many relays take 64 KB
const MAX_REQUEST = 20_000; // of them, for the request that a result repeats

/** What an ask is on Nostr: millisatoshi, an invoice where there is one, and until when. */
export interface Price {
  amountMsat: bigint;
  bolt11?: string | undefined;
  /** Where people pay that invoice. */
  page?: string | undefined;
  expiresAt?: Date | undefined;
}

/** The job is locked. Answers the job as it is now. */
export async function say(
  tx: Tx,
  key: Uint8Array,
  job: Job,
  word: Word,
  { price, isLast = false }: { price?: Price | undefined; isLast?: boolean } = {},
): Promise<Job> {
  const at = Math.max(Math.floor(Date.now() / 1000), job.lastWordAt + 1);
  const event = signEvent({ ...templateOf(job, word, key, price), created_at: at }, key);
  const ask = 'ask' in word ? word.ask : null;
  await tx.insert(words).values({
    ...{ id: event.id, jobId: job.id, event, askId: ask, amountMsat: price?.amountMsat ?? null, isLast },
    seq: sql`(select coalesce(max(w.seq), 0) + 1 from workflows.nostr_events w where w.job_id = ${job.id})`,
  });
  const [changed] = await tx
    .update(jobs)
    .set({ lastWordAt: at, ...(isLast ? { closedAt: sql`now()` } : {}) })
    .where(eq(jobs.id, job.id))
    .returning();
  if (!changed) throw new Error('a job that vanished');
  await failpoint('workflows.nostr.after_say');
  return changed;
}

function templateOf(
  job: Job,
  word: Word,
  key: Uint8Array,
  price: Price | undefined,
): Omit<EventTemplate, 'created_at'> {
  const about = [
    ['e', job.id, (job.cipher === null && job.relays[0]) || ''],
    ['p', job.pubkey],
  ];
  const amount = price ? [['amount', String(price.amountMsat), ...(price.bolt11 ? [price.bolt11] : [])]] : [];
  const hidden = job.cipher === null ? [] : [['encrypted']];
  const hide = (text: string) => hideFrom(text, job, key);
  // NIP-90 leaves open how feedback is encrypted: clients (NDK, nostrdvm) take it for tags, as a request is, and fail at all else.
  const hideTags = (...tags: string[][]) => hide(JSON.stringify(tags));
  if (word.status === 'result') {
    const { request } = job;
    const repeated = JSON.stringify(request);
    const isShort = Buffer.byteLength(repeated) <= MAX_REQUEST; // else its id has to do
    const inputs = job.cipher === null && isShort ? request.tags.filter(([name]) => name === 'i') : [];
    const tags = [...(isShort ? [['request', repeated]] : []), ...about, ...inputs, ...amount, ...hidden];
    return { kind: request.kind + RESULT_OFFSET, tags, content: contentOf(job, word.content, hide, tags) };
  }
  if (word.status === 'partial') {
    const status = ['status', 'partial'];
    const tags = [status, ...about, ...hidden];
    const hidePart = job.cipher === null ? hide : (text: string) => hideTags(status, ['content', text]);
    return { kind: FEEDBACK, tags, content: contentOf(job, word.content, hidePart, tags) };
  }
  // What went wrong may tell of what was asked for.
  if (word.status === 'error' && job.cipher !== null)
    return {
      kind: FEEDBACK,
      tags: [['status', 'error', 'It is told in the content.'], ...about, ...hidden],
      content: hideTags(['status', 'error', word.info]),
    };
  const until = price?.expiresAt ? [['expiration', String(Math.floor(price.expiresAt.getTime() / 1000))]] : [];
  const info = price?.page ? `${word.info} People can pay it at ${price.page}` : word.info;
  return { kind: FEEDBACK, tags: [['status', word.status, info], ...amount, ...about, ...until], content: '' };
}

/** Text as it is, everything else as JSON. What relays would not take is told of, and read at the API. */
function contentOf({ runId }: Job, content: unknown, hide: (text: string) => string, tags: string[][]): string {
  const text = typeof content === 'string' ? content : JSON.stringify(content ?? null);
  const bytes = Buffer.byteLength(text);
  const hidden = bytes > MAX_EVENT ? '' : hide(text);
  // As it stands in the event: in quotes, with what that costs.
  const size = Math.max(bytes, Buffer.byteLength(JSON.stringify(hidden)) + Buffer.byteLength(JSON.stringify(tags)));
  if (size <= MAX_EVENT) return hidden;
  const sha256 = createHash('sha256').update(text).digest('hex');
  return hide(JSON.stringify({ too_large: true, sha256, bytes, run_id: runId }));
}
