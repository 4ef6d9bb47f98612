import { randomBytes } from 'node:crypto';
import type { Vault } from '../secrets.ts';

/** Secrets that sign what we post (Standard Webhooks), sealed as one: while one is being replaced, both sign. */
interface SigningSecrets {
  present: string;
  former?: { secret: string; until: number };
}

const SECRET_BYTES = 32; // Standard Webhooks: 24 to 64
const FORMER_SIGNS_FOR_MS = 24 * 3_600_000;

/** A first secret, to be shown this once, and what is to be stored of it. */
export function newSigningSecret(vault: Vault, purpose: string): { secret: string; sealed: Buffer } {
  const secret = newSecret();
  return { secret, sealed: seal(vault, purpose, { present: secret }) };
}

/** A new secret in the place of the present one, which signs along for a day. */
export function replaceSigningSecret(
  vault: Vault,
  purpose: string,
  before: Buffer,
): ReturnType<typeof newSigningSecret> {
  const secret = newSecret();
  const former = { secret: open(vault, purpose, before).present, until: Date.now() + FORMER_SIGNS_FOR_MS };
  return { secret, sealed: seal(vault, purpose, { present: secret, former }) };
}

/** The secrets that sign now, newest first. */
export function signingSecrets(vault: Vault, purpose: string, sealed: Buffer): string[] {
  const { present, former } = open(vault, purpose, sealed);
  return former && former.until > Date.now() ? [present, former.secret] : [present];
}

const newSecret = () => `whsec_${randomBytes(SECRET_BYTES).toString('base64')}`;
const seal = (vault: Vault, purpose: string, secrets: SigningSecrets) => vault.seal(JSON.stringify(secrets), purpose);
const open = (vault: Vault, purpose: string, sealed: Buffer) =>
  JSON.parse(vault.open(sealed, purpose)) as SigningSecrets;
