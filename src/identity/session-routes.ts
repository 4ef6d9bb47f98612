import { z } from 'zod';
import { callerOf } from '../platform/http/access.ts';
import { check } from '../platform/http/limits.ts';
import { Problem } from '../platform/http/problem.ts';
import type { App } from '../platform/http/server.ts';
import { answers, Nothing } from '../platform/http/wire.ts';
import { AccountOut, Email, logIn, Password, register, renderAccount, useReset } from './accounts.ts';
import type { IdentityDeps } from './routes.ts';
import { endSession, openSession, refresh, renderSession, SessionOut } from './sessions.ts';

const Credentials = z.strictObject({ email: Email, password: Password });

/** Registering, logging in and out, and a password that was forgotten. */
export function sessionRoutes(app: App, { db, sessions, authenticator, alarm, loginsPerMinute }: IdentityDeps): void {
  const perEmail = check(app as never, 'login', loginsPerMinute, (request) =>
    (request.body as { email: string }).email.toLowerCase(),
  );
  const open = { access: 'anyone', rate: 'auth', idempotency: 'none' } as const;

  app.post(
    '/v1/auth/register',
    {
      config: open,
      preHandler: perEmail,
      schema: {
        tags: ['accounts'],
        summary: 'Open an account',
        body: Credentials,
        response: answers({ 201: AccountOut }),
      },
    },
    async (request, reply) => {
      const account = await register(db, request.body);
      reply.code(201).header('Location', '/v1/me');
      return renderAccount(account);
    },
  );

  app.post(
    '/v1/auth/login',
    {
      config: open,
      preHandler: perEmail,
      schema: { tags: ['accounts'], summary: 'Log in', body: Credentials, response: answers({ 200: SessionOut }) },
    },
    async (request) => {
      const account = await logIn(db, request.body.email, request.body.password).catch((fault) => {
        if (fault instanceof Problem && fault.status === 401) {
          alarm({ actor: 'anonymous', action: 'security.login_failed', requestId: request.id });
        }
        throw fault;
      });
      return renderSession(await db.transaction((tx) => openSession(tx, sessions, account)));
    },
  );

  app.post(
    '/v1/auth/refresh',
    {
      config: open,
      schema: {
        tags: ['accounts'],
        summary: 'Trade a refresh token for a new session',
        body: z.strictObject({ refresh_token: z.string().min(1).max(200) }),
        response: answers({ 200: SessionOut }),
      },
    },
    async (request) => {
      const outcome = await refresh(db, sessions, request.body.refresh_token);
      if (outcome.result === 'renewed') return renderSession(outcome.session);
      if (outcome.result === 'reused') {
        authenticator.forget(outcome.accountId);
        alarm({ actor: outcome.accountId, action: 'security.refresh_token_reused', requestId: request.id });
      }
      throw new Problem('invalid_refresh_token');
    },
  );

  app.post(
    '/v1/auth/logout',
    {
      config: { access: 'login', rate: 'auth', idempotency: 'none' },
      schema: { tags: ['accounts'], summary: 'End this session', response: answers({ 204: Nothing }) },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      await db.transaction((tx) => endSession(tx, caller.accountId, caller.credentialId));
      authenticator.forget(caller.accountId);
      return reply.code(204).send(null);
    },
  );

  app.post(
    '/v1/auth/password-reset',
    {
      config: open,
      schema: {
        tags: ['accounts'],
        summary: 'Set a new password with a one-time token',
        body: z.strictObject({ token: z.string().min(1).max(200), new_password: Password }),
        response: answers({ 204: Nothing }),
      },
    },
    async (request, reply) => {
      const account = await useReset(db, request.body.token, request.body.new_password, request.id);
      authenticator.forget(account.id);
      return reply.code(204).send(null);
    },
  );
}
