import { setTimeout as sleep } from 'node:timers/promises';
import { type NostrEvent, verifyEvent } from 'nostr-tools/pure';
import type postgres from 'postgres';
import { aboutOf, hand, type JobWorld } from './jobs.ts';
import type { Tally } from './tally.ts';
import type { World } from './world.ts';
import { bring } from './zaps.ts';

/** How jobs over Nostr are reckoned up: what relays hold and what was paid, against what Farebox says of it. */

const GIVEN_UP = 200; // attempts to publish; or it had expired
const TRIES = 40;
const PAUSE_MS = 250;

/** Customers send again what no relay has any more, and bring the receipts that no relay tells of. */
export async function sendWhatWasLost(world: World, tally: Tally): Promise<void> {
  const { askings, zaps } = world.jobs;
  const held = heldBy(world.jobs);
  for (const asking of askings.filter(({ request, isTaken }) => isTaken && !held.has(request.id))) {
    tally.count('once more', 'a request');
    if (!(await insist(() => hand(asking.author, asking)))) tally.fault(`no relay takes ${asking.request.id}`);
  }
  const isUntold = (receipts: NostrEvent[]) => !receipts.some(({ id }) => held.has(id));
  for (const one of zaps.filter(({ receipts, isPaid, isTold }) => isPaid && !isTold && isUntold(receipts))) {
    tally.count('once more', 'a receipt');
    if (!(await insist(() => bring(world, one, tally)))) tally.fault(`nobody says what ${one.paymentHash} came to`);
  }
}

async function insist(deed: () => Promise<boolean>): Promise<boolean> {
  for (let tries = 0; tries < TRIES; tries += 1) {
    if (await deed()) return true;
    await sleep(PAUSE_MS);
  }
  return false;
}

const heldBy = ({ relays }: JobWorld) => new Set(relays.flatMap((relay) => relay.held().map(({ id }) => id)));

/** What relays hold, or was paid, and Farebox has not come to the end of; what waits for its customer is none of it. */
export async function unfinishedJobs(sql: postgres.Sql, { jobs }: World): Promise<Record<string, number>> {
  const held = heldBy(jobs);
  const requests = jobs.askings.filter(({ request, isForUs }) => isForUs && held.has(request.id));
  const unwanted = jobs.deletions.filter(({ event, isOwn }) => isOwn && held.has(event.id));
  const [row] = await sql<Record<string, number>[]>`
    select (select count(*)::int from unnest(${requests.map(({ request }) => request.id)}::text[]) as one where not exists (
        select from workflows.nostr_jobs j where j.id = one)) as "requests not heard",
      (select count(*)::int from unnest(${paidHashes(jobs)}::text[]) as one where not exists (
        select from payments.arrivals v where v.rail = 'lightning' and v.key = one) and not exists (
        select from payments.differences d where d.kind = 'zap_receipt' and d.reference = one)) as "zaps not heard",
      (select count(*)::int from workflows.nostr_jobs j where j.closed_at is null and not j.is_withdrawn
        and j.id = any (${unwanted.map(({ of }) => of.request.id)}::text[])) as "deletions not heard",
      (select count(*)::int from workflows.nostr_jobs j left join workflows.runs r on r.account_id = j.account_id and r.id = j.run_id
        where j.closed_at is null and (j.is_withdrawn or coalesce(r.state, '') not in ('awaiting_payment', 'paused')
          or (j.said ->> 'asked') is distinct from r.ask_id || ' ' || r.due)) as "jobs under way",
      (select count(*)::int from workflows.nostr_events where published_at is null and attempts < ${GIVEN_UP}) as "words to be published",
      (select count(*)::int from workflows.asks
        where state in ('open', 'part_paid') and expires_at < now() + interval '1 minute') as "asks at their end"`;
  return row ?? {};
}

const paidHashes = ({ zaps }: JobWorld) => zaps.flatMap(({ paymentHash, isPaid }) => (isPaid ? [paymentHash] : []));

/** As when the minute is over after which each relay is asked for everything that it has. */
export function askRelaysAgain({ relays }: JobWorld): void {
  for (const relay of relays) relay.cut();
}

interface JobRow {
  id: string;
  pubkey: string;
  isClosed: boolean;
  isWithdrawn: boolean;
  state: string | null;
  mode: string | null;
  milestones: number | null;
  paidParts: number;
  paid: number;
  cost: number;
  due: number;
  words: { id: string; event: NostrEvent; isLast: boolean; isPublished: boolean }[];
}

export async function checkJobs(sql: postgres.Sql, world: World, tally: Tally): Promise<void> {
  const { jobs } = world;
  const rows = await sql<JobRow[]>`
    select j.id, j.pubkey, j.closed_at is not null as "isClosed", j.is_withdrawn as "isWithdrawn", r.state, r.quote ->> 'mode' as mode,
      case jsonb_typeof(r.quote -> 'milestones') when 'array' then jsonb_array_length(r.quote -> 'milestones') end as milestones,
      coalesce(r.paid_parts, 0) as "paidParts", coalesce(r.paid, 0)::int as paid, coalesce(r.cost, 0)::int as cost, coalesce(r.due, 0)::int as due,
      coalesce((select json_agg(json_build_object('id', w.id, 'event', w.event, 'isLast', w.is_last, 'isPublished', w.published_at is not null)
        order by w.seq) from workflows.nostr_events w where w.job_id = j.id), '[]') as words
    from workflows.nostr_jobs j left join workflows.runs r on r.account_id = j.account_id and r.id = j.run_id`;
  checkRequests(jobs, rows, tally);
  checkWords(jobs, rows, tally);
  for (const row of rows) {
    checkEnd(row, jobs, tally);
    checkPaid(row, tally);
    tally.count('jobs in the end', row.isClosed ? (row.state ?? 'refused') : `waits (${row.state})`);
  }
  await checkZaps(sql, jobs, tally);
  await checkKeys(sql, tally);
}

/** Whatever relays hold that is for us is a job, once, of who has asked; nothing else is. */
function checkRequests(jobs: JobWorld, rows: JobRow[], tally: Tally): void {
  const known = new Map(rows.map((row) => [row.id, row]));
  const held = heldBy(jobs);
  for (const { request, author, isForUs } of jobs.askings) {
    const row = known.get(request.id);
    if (isForUs && held.has(request.id) && !row) tally.fault(`nobody has heard the request ${request.id}`);
    if (row && (!isForUs || row.pubkey !== author.pubkey))
      tally.fault(`the request ${request.id} is taken for another`);
  }
  const asked = new Set(jobs.askings.map(({ request }) => request.id));
  for (const { id } of rows) if (!asked.has(id)) tally.fault(`nobody asked for the job ${id}`);
  const unwanted = new Set(jobs.deletions.flatMap(({ of, isOwn }) => (isOwn ? [of.request.id] : [])));
  for (const row of rows)
    if (row.isWithdrawn && !unwanted.has(row.id)) tally.fault(`${row.id} was withdrawn by nobody`);
}

/** An event is what it is everywhere; each of ours is written down, signed, and was taken by a relay. */
function checkWords({ us, relays }: JobWorld, rows: JobRow[], tally: Tally): void {
  const written = new Map(rows.flatMap(({ words }) => words.map((word) => [word.id, word])));
  const seen = new Map<string, string>();
  for (const { maker, everHeld } of relays) {
    const own = everHeld().filter((event) => event.pubkey === us && aboutOf(event).job !== undefined);
    for (const event of own) {
      const text = textOf(event);
      if (seen.get(event.id) !== undefined && seen.get(event.id) !== text) tally.fault(`${event.id} is two: ${text}`);
      if (!seen.has(event.id) && !verifyEvent(JSON.parse(text))) tally.fault(`nobody has signed ${text}`);
      seen.set(event.id, text);
      const word = written.get(event.id);
      if (!word || textOf(word.event) !== text) tally.fault(`${maker} holds what was never said: ${text}`);
    }
    tally.count('words in the end', `${own.length} by ${maker}`);
  }
  for (const { id, isPublished } of written.values())
    if (isPublished && !seen.has(id)) tally.fault(`${id} is said to be published, and no relay has it`);
}

const textOf = ({ id, pubkey, created_at, kind, tags, content, sig }: NostrEvent) =>
  JSON.stringify({ id, pubkey, created_at, kind, tags, content, sig });

/** One last word, or the customer is asked for what is due. */
function checkEnd(row: JobRow, jobs: JobWorld, tally: Tally): void {
  const { id, words, isClosed, due } = row;
  const all = wordsAtRelays(row, jobs, tally);
  const last = words.at(-1);
  const heard = [...all.values()].map(wordIn).join(', ');
  if ([...all.values()].filter(isEnd).length > 1) tally.fault(`${id} has ended twice: ${heard}`);
  if (!last || !all.has(last.id)) {
    tally.fault(`the last word of ${id} was heard by nobody: ${heard}`);
    return;
  }
  const { word } = aboutOf(last.event);
  const isAsked = word === '7000 payment-required';
  if (isClosed !== last.isLast) tally.fault(`${id} ${isClosed ? 'is' : 'is not'} over: ${heard}`);
  // A job may end with what is owed for an older one.
  if (isClosed && !isEnd(last.event) && !(isAsked && row.state === null)) tally.fault(`${id} ended with ${word}`);
  if (!isClosed && (!isAsked || amountIn(last.event) !== due * 1_000)) tally.fault(`${id} waits, after ${heard}`);
}

/** What each relay holds, or held, about a job: one end at the most, and in the order of the seconds, without a tie. */
function wordsAtRelays({ id, words }: JobRow, { us, relays }: JobWorld, tally: Tally): Map<string, NostrEvent> {
  const orderOf = new Map(words.map((word, at) => [word.id, at]));
  const all = new Map<string, NostrEvent>();
  for (const { maker, everHeld } of relays) {
    const here = everHeld()
      .filter((event) => event.pubkey === us && aboutOf(event).job === id)
      .toSorted((a, b) => a.created_at - b.created_at);
    const inOrder = here.every(({ created_at, ...event }, at) => {
      const before = here[at - 1];
      return (
        !before || (before.created_at < created_at && (orderOf.get(before.id) ?? 0) < (orderOf.get(event.id) ?? 0))
      );
    });
    if (!inOrder) tally.fault(`words about ${id} are out of order at ${maker}: ${here.map(wordIn)}`);
    if (here.filter(isEnd).length > 1) tally.fault(`${id} has ended twice at ${maker}: ${here.map(wordIn)}`);
    for (const event of here) all.set(event.id, event);
  }
  return all;
}

const wordIn = (event: NostrEvent) => aboutOf(event).word;
const isEnd = (event: NostrEvent) => event.kind !== 7000 || wordIn(event) === '7000 error';
const amountIn = ({ tags }: NostrEvent) => Number(tags.find(([name]) => name === 'amount')?.[1]);

/** Nothing was delivered that is paid before it is delivered, and was not. */
function checkPaid(row: JobRow, tally: Tally): void {
  const { id, words, mode, milestones, paidParts, paid, cost, state } = row;
  if (mode !== 'upfront') return;
  const partial = words.filter(({ event }) => wordIn(event) === '7000 partial').length;
  if (milestones !== null && partial > paidParts)
    tally.fault(`${partial} parts of ${id} were told, and ${paidParts} paid`);
  if (words.some(({ event }) => event.kind !== 7000) && (paid !== cost || state !== 'succeeded'))
    tally.fault(`the result of ${id} was told, and ${paid} of ${cost} paid: ${state}`);
}

/** Whatever was paid is booked once, or waits for a person; what was not is neither believed nor counted. */
async function checkZaps(sql: postgres.Sql, jobs: JobWorld, tally: Tally): Promise<void> {
  const arrivals = await sql<
    { key: string; credits: number; pubkey: string | null; evidence: { receipt_id?: string } }[]
  >`
    select v.key, v.credits::int, v.evidence, (select min(c.pubkey) from workflows.nostr_customers c where c.account_id = v.account_id) as pubkey
    from payments.arrivals v where v.rail = 'lightning' and v.purchase_id is null`;
  const open = await sql<{ reference: string; code: string }[]>`
    select reference, detail ->> 'code' as code from payments.differences where kind = 'zap_receipt' and resolved_at is null`;
  const booked = new Map(arrivals.map((one) => [one.key, one]));
  const told = new Map(open.map(({ reference, code }) => [reference, code]));
  const paid = new Map(jobs.zaps.flatMap((zap) => (zap.isPaid ? [[zap.paymentHash, zap] as const] : [])));
  for (const [hash, { msat }] of paid) {
    const credits = booked.get(hash)?.credits;
    if (credits === undefined && !told.has(hash)) tally.fault(`${hash} was paid and nobody knows`);
    if (credits !== undefined && told.has(hash))
      tally.fault(`${hash} is booked, and waits for a person: ${told.get(hash)}`);
    if (credits !== undefined && BigInt(credits) !== msat / 1_000n)
      tally.fault(`${hash} of ${msat} is ${credits} credits`);
    tally.count('zaps in the end', credits === undefined ? `waits for a person: ${told.get(hash)}` : 'booked');
  }
  for (const [hash, { pubkey }] of booked) {
    if (!paid.has(hash)) tally.fault(`${hash} is booked, and nobody has paid it`);
    if (pubkey === null) tally.fault(`${hash} is booked to nobody on Nostr`);
  }
}

/** What a key has is what was zapped for it, less what its jobs took and gave back. */
async function checkKeys(sql: postgres.Sql, tally: Tally): Promise<void> {
  const rows = await sql<{ pubkey: string; has: number; expected: number }[]>`
    select c.pubkey,
      coalesce((select a.available + a.held - a.debt from credits.accounts a where a.account_id = c.account_id), 0)::int as has,
      ((select coalesce(sum(v.credits), 0) from payments.arrivals v where v.account_id = c.account_id)
        - (select coalesce(sum(r.paid - r.returned), 0) from workflows.runs r where r.account_id = c.account_id))::int as expected
    from workflows.nostr_customers c`;
  for (const { pubkey, has, expected } of rows)
    if (has !== expected) tally.fault(`the key ${pubkey} has ${has}, and should ${expected}`);
}
