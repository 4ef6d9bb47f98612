import { createPrivateKey, type KeyObject, sign } from 'node:crypto';
import postgres from 'postgres';
import { createVault } from '../../src/platform/secrets.ts';
import type { TestFarebox } from './farebox.ts';

/** Tokens made by hand, with and without the right key: no token library is asked. */

export const base64url = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

export const partsOf = (token: string): { header: Record<string, unknown>; payload: Record<string, unknown> } => {
  const [header = '', payload = ''] = token.split('.');
  const read = (part: string) => JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));
  return { header: read(header), payload: read(payload) };
};

/** Signed with Ed25519 over whatever parts are given: objects are encoded, strings are the JSON text itself. */
export function forge(header: unknown, payload: unknown, key: KeyObject): string {
  const input = `${base64url(header)}.${base64url(payload)}`;
  return `${input}.${sign(null, Buffer.from(input), key).toString('base64url')}`;
}

/** The key that signs tokens, taken out of the database with the encryption key: what no attacker has. */
export async function stolenKey(farebox: TestFarebox): Promise<{ kid: string; publicPem: string; key: KeyObject }> {
  const root = postgres(farebox.database.superuserUrl, { max: 1 });
  const [row] = await root`select * from identity.signing_keys where retired_at is null`;
  await root.end();
  if (!row) throw new Error('no signing key');
  const [id = '', secret = ''] = String(farebox.environment['ENCRYPTION_KEYS']).split(':');
  const vault = createVault([{ id, key: Buffer.from(secret, 'base64') }]);
  const pem = vault.open(row['private_pem'], `signing-key:${row['kid']}`);
  return { kid: row['kid'], publicPem: row['public_pem'], key: createPrivateKey(pem) };
}
