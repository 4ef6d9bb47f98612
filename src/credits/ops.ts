import { and, eq, or, type SQL, sql } from 'drizzle-orm';
import type { Db } from '../platform/database/clients.ts';
import { count } from '../platform/http/words.ts';
import { figure, hoursAgo, withinADay } from '../platform/ops/day.ts';
import type { Figures } from '../platform/ops/panel.ts';
import { transfers } from './tables.ts';

/** What the ledger has to say about the day. */
export const creditsFigures =
  (db: Db): Figures =>
  async () => {
    const sums = (label: string, which: SQL | undefined) => figure(db, label, (tx) => sumsByHour(tx, which), count);
    const { kind, credit } = transfers;
    return [
      await sums('Credited', and(eq(transfers.debit, 'issued'), eq(credit, 'available'))),
      await sums('Spent', or(eq(kind, 'spend'), and(eq(kind, 'capture'), eq(credit, 'revenue')))),
    ];
  };

const sumsByHour = (on: Pick<Db, 'select'>, which: SQL | undefined) => {
  const moment = sql`${transfers.createdAt}`;
  return on
    .select({ ago: hoursAgo(moment), sum: sql<string>`sum(${transfers.amount})::text` })
    .from(transfers)
    .where(and(withinADay(moment), which))
    .groupBy(sql`1`);
};
