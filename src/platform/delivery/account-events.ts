import type { Sql } from '../database/clients.ts';
import type { FeedEvent } from './feed.ts';

/**
 * The events of an account have an order of their own: by the transaction that wrote them, then by `seq`. Below the
 * horizon nothing is ever put between them, so that a place is all that a reader needs to go on from; and a place that
 * was told is that of a committed event, which no crash of the server takes back.
 */

const SEQ_BITS = 64n;
const PAGE = 500;
/** Before all events. */
export const FIRST_PLACE = 0n;

export interface EventRow {
  id: string;
  seq: bigint;
  xid: string;
  type: string;
  account_id: string | null;
  subject_id: string;
  payload: unknown;
  created_at: Date;
}

const placeOf = (xid: string, seq: bigint): bigint => (BigInt(xid) << SEQ_BITS) | seq;
const split = (place: bigint) => ({ xid: String(place >> SEQ_BITS), seq: BigInt.asUintN(64, place) });

export const toEvent = (row: Omit<EventRow, 'seq'> & { seq: bigint | null }): FeedEvent => {
  const seq = row.seq ?? 0n;
  return {
    ...{ id: row.id, seq, type: row.type, payload: row.payload, place: placeOf(row.xid, seq) },
    ...{ accountId: row.account_id, subjectId: row.subject_id, createdAt: row.created_at },
  };
};

/** The place of the newest event that is below the horizon. */
export async function lastPlace(sql: Sql, accountId: string): Promise<bigint> {
  const [row] = await sql<{ xid: string; seq: bigint }[]>`
    select xid::text as xid, seq from platform.events
    where account_id = ${accountId}::uuid and xid < platform.event_horizon()
    order by platform.events.xid desc, seq desc limit 1`;
  return row ? placeOf(row.xid, row.seq) : FIRST_PLACE;
}

/** What comes after a place and before a horizon, page by page. */
export async function* readOn(
  sql: Sql,
  accountId: string,
  after: bigint,
  horizon: string,
): AsyncGenerator<FeedEvent[]> {
  for (let from = after; ; ) {
    const { xid, seq } = split(from);
    const rows = await sql<EventRow[]>`
      select id, seq, xid::text as xid, type, account_id, subject_id, payload, created_at from platform.events
      where account_id = ${accountId}::uuid and (xid, seq) > (${xid}::text::xid8, ${seq}::bigint) and xid < ${horizon}::text::xid8
      order by platform.events.xid, seq limit ${PAGE}`;
    const page = rows.map(toEvent);
    yield page;
    from = page.at(-1)?.place ?? from;
    if (page.length < PAGE) return;
  }
}

/** Newest first, those before a place or all of them, of one type or of any. */
export async function listEvents(
  sql: Sql,
  accountId: string,
  { before, type, limit }: { before: bigint | null; type: string | null; limit: number },
): Promise<FeedEvent[]> {
  const end = before === null ? null : split(before);
  const rows = await sql<EventRow[]>`
    select id, seq, xid::text as xid, type, account_id, subject_id, payload, created_at from platform.events
    where account_id = ${accountId}::uuid ${type === null ? sql`` : sql`and type = ${type}`}
      ${end === null ? sql`` : sql`and (xid, seq) < (${end.xid}::text::xid8, ${end.seq}::bigint)`}
    order by platform.events.xid desc, seq desc limit ${limit}`;
  return rows.map(toEvent);
}
