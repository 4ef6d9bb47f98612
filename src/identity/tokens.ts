import { randomUUID } from 'node:crypto';
import { createSigner, createVerifier } from 'fast-jwt';
import { Problem } from '../platform/http/problem.ts';
import type { KeyRing } from './keys.ts';

/**
 * Our JSON Web Tokens (RFC 8725): one algorithm, an audience and a `typ` for each kind, every claim required. A token
 * of one kind is worth nothing anywhere else.
 */
export interface Tokens {
  issuer: string;
  /** Access token of a log-in. */
  signAccess(claims: { sub: string; sid: string; ver: number }, ttlS: number): string;
  /** Token for one run's executor. */
  signCallback(claims: { sub: string; acc: string; att: number }, expiresAt: Date): string;
  /** Claims of a callback token; anything wrong with it is a 401. */
  verifyCallback(token: string): { sub: string; acc: string; att: number };
}

export const ALGORITHM = 'EdDSA';
export const ACCESS = { aud: 'farebox', typ: 'at+jwt' } as const; // RFC 9068 §2.1
const CALLBACK = { aud: 'executor', typ: 'farebox-callback+jwt' } as const;
export const REQUIRED_CLAIMS = ['iss', 'aud', 'sub', 'jti', 'iat', 'exp'];
export const CLOCK_TOLERANCE_MS = 5_000;

export function createTokens(keys: KeyRing, issuer: string): Tokens {
  const sign = (kind: typeof ACCESS | typeof CALLBACK, claims: Record<string, unknown>, expiresInMs: number) => {
    const { kid, privatePem } = keys.signing();
    const signer = createSigner({
      key: privatePem,
      algorithm: ALGORITHM,
      kid,
      iss: issuer,
      aud: kind.aud,
      jti: randomUUID(),
      expiresIn: expiresInMs,
      header: { alg: ALGORITHM, typ: kind.typ },
    });
    return signer(claims);
  };
  return {
    issuer,
    signAccess: (claims, ttlS) => sign(ACCESS, claims, ttlS * 1000),
    signCallback: (claims, expiresAt) => sign(CALLBACK, claims, Math.max(1000, expiresAt.getTime() - Date.now())),
    verifyCallback: (token) => {
      try {
        return verifyWith(keys, token, issuer);
      } catch {
        throw new Problem('invalid_callback_token'); // no I/O in there: whatever it is, it is in the token
      }
    },
  };
}

function verifyWith(keys: KeyRing, token: string, issuer: string): { sub: string; acc: string; att: number } {
  const key = keys.publicPem(kidOf(token));
  if (!key) throw new Problem('invalid_callback_token');
  const verify = createVerifier({
    key,
    algorithms: [ALGORITHM],
    allowedIss: issuer,
    allowedAud: CALLBACK.aud,
    checkTyp: CALLBACK.typ,
    requiredClaims: REQUIRED_CLAIMS,
    clockTolerance: CLOCK_TOLERANCE_MS,
  });
  const claims = verify(token);
  const { sub, acc, att } = claims;
  const isWhole = typeof sub === 'string' && typeof acc === 'string' && Number.isInteger(att);
  if (!isWhole || !hasSaneClaims(claims)) throw new Problem('invalid_callback_token');
  return { sub, acc, att };
}

/** What the library lets pass: an end at infinity (1e400), fractions, an issue in the future, no id. */
export const hasSaneClaims = ({ exp, iat, jti }: Record<string, unknown>): boolean =>
  Number.isSafeInteger(exp) &&
  Number.isSafeInteger(iat) &&
  Number(iat) * 1000 <= Date.now() + CLOCK_TOLERANCE_MS &&
  typeof jti === 'string';

/** The key id in a token's header; empty when there is none to read. */
function kidOf(token: string): string {
  try {
    const header: unknown = JSON.parse(Buffer.from(token.split('.', 1)[0] ?? '', 'base64url').toString('utf8'));
    const kid = typeof header === 'object' && header !== null && 'kid' in header ? header.kid : undefined;
    return typeof kid === 'string' ? kid : '';
  } catch {
    return '';
  }
}
