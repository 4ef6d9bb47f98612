import { randomBytes } from 'node:crypto';
import { ed25519 } from '@noble/curves/ed25519.js';
import { bytesToMultibase, createJWT, EdDSASigner } from 'did-jwt';
import { asc, isNull, sql } from 'drizzle-orm';
import type { Db } from '../../platform/database/clients.ts';
import type { Vault } from '../../platform/secrets.ts';
import { serviceKeys } from '../tables.ts';
import { parseDidKey } from './did-key.ts';

/**
 * Our own DID. What it signs is for others to keep: it verifies by the DID alone, without us and for ever, and
 * `/.well-known/did.json` says that the DID is ours.
 */
export interface ServiceDid {
  /** Claims as a JWS in compact form (RFC 7515), with `iss`, by the key in force. The same claims give the same bytes. */
  sign(type: string, claims: { iat: number } & Record<string, unknown>): Promise<{ issuer: string; jws: string }>;
  /** DID document of the did:web of our host (W3C CCG, "did:web Method Specification"), with every key that ever signed. */
  document(): Promise<DidDocument>;
}

export interface DidDocument {
  '@context': string[];
  id: string;
  alsoKnownAs: string[];
  verificationMethod: { id: string; type: string; controller: string; publicKeyJwk: Record<string, string> }[];
  assertionMethod: string[];
}

const purposeOf = (did: string) => `service-key:${did}`;
const fingerprintOf = (did: string) => did.slice('did:key:'.length);

/** Makes the first key of a new installation. */
export async function openServiceDid(db: Db, vault: Vault, publicUrl: string): Promise<ServiceDid> {
  if (!(await keyInForce(db))) await addServiceKey(db, vault);
  return {
    sign: async (type, claims) => {
      const key = await keyInForce(db);
      if (!key) throw new Error('no service key is in force');
      const { did: issuer, privateKey } = key;
      const signer = EdDSASigner(Buffer.from(vault.open(privateKey, purposeOf(issuer)), 'base64'));
      const typ = type as 'JWT'; // the only one that the library's types know
      const header = { alg: 'EdDSA', typ, kid: `${issuer}#${fingerprintOf(issuer)}` };
      return { issuer, jws: await createJWT(claims, { issuer, signer }, header) };
    },
    document: async () => documentOf(await keysOf(db), publicUrl),
  };
}

/** Another key signs from now on; what the former ones signed verifies on. */
export async function rotateServiceKey(db: Db, vault: Vault): Promise<string> {
  return addServiceKey(db, vault, { replace: true });
}

async function keyInForce(db: Db) {
  const [key] = await db.select().from(serviceKeys).where(isNull(serviceKeys.retiredAt));
  return key;
}

const keysOf = async (db: Db): Promise<string[]> =>
  (await db.select({ did: serviceKeys.did }).from(serviceKeys).orderBy(asc(serviceKeys.createdAt))).map(
    ({ did }) => did,
  );

async function addServiceKey(db: Db, vault: Vault, { replace = false } = {}): Promise<string> {
  const secret = randomBytes(32);
  const did = `did:key:${bytesToMultibase(ed25519.getPublicKey(secret), 'base58btc', 'ed25519-pub')}`;
  return db.transaction(async (tx) => {
    await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended('identity.service_keys', 0))`);
    const [known] = await tx.select().from(serviceKeys).where(isNull(serviceKeys.retiredAt));
    if (known && !replace) return known.did;
    await tx.update(serviceKeys).set({ retiredAt: sql`now()` }).where(isNull(serviceKeys.retiredAt));
    await tx.insert(serviceKeys).values({ did, privateKey: vault.seal(secret.toString('base64'), purposeOf(did)) });
    return did;
  });
}

/** DID Core §5; the newest key last. */
function documentOf(keys: string[], publicUrl: string): DidDocument {
  const id = `did:web:${encodeURIComponent(new URL(publicUrl).host)}`;
  const methods = keys.map((did) => ({
    ...{ id: `${id}#${fingerprintOf(did)}`, type: 'JsonWebKey2020', controller: id },
    publicKeyJwk: jwkOf(did),
  }));
  return {
    '@context': ['https://www.w3.org/ns/did/v1', 'https://w3id.org/security/suites/jws-2020/v1'],
    ...{ id, alsoKnownAs: keys, verificationMethod: methods, assertionMethod: methods.map((one) => one.id) },
  };
}

/** RFC 8037 §2. */
const jwkOf = (did: string): Record<string, string> => ({
  ...{ kty: 'OKP', crv: 'Ed25519' },
  x: Buffer.from(parseDidKey(fingerprintOf(did)).publicKey).toString('base64url'),
});
