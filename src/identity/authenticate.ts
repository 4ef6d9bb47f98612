import jwt from '@fastify/jwt';
import { and, eq, gt, isNull, or, sql } from 'drizzle-orm';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Db } from '../platform/database/clients.ts';
import { prepared } from '../platform/database/statement.ts';
import type { Authenticate, Principal } from '../platform/http/access.ts';
import { Problem } from '../platform/http/problem.ts';
import { fromWire } from '../platform/ids.ts';
import { hashToken } from '../platform/secrets.ts';
import { KEY_PREFIX } from './api-keys.ts';
import type { KeyRing } from './keys.ts';
import { accounts, apiKeys, refreshTokens } from './tables.ts';
import { ACCESS, ALGORITHM, CLOCK_TOLERANCE_MS, hasSaneClaims, REQUIRED_CLAIMS } from './tokens.ts';

/** How long a replica may believe that an account is as it was: the most that a revocation takes to be everywhere. */
const REMEMBERED_MS = 5_000;
const REMEMBERED = 50_000;
const LAST_USE_EVERY_MS = 60_000;
const NOBODY = ''; // whom a refusal belongs to
const API_KEY = new RegExp(`^Bearer ${KEY_PREFIX}`, 'i'); // RFC 9110 §11.1: the scheme has no case

/** Verified tokens are kept by the library, keyed by their hash: an uncached EdDSA verification costs 350 µs. */
const VERIFY_CACHE = 20_000;

/** Registers the verification of access tokens on a server. */
export async function acceptTokens(app: FastifyInstance, keys: KeyRing, issuer: string): Promise<void> {
  await app.register(jwt, {
    secret: async (_request: FastifyRequest, token: unknown) => {
      // With `complete` the decoder hands over the header, whatever the plugin's types say.
      const { header } = token as { header: { kid?: unknown } };
      const pem = typeof header.kid === 'string' ? keys.publicPem(header.kid) : undefined;
      if (!pem) throw new Problem('invalid_token');
      return pem;
    },
    decode: { complete: true },
    sign: { algorithm: ALGORITHM },
    verify: {
      algorithms: [ALGORITHM],
      allowedIss: issuer,
      allowedAud: ACCESS.aud,
      checkTyp: ACCESS.typ,
      requiredClaims: REQUIRED_CLAIMS,
      clockTolerance: CLOCK_TOLERANCE_MS,
      cache: VERIFY_CACHE,
    },
  });
}

export interface Authenticator {
  authenticate: Authenticate;
  /** Forgets what is remembered of an account, after a log-out or a change of rights on this replica. */
  forget(accountId: string): void;
}

/** Reads `Authorization: Bearer`: an access token, or an API key by its prefix. */
export function createAuthenticator(db: Db): Authenticator {
  const remembered = new Map<string, { principal: Principal | Problem; until: number; accountId: string }>();
  let forgotten = 0;
  const recall = async (key: string, find: () => Promise<Principal>): Promise<Principal> => {
    const now = Date.now();
    const known = remembered.get(key);
    if (known && known.until > now) return settle(known.principal);
    const before = forgotten;
    const principal = await find().catch((fault) => {
      if (fault instanceof Problem) return fault;
      throw fault;
    });
    if (remembered.size >= REMEMBERED) remembered.clear(); // crude, bounded, and back within one query each
    const accountId = principal instanceof Problem ? NOBODY : principal.accountId;
    // What was read while something was being revoked may be what was revoked: it is good for this request only.
    if (forgotten === before) remembered.set(key, { principal, until: now + REMEMBERED_MS, accountId });
    return settle(principal);
  };
  return {
    authenticate: async (request) => {
      const header = request.headers.authorization;
      if (header === undefined) throw new Problem('unauthenticated');
      if (API_KEY.test(header)) {
        const key = header.slice('Bearer '.length);
        return recall(`key ${hashToken(key).toString('base64')}`, () => byApiKey(db, key));
      }
      const claims = await verifiedClaims(request);
      return recall(`login ${claims.sub} ${claims.sid} ${claims.ver}`, () => byLogin(db, claims));
    },
    forget: (accountId) => {
      forgotten += 1;
      for (const [key, { accountId: owner }] of remembered) {
        if (owner === accountId || owner === NOBODY) remembered.delete(key);
      }
    },
  };
}

function settle(principal: Principal | Problem): Principal {
  if (principal instanceof Problem) throw principal;
  return principal;
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

interface Claims {
  sub: string;
  sid: string;
  ver: number;
}

async function verifiedClaims(request: FastifyRequest): Promise<Claims> {
  const claims = await request.jwtVerify<Record<string, unknown>>().catch(() => {
    // No I/O in there: whatever the libraries complain of is in the token.
    throw new Problem('invalid_token');
  });
  const { sub, sid, ver } = claims;
  const isWhole = typeof sub === 'string' && typeof sid === 'string' && UUID.test(sid) && typeof ver === 'number';
  if (!isWhole || !hasSaneClaims(claims)) throw new Problem('invalid_token');
  return { sub, sid, ver };
}

function accountOf(sub: string): string {
  try {
    return fromWire('account', sub);
  } catch {
    throw new Problem('invalid_token');
  }
}

const accountWithSession = prepared((db) =>
  db
    .select({ role: accounts.role, tokenVersion: accounts.tokenVersion, disabledAt: accounts.disabledAt })
    .from(accounts)
    .where(
      and(
        eq(accounts.id, sql.placeholder('accountId')),
        sql`exists (select from ${refreshTokens} where family_id = ${sql.placeholder('sid')}::uuid and account_id = ${accounts.id} and revoked_at is null)`,
      ),
    )
    .prepare('account_with_session'),
);

async function byLogin(db: Db, { sub, sid, ver }: Claims): Promise<Principal> {
  const accountId = accountOf(sub);
  const [account] = await accountWithSession(db).execute({ accountId, sid });
  if (!account || account.tokenVersion !== ver) throw new Problem('invalid_token');
  if (account.disabledAt) throw new Problem('account_disabled');
  return { accountId, role: account.role, scopes: 'all', credentialId: sid };
}

async function byApiKey(db: Db, key: string): Promise<Principal> {
  const [found] = await db
    .select({
      id: apiKeys.id,
      accountId: apiKeys.accountId,
      scopes: apiKeys.scopes,
      lastUsedAt: apiKeys.lastUsedAt,
      role: accounts.role,
      disabledAt: accounts.disabledAt,
    })
    .from(apiKeys)
    .innerJoin(accounts, eq(accounts.id, apiKeys.accountId))
    .where(
      and(
        eq(apiKeys.keyHash, hashToken(key)),
        isNull(apiKeys.revokedAt),
        or(isNull(apiKeys.expiresAt), gt(apiKeys.expiresAt, sql`now()`)),
      ),
    );
  if (!found) throw new Problem('invalid_api_key');
  if (found.disabledAt) throw new Problem('account_disabled');
  if (Date.now() - (found.lastUsedAt?.getTime() ?? 0) > LAST_USE_EVERY_MS) {
    await db.update(apiKeys).set({ lastUsedAt: sql`now()` }).where(eq(apiKeys.id, found.id));
  }
  return { accountId: found.accountId, role: found.role, scopes: new Set(found.scopes), credentialId: found.id };
}
