import { and, desc, eq, lt, sql } from 'drizzle-orm';
import { z } from 'zod';
import type { Db } from '../platform/database/clients.ts';
import { prepared } from '../platform/database/statement.ts';
import { callerOf } from '../platform/http/access.ts';
import { type Cursors, listOf, PageQuery } from '../platform/http/lists.ts';
import type { App } from '../platform/http/server.ts';
import { amount, amountOut, answers, time, timeOut } from '../platform/http/wire.ts';
import { toWire } from '../platform/ids.ts';
import type { Balances } from './ledger.ts';
import { transfers } from './tables.ts';

export interface CreditsDeps {
  db: Db;
  balanceOf(accountId: string): Promise<Balances>;
  cursors: Cursors;
}

export const BalanceOut = z
  .object({
    object: z.literal('balance'),
    currency: z.literal('credit'),
    available: amountOut.describe('can be spent'),
    held: amountOut.describe('set aside for something that is not settled yet'),
    debt: amountOut.describe('is paid first from the next credits'),
  })
  .meta({ id: 'Balance' });

const TransferOut = z
  .object({
    object: z.literal('transfer'),
    id: z.string(),
    seq: z.int().describe('position in the account, without gaps'),
    kind: z.enum([
      'purchase',
      'grant',
      'spend',
      'return',
      'hold',
      'capture',
      'release',
      'clawback',
      'repay',
      'adjust',
      'link',
    ]),
    amount: amountOut,
    debit: z.string().describe('ledger account that the amount left'),
    credit: z.string().describe('ledger account that it went to'),
    available_after: amountOut,
    held_after: amountOut,
    debt_after: amountOut,
    cause: z.object({ type: z.string(), id: z.string() }),
    hash: z.string().describe('SHA-256 over the previous hash and this line, hex'),
    created_at: timeOut,
  })
  .meta({ id: 'Transfer' });

export const renderBalance = (balances: Balances): z.infer<typeof BalanceOut> => ({
  object: 'balance',
  currency: 'credit',
  available: amount(balances.available),
  held: amount(balances.held),
  debt: amount(balances.debt),
});

/** Causes whose ids have a form on the wire; others are shown as they are. */
const wireKinds = { run: 'run', purchase: 'purchase', hold: 'hold', refund: 'refund' } as const;
const causeId = (type: string, id: string) =>
  type in wireKinds ? toWire(wireKinds[type as keyof typeof wireKinds], id) : id;

const renderTransfer = (row: typeof transfers.$inferSelect): z.infer<typeof TransferOut> => ({
  object: 'transfer',
  id: toWire('transfer', row.id),
  seq: amount(row.seq),
  kind: row.kind as z.infer<typeof TransferOut>['kind'],
  amount: amount(row.amount),
  debit: row.debit,
  credit: row.credit,
  available_after: amount(row.availableAfter),
  held_after: amount(row.heldAfter),
  debt_after: amount(row.debtAfter),
  cause: { type: row.refType, id: causeId(row.refType, row.refId) },
  hash: row.hash.toString('hex'),
  created_at: time(row.createdAt),
});

const END = 2n ** 63n - 1n; // no transfer has it

const transfersBefore = prepared((db) =>
  db
    .select()
    .from(transfers)
    .where(and(eq(transfers.accountId, sql.placeholder('accountId')), lt(transfers.seq, sql.placeholder('before'))))
    .orderBy(desc(transfers.seq))
    .limit(sql.placeholder('limit'))
    .prepare('transfers_before'),
);

/** Balance and transfers of the caller. */
export function creditsRoutes(app: App, { db, balanceOf, cursors }: CreditsDeps): void {
  app.get(
    '/v1/credits/balance',
    {
      config: { access: 'read', rate: 'read' },
      schema: { tags: ['credits'], summary: 'Balance', response: answers({ 200: BalanceOut }) },
    },
    async (request) => renderBalance(await balanceOf(callerOf(request).accountId)),
  );

  app.get(
    '/v1/credits/transfers',
    {
      config: { access: 'read', rate: 'read' },
      schema: {
        tags: ['credits'],
        summary: "Every credit's way, newest first",
        querystring: PageQuery,
        response: answers({ 200: listOf(TransferOut) }),
      },
    },
    async (request) => {
      const { accountId } = callerOf(request);
      const after = cursors.read('transfers', accountId, request.query);
      const before = after === null ? END : BigInt(after);
      const rows = await transfersBefore(db).execute({ accountId, before, limit: request.query.limit + 1 });
      return cursors.page('transfers', accountId, request.query, rows, (row) => row.seq.toString(), renderTransfer);
    },
  );
}
