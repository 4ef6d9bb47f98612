import { z } from 'zod';
import type { Alarm } from '../platform/audit-log.ts';
import type { Db } from '../platform/database/clients.ts';
import type { Cursors } from '../platform/http/lists.ts';
import type { App } from '../platform/http/server.ts';
import { answers, JsonObject } from '../platform/http/wire.ts';
import type { Vault } from '../platform/secrets.ts';
import { accountRoutes } from './account-routes.ts';
import { apiKeyRoutes } from './api-key-routes.ts';
import type { Authenticator } from './authenticate.ts';
import { challengeRoutes } from './did/challenge-routes.ts';
import { didRoutes } from './did/did-routes.ts';
import type { ServiceDid } from './did/service-did.ts';
import { walletRoutes } from './did/wallet-routes.ts';
import type { KeyRing } from './keys.ts';
import { sessionRoutes } from './session-routes.ts';
import type { SessionPolicy } from './sessions.ts';

export interface IdentityDeps {
  db: Db;
  vault: Vault;
  cursors: Cursors;
  keys: KeyRing;
  serviceDid: ServiceDid;
  sessions: SessionPolicy;
  authenticator: Authenticator;
  alarm: Alarm;
  /** Attempts to log in per e-mail address and minute. */
  loginsPerMinute: number;
  publicUrl: string;
}

const DidDocumentOut = z
  .object({
    '@context': z.array(z.string()),
    id: z.string().describe('did:web of this host'),
    alsoKnownAs: z.array(z.string()).describe('the did:key that signs, and those that did'),
    verificationMethod: z.array(JsonObject),
    assertionMethod: z.array(z.string()),
  })
  .meta({ id: 'DidDocument' });

/** Accounts, sessions, API keys, DIDs and wallets. */
export function identityRoutes(app: App, deps: IdentityDeps): void {
  sessionRoutes(app, deps);
  accountRoutes(app, deps);
  apiKeyRoutes(app, deps);
  challengeRoutes(app, deps);
  didRoutes(app, deps);
  walletRoutes(app, deps);
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

  app.get(
    '/.well-known/did.json',
    {
      config: { access: 'anyone', rate: 'read' },
      schema: {
        tags: ['accounts'],
        summary: 'The DIDs by which we sign receipts',
        response: answers({ 200: DidDocumentOut }),
      },
    },
    async (_request, reply) => {
      reply.header('Cache-Control', 'public, max-age=60');
      return (await deps.serviceDid.document()) as z.infer<typeof DidDocumentOut>;
    },
  );
}
