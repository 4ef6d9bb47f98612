import { z } from 'zod';
import { audit } from '../platform/audit-log.ts';
import { callerOf, scopes } from '../platform/http/access.ts';
import { once } from '../platform/http/idempotency.ts';
import { listOf, PageQuery } from '../platform/http/lists.ts';
import { Problem } from '../platform/http/problem.ts';
import type { App } from '../platform/http/server.ts';
import { answers, head, headOut, idParam, line, Nothing, timeOrNull, timeOut } from '../platform/http/wire.ts';
import { type ApiKey, countApiKeys, createApiKey, listApiKeys, revokeApiKey } from './api-keys.ts';
import type { IdentityDeps } from './routes.ts';
import { lockAccount } from './sessions.ts';

const MAX_API_KEYS = 50;

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

const renderApiKey = (key: ApiKey): z.infer<typeof ApiKeyOut> => ({
  ...head('apiKey', key),
  object: 'api_key',
  name: key.name,
  prefix: key.prefix,
  scopes: key.scopes,
  expires_at: timeOrNull(key.expiresAt),
  last_used_at: timeOrNull(key.lastUsedAt),
});

/** The caller's API keys. */
export function apiKeyRoutes(app: App, { db, vault, cursors, authenticator }: IdentityDeps): void {
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
