import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { WalletSecrets } from './lightning/wallet.ts';
import { StartFault } from './postgres.ts';

/** Where a sandbox keeps what must outlive it: `.farebox/` in the clone, or what FAREBOX_HOME names. */
export const home = resolve(
  process.env['FAREBOX_HOME'] ?? join(dirname(fileURLToPath(import.meta.url)), '../.farebox'),
);

/** Made once, kept for good. */
export interface Secrets {
  encryptionKey: string;
  omiseSecretKey: string;
  omisePublicKey: string;
  webhookSecret: string;
  ownerPassword: string;
  appPassword: string;
  operatorEmail: string;
  operatorPassword: string;
  /** Whether the operator's account was made. */
  isOperatorMade: boolean;
  /** Ports of the servers that others remember the address of. */
  ports: { postgres?: number; omise?: number; executor?: number; chain?: number; relay?: number; lightning?: number };
  /** Signing secrets of the demo services, by the executor's path. */
  serviceSecrets: Record<string, string>;
  /** Of the wallet, of whoever zaps are told by, and our own on Nostr; absent until they were made. */
  lightning?: { wallet: WalletSecrets; provider: string; own: string };
  /** Of the storefront in `examples/`; absent until it was made. */
  shop?: { email: string; password: string; apiKey: string; cookieKey: string };
}

const file = join(home, 'sandbox.json');

export function readSecrets(): Secrets {
  mkdirSync(home, { recursive: true });
  if (existsSync(file)) {
    try {
      return JSON.parse(readFileSync(file, 'utf8')) as Secrets;
    } catch {
      throw new StartFault(`${file} cannot be read. Move ${home} away to start afresh.`);
    }
  }
  const random = () => randomBytes(12).toString('hex');
  const secrets: Secrets = {
    encryptionKey: randomBytes(32).toString('base64'),
    omiseSecretKey: `skey_test_${random()}`,
    omisePublicKey: `pkey_test_${random()}`,
    webhookSecret: randomBytes(32).toString('base64'),
    ownerPassword: random(),
    appPassword: random(),
    operatorEmail: 'operator@example.com',
    operatorPassword: randomBytes(15).toString('base64url'),
    isOperatorMade: false,
    ports: {},
    serviceSecrets: {},
  };
  keepSecrets(secrets);
  return secrets;
}

export function keepSecrets(secrets: Secrets): void {
  writeFileSync(`${file}.new`, JSON.stringify(secrets, null, 2), { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

/** Settings for `npm run storefront`, as it reads them. */
export function keepShop(settings: Record<string, string>): void {
  const shopFile = join(home, 'storefront.env');
  const lines = Object.entries(settings).map(([name, value]) => `${name}=${value}\n`);
  writeFileSync(`${shopFile}.new`, lines.join(''), { mode: 0o600 });
  renameSync(`${shopFile}.new`, shopFile);
}

/** What a running sandbox tells about itself, for the tour. */
export interface Presence {
  pid: number;
  url: string;
  internalUrl: string;
  omiseUrl: string;
  omiseControlUrl: string;
  executorUrl: string;
  /** Where the storefront would be; nobody listens there until it is started. */
  shopUrl: string;
  relayUrl: string;
  /** Pays invoices, and takes zaps. */
  lightningUrl: string;
  /** Absent on a kind of machine that anvil does not run on. */
  chainUrl?: string;
}

const presenceFile = join(home, 'running.json');

/** The sandbox that runs from this home, if one does. */
export function findRunning(): Presence | undefined {
  if (!existsSync(presenceFile)) return undefined;
  try {
    const presence = JSON.parse(readFileSync(presenceFile, 'utf8')) as Presence;
    process.kill(presence.pid, 0);
    return presence;
  } catch {
    return undefined; // it was killed, and left its note behind
  }
}

export const announce = (presence: Presence): void => writeFileSync(presenceFile, JSON.stringify(presence, null, 2));
export const leave = (): void => rmSync(presenceFile, { force: true });
