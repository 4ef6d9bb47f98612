import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import { type Alarm, audit } from '../platform/audit-log.ts';
import type { Db } from '../platform/database/clients.ts';
import { callerOf, scopes } from '../platform/http/access.ts';
import { once } from '../platform/http/idempotency.ts';
import { check } from '../platform/http/limits.ts';
import { type Cursors, listOf, PageQuery } from '../platform/http/lists.ts';
import { Problem } from '../platform/http/problem.ts';
import type { App } from '../platform/http/server.ts';
import { answers, head, headOut, idParam, line, Nothing, timeOrNull, timeOut } from '../platform/http/wire.ts';
import type { Vault } from '../platform/secrets.ts';
import {
  changeEmail,
  changePassword,
  confirmPassword,
  findAccount,
  hashNewPassword,
  logIn,
  register,
  useReset,
} from './accounts.ts';
import { type ApiKey, countApiKeys, createApiKey, listApiKeys, revokeApiKey } from './api-keys.ts';
import type { Authenticator } from './authenticate.ts';
import type { KeyRing } from './keys.ts';
import { endSession, lockAccount, openSession, refresh, type Session, type SessionPolicy } from './sessions.ts';
import type { Account } from './tables.ts';

export interface IdentityDeps {
  db: Db;
  vault: Vault;
  cursors: Cursors;
  keys: KeyRing;
  sessions: SessionPolicy;
  authenticator: Authenticator;
  alarm: Alarm;
  /** Attempts to log in per e-mail address and minute. */
  loginsPerMinute: number;
  publicUrl: string;
}

const MAX_API_KEYS = 50;

export const Email = z.email('must be an e-mail address').max(254);
const Password = z.string().max(1024); // its own rules are told by `checkNewPassword`
const Credentials = z.strictObject({ email: Email, password: Password });

const AccountOut = z
  .object({ ...headOut('account'), email: z.string().nullable(), role: z.enum(['user', 'merchant', 'operator']) })
  .meta({ id: 'Account' });

const SessionOut = z
  .object({
    object: z.literal('session'),
    access_token: z.string(),
    token_type: z.literal('Bearer'),
    expires_in: z.int().describe('seconds'),
    refresh_token: z.string().describe('good for one use'),
  })
  .meta({ id: 'Session' });

const ApiKeyOut = z
  .object({
    ...headOut('apiKey'),
    object: z.literal('api_key'),
    name: z.string(),
    prefix: z.string(),
    scopes: z.array(z.string()),
    expires_at: timeOut.nullable(),
    last_used_at: timeOut.nullable(),
  })
  .meta({ id: 'ApiKey' });
const NewApiKeyOut = ApiKeyOut.extend({ key: z.string().describe('shown this once') }).meta({ id: 'NewApiKey' });

export const renderAccount = (account: Account): z.infer<typeof AccountOut> => ({
  ...head('account', account),
  email: account.email,
  role: account.role,
});

const renderSession = (session: Session): z.infer<typeof SessionOut> => ({
  object: 'session',
  access_token: session.accessToken,
  token_type: 'Bearer',
  expires_in: session.expiresInS,
  refresh_token: session.refreshToken,
});

const renderApiKey = (key: ApiKey): z.infer<typeof ApiKeyOut> => ({
  ...head('apiKey', key),
  object: 'api_key',
  name: key.name,
  prefix: key.prefix,
  scopes: key.scopes,
  expires_at: timeOrNull(key.expiresAt),
  last_used_at: timeOrNull(key.lastUsedAt),
});

/** Accounts, sessions and API keys. */
export function identityRoutes(app: App, deps: IdentityDeps): void {
  authRoutes(app, deps);
  ownAccountRoutes(app, deps);
  apiKeyRoutes(app, deps);
  app.get(
    '/.well-known/jwks.json',
    {
      config: { access: 'anyone', rate: 'read' },
      schema: {
        tags: ['accounts'],
        summary: 'Keys that verify our tokens',
        response: answers({ 200: z.object({ keys: z.array(z.record(z.string(), z.string())) }) }),
      },
    },
    async (_request, reply) => {
      reply.header('Cache-Control', 'public, max-age=60');
      return deps.keys.jwks();
    },
  );
}

function authRoutes(app: App, { db, sessions, authenticator, alarm, loginsPerMinute }: IdentityDeps): void {
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

function ownAccountRoutes(app: App, { db, sessions, authenticator, alarm, loginsPerMinute }: IdentityDeps): void {
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

function apiKeyRoutes(app: App, { db, vault, cursors, authenticator }: IdentityDeps): void {
  app.get(
    '/v1/api-keys',
    {
      config: { access: 'login', rate: 'read' },
      schema: {
        tags: ['accounts'],
        summary: 'API keys in force',
        querystring: PageQuery,
        response: answers({ 200: listOf(ApiKeyOut) }),
      },
    },
    async (request) => {
      const { accountId } = callerOf(request);
      const after = cursors.read('api-keys', accountId, request.query);
      const rows = await listApiKeys(db, accountId, after, request.query.limit + 1);
      return cursors.page('api-keys', accountId, request.query, rows, (key) => key.id, renderApiKey);
    },
  );

  app.post(
    '/v1/api-keys',
    {
      config: { access: 'login', rate: 'auth', idempotency: 'accepted' },
      schema: {
        tags: ['accounts'],
        summary: 'Make an API key',
        body: z.strictObject({
          name: line(100),
          scopes: z.array(z.enum(scopes)).min(1).max(scopes.length).describe('what the key may do'),
          expires_at: z.iso
            .datetime({ offset: true })
            .transform((text) => new Date(text))
            .refine((date) => date.getTime() > Date.now(), 'must be in the future')
            .nullable()
            .default(null),
        }),
        response: answers({ 201: NewApiKeyOut }),
      },
    },
    async (request, reply) => {
      const { accountId, role } = callerOf(request);
      const wanted = {
        name: request.body.name,
        scopes: [...new Set(request.body.scopes)],
        expiresAt: request.body.expires_at,
      };
      if (wanted.scopes.includes('operator') && role !== 'operator') throw new Problem('forbidden');
      return once({ db, vault }, request, reply, async (tx) => {
        await lockAccount(tx, accountId); // so that keys made at once are counted
        if ((await countApiKeys(tx, accountId)) >= MAX_API_KEYS) {
          throw new Problem('conflict', `An account has at most ${MAX_API_KEYS} API keys. Revoke one first.`);
        }
        const { key, secret } = await createApiKey(tx, accountId, wanted);
        await audit(tx, {
          actor: accountId,
          action: 'identity.api_key_created',
          subjectId: key.id,
          detail: { scopes: key.scopes },
          requestId: request.id,
        });
        return { status: 201, body: { ...renderApiKey(key), key: secret }, headers: { location: '/v1/api-keys' } };
      });
    },
  );

  app.delete(
    '/v1/api-keys/:id',
    {
      config: { access: 'login', rate: 'auth' },
      schema: {
        tags: ['accounts'],
        summary: 'Revoke an API key',
        params: idParam('apiKey'),
        response: answers({ 204: Nothing }),
      },
    },
    async (request, reply) => {
      const { accountId } = callerOf(request);
      await db.transaction(async (tx) => {
        if (!(await revokeApiKey(tx, accountId, request.params.id))) throw new Problem('not_found');
        await audit(tx, {
          actor: accountId,
          action: 'identity.api_key_revoked',
          subjectId: request.params.id,
          requestId: request.id,
        });
      });
      authenticator.forget(accountId);
      return reply.code(204).send(null);
    },
  );
}
