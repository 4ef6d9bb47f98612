import { and, desc, sql } from 'drizzle-orm';
import { z } from 'zod';
import { audit } from '../platform/audit-log.ts';
import { callerOf } from '../platform/http/access.ts';
import { once } from '../platform/http/idempotency.ts';
import { listOf, pageQuery } from '../platform/http/lists.ts';
import { Problem } from '../platform/http/problem.ts';
import type { App } from '../platform/http/server.ts';
import { answers, headOut, idParam, line, timeOrNull, timeOut } from '../platform/http/wire.ts';
import { changeAccount, findAccount, offerReset, renderAccount } from './accounts.ts';
import type { IdentityDeps } from './routes.ts';
import { type Account, accounts } from './tables.ts';

const Role = z.enum(['user', 'merchant', 'operator']);

const OperatorAccountOut = z
  .object({ ...headOut('account'), email: z.string().nullable(), role: Role, disabled_at: timeOut.nullable() })
  .meta({ id: 'OperatorAccount' });

const render = (account: Account): z.infer<typeof OperatorAccountOut> => ({
  ...renderAccount(account),
  disabled_at: timeOrNull(account.disabledAt),
});

/** Accounts, as the operator sees them. */
export function identityOperatorRoutes(app: App, deps: IdentityDeps): void {
  const { db, vault, cursors, authenticator } = deps;

  app.get(
    '/v1/admin/accounts',
    {
      config: { access: 'operator', rate: 'read' },
      schema: {
        tags: ['operator'],
        summary: 'All accounts, or the one of an e-mail address',
        querystring: z.strictObject({ ...pageQuery, email: z.string().max(254).optional() }),
        response: answers({ 200: listOf(OperatorAccountOut) }),
      },
    },
    async (request) => {
      const after = cursors.read('accounts', 'operator', request.query);
      const rows = await db
        .select()
        .from(accounts)
        .where(
          and(
            request.query.email === undefined
              ? undefined
              : sql`lower(${accounts.email}) = lower(${request.query.email})`,
            after === null
              ? undefined
              : sql`(${accounts.createdAt}, ${accounts.id}) < (select created_at, id from ${accounts} where id = ${after}::uuid)`,
          ),
        )
        .orderBy(desc(accounts.createdAt), desc(accounts.id))
        .limit(request.query.limit + 1);
      return cursors.page('accounts', 'operator', request.query, rows, (account) => account.id, render);
    },
  );

  app.get(
    '/v1/admin/accounts/:id',
    {
      config: { access: 'operator', rate: 'read' },
      schema: {
        tags: ['operator'],
        summary: 'One account',
        params: idParam('account'),
        response: answers({ 200: OperatorAccountOut }),
      },
    },
    async (request) => {
      const account = await findAccount(db, request.params.id);
      if (!account) throw new Problem('not_found');
      return render(account);
    },
  );

  app.patch(
    '/v1/admin/accounts/:id',
    {
      config: { access: 'operator', rate: 'money' },
      schema: {
        tags: ['operator'],
        summary: 'Change the role of an account, or disable it; ends its sessions',
        params: idParam('account'),
        body: z
          .strictObject({ role: Role.optional(), disabled: z.boolean().optional(), reason: line(500) })
          .refine(({ role, disabled }) => role !== undefined || disabled !== undefined, 'must change something'),
        response: answers({ 200: OperatorAccountOut }),
      },
    },
    async (request) => {
      const { role, disabled, reason } = request.body;
      const account = await db.transaction(async (tx) => {
        const changed = await changeAccount(tx, request.params.id, {
          ...(role === undefined ? {} : { role }),
          ...(disabled === undefined ? {} : { disabled }),
        });
        if (!changed) throw new Problem('not_found');
        await audit(tx, {
          actor: callerOf(request).accountId,
          action: 'identity.account_changed',
          subjectId: request.params.id,
          detail: { role, disabled, reason },
          requestId: request.id,
        });
        return changed;
      });
      authenticator.forget(account.id);
      return render(account);
    },
  );

  app.post(
    '/v1/admin/accounts/:id/password-resets',
    {
      config: { access: 'operator', rate: 'auth', idempotency: 'accepted' },
      schema: {
        tags: ['operator'],
        summary: 'A one-time link by which the account can set a new password',
        params: idParam('account'),
        body: z.strictObject({ reason: line(500) }),
        response: answers({
          201: z.object({ object: z.literal('password_reset'), url: z.string(), expires_at: timeOut }),
        }),
      },
    },
    async (request, reply) =>
      once({ db, vault }, request, reply, async (tx) => {
        const account = await findAccount(tx, request.params.id);
        if (!account) throw new Problem('not_found');
        if (account.email === null) throw new Problem('conflict', 'The account has no e-mail address to log in with.');
        const { token, expiresAt } = await offerReset(tx, account.id);
        await audit(tx, {
          actor: callerOf(request).accountId,
          action: 'identity.password_reset_offered',
          subjectId: account.id,
          detail: { reason: request.body.reason },
          requestId: request.id,
        });
        const url = `${deps.publicUrl}/reset-password/${token}`;
        return { status: 201, body: { object: 'password_reset' as const, url, expires_at: expiresAt.toISOString() } };
      }),
  );
}
