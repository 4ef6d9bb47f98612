import { type SQL, sql } from 'drizzle-orm';
import type { Db, Tx } from '../database/clients.ts';
import type { Figure } from './panel.ts';

/** What a busy installation may cost the page of a person who looks: beyond it a figure says that it was not counted. */
const WITHIN_MS = 2_000;
const QUERY_CANCELED = '57014';

/** The hours of the last day: how many of them ago. For `group by`. */
export const hoursAgo = (moment: SQL) => sql<number>`floor(extract(epoch from now() - ${moment}) / 3600)::int`;

export const withinADay = (moment: SQL) => sql`${moment} > now() - interval '24 hours'`;

interface Hour {
  ago: number;
  sum: string;
}

/** Sums by hour, told by `tell`; when the database needs too long, so it is said. */
export async function figure(
  db: Db,
  label: string,
  count: (tx: Tx) => Promise<Hour[]>,
  tell: (sum: bigint) => string,
): Promise<Figure> {
  const rows = await inTime(db, count);
  if (rows === undefined) return { label, text: 'not counted', hours: null, note: 'It was too much to count in time.' };
  const hours = Array.from({ length: 24 }, (_, i) => Number(rows.find(({ ago }) => ago === 23 - i)?.sum ?? 0));
  return { label, text: tell(rows.reduce((sum, hour) => sum + BigInt(hour.sum), 0n)), hours };
}

async function inTime<T>(db: Db, read: (tx: Tx) => Promise<T>): Promise<T | undefined> {
  try {
    return await db.transaction(
      async (tx) => {
        await tx.execute(sql.raw(`set local statement_timeout = ${WITHIN_MS}`));
        return read(tx);
      },
      { accessMode: 'read only' },
    );
  } catch (fault) {
    if ((fault as { cause?: { code?: string } }).cause?.code === QUERY_CANCELED) return undefined;
    throw fault;
  }
}
