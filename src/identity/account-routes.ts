import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import { audit } from '../platform/audit-log.ts';
import { callerOf } from '../platform/http/access.ts';
import { check } from '../platform/http/limits.ts';
import { Problem } from '../platform/http/problem.ts';
import type { App } from '../platform/http/server.ts';
import { answers } from '../platform/http/wire.ts';
import {
  AccountOut,
  changeEmail,
  changePassword,
  confirmPassword,
  Email,
  findAccount,
  hashNewPassword,
  Password,
  renderAccount,
} from './accounts.ts';
import type { IdentityDeps } from './routes.ts';
import { openSession, renderSession, SessionOut } from './sessions.ts';

/** The caller's own account. */
export function accountRoutes(app: App, { db, sessions, authenticator, alarm, loginsPerMinute }: IdentityDeps): void {
  // Whoever holds a stolen token may not try passwords any faster than at the log-in.
  const perAccount = check(app as never, 'password', loginsPerMinute, (request) => callerOf(request).accountId);
  const confirm = async (request: FastifyRequest, password: string) => {
    const { accountId } = callerOf(request);
    return confirmPassword(db, accountId, password).catch((fault) => {
      if (fault instanceof Problem && fault.status === 401) {
        alarm({ actor: accountId, action: 'security.password_refused', requestId: request.id });
      }
      throw fault;
    });
  };

  app.get(
    '/v1/me',
    {
      config: { access: 'read', rate: 'read' },
      schema: { tags: ['accounts'], summary: 'The own account', response: answers({ 200: AccountOut }) },
    },
    async (request) => {
      const account = await findAccount(db, callerOf(request).accountId);
      if (!account) throw new Problem('not_found');
      return renderAccount(account);
    },
  );

  app.patch(
    '/v1/me',
    {
      config: { access: 'login', rate: 'auth' },
      preHandler: perAccount,
      schema: {
        tags: ['accounts'],
        summary: 'Change the e-mail address',
        body: z.strictObject({ email: Email, current_password: Password }),
        response: answers({ 200: AccountOut }),
      },
    },
    async (request) => {
      const confirmed = await confirm(request, request.body.current_password);
      return db.transaction(async (tx) => {
        const account = await changeEmail(tx, confirmed, request.body.email);
        await audit(tx, {
          actor: account.id,
          action: 'identity.email_changed',
          subjectId: account.id,
          requestId: request.id,
        });
        return renderAccount(account);
      });
    },
  );

  app.post(
    '/v1/me/password',
    {
      config: { access: 'login', rate: 'auth', idempotency: 'none' },
      preHandler: perAccount,
      schema: {
        tags: ['accounts'],
        summary: 'Change the password; ends all sessions and opens a new one',
        body: z.strictObject({ current_password: Password, new_password: Password }),
        response: answers({ 200: SessionOut }),
      },
    },
    async (request) => {
      const confirmed = await confirm(request, request.body.current_password);
      const passwordHash = await hashNewPassword(request.body.new_password);
      const session = await db.transaction(async (tx) => {
        const account = await changePassword(tx, confirmed, passwordHash);
        await audit(tx, {
          actor: account.id,
          action: 'identity.password_changed',
          subjectId: account.id,
          requestId: request.id,
        });
        return openSession(tx, sessions, account);
      });
      authenticator.forget(confirmed.id);
      return renderSession(session);
    },
  );
}
