import { z } from 'zod';
import { audit } from '../platform/audit-log.ts';
import type { Tx } from '../platform/database/clients.ts';
import { appendEvents } from '../platform/delivery/events.ts';
import { callerOf } from '../platform/http/access.ts';
import { once } from '../platform/http/idempotency.ts';
import { Problem } from '../platform/http/problem.ts';
import type { App } from '../platform/http/server.ts';
import { amount, amountIn, answers, idParam, line, MAX_AMOUNT } from '../platform/http/wire.ts';
import { newId, toWire } from '../platform/ids.ts';
import type { Vault } from '../platform/secrets.ts';
import { type Inflow, type Outcome, post } from './ledger.ts';
import { BalanceOut, type CreditsDeps, renderBalance } from './routes.ts';

interface OperatorDeps extends CreditsDeps {
  vault: Vault;
  /** Whether there is such an account; credits itself knows only numbers. */
  accountExists(tx: Tx, accountId: string): Promise<boolean>;
}

const MovedOut = z.object({
  object: z.literal('transfer_receipt'),
  transfer_id: z.string(),
  amount: z.int(),
  balance: BalanceOut,
});

/** Credits given or corrected by an operator, each with a reason that stays in the audit log. */
export function creditsOperatorRoutes(app: App, { db, balanceOf, vault, accountExists }: OperatorDeps): void {
  const move = async (
    tx: Tx,
    order: { accountId: string; kind: Inflow; credits: bigint; reason: string; actor: string; requestId: string },
  ) => {
    const { accountId, kind, credits, reason, actor, requestId } = order;
    if (!(await accountExists(tx, accountId))) throw new Problem('not_found');
    const id = newId();
    const outcome = await post(tx, kind, accountId, credits, { type: kind, id });
    if (outcome.result === 'insufficient') throw tooLittle(outcome);
    const wire = { credits: amount(credits), available: amount(outcome.available) };
    await audit(tx, {
      actor,
      action: `credits.${kind}`,
      subjectId: accountId,
      detail: { id, ...wire, reason },
      requestId,
    });
    await appendEvents(tx, [
      { accountId, type: `credits.${kind === 'grant' ? 'granted' : 'adjusted'}`, subjectId: id, payload: wire },
    ]);
    return {
      status: 201,
      body: {
        object: 'transfer_receipt' as const,
        transfer_id: toWire('transfer', outcome.transferId ?? id),
        amount: wire.credits,
        balance: renderBalance(outcome),
      },
    };
  };

  app.post(
    '/v1/admin/accounts/:id/grants',
    {
      config: { access: 'operator', rate: 'money', idempotency: 'required' },
      schema: {
        tags: ['operator'],
        summary: 'Give credits',
        params: idParam('account'),
        body: z.strictObject({ credits: amountIn, reason: line(500) }),
        response: answers({ 201: MovedOut }),
      },
    },
    async (request, reply) =>
      once({ db, vault }, request, reply, (tx) =>
        move(tx, {
          accountId: request.params.id,
          kind: 'grant',
          ...request.body,
          actor: callerOf(request).accountId,
          requestId: request.id,
        }),
      ),
  );

  app.post(
    '/v1/admin/accounts/:id/adjustments',
    {
      config: { access: 'operator', rate: 'money', idempotency: 'required' },
      schema: {
        tags: ['operator'],
        summary: 'Correct a balance; a negative amount takes credits away',
        params: idParam('account'),
        body: z.strictObject({
          credits: z
            .int()
            .min(-MAX_AMOUNT)
            .max(MAX_AMOUNT)
            .refine((n) => n !== 0, 'must not be 0')
            .transform(BigInt),
          reason: line(500),
        }),
        response: answers({ 201: MovedOut }),
      },
    },
    async (request, reply) =>
      once({ db, vault }, request, reply, (tx) =>
        move(tx, {
          accountId: request.params.id,
          kind: 'adjust',
          ...request.body,
          actor: callerOf(request).accountId,
          requestId: request.id,
        }),
      ),
  );

  app.get(
    '/v1/admin/accounts/:id/balance',
    {
      config: { access: 'operator', rate: 'read' },
      schema: {
        tags: ['operator'],
        summary: "An account's balance",
        params: idParam('account'),
        response: answers({ 200: BalanceOut }),
      },
    },
    async (request) => {
      const exists = await db.transaction((tx) => accountExists(tx, request.params.id));
      if (!exists) throw new Problem('not_found');
      return renderBalance(await balanceOf(request.params.id));
    },
  );
}

const tooLittle = (outcome: Outcome) =>
  new Problem('conflict', `The account has only ${outcome.available} credits available.`, {
    extra: { available: amount(outcome.available) },
  });
