import { z } from 'zod';
import { evmChains } from './chain-settings.ts';
import { relayUrls, secretKey, walletConnection, zapProviders } from './nostr/settings.ts';
import {
  basisPointRanges,
  databaseUrl,
  invariantIds,
  isNetwork,
  keyRing,
  list,
  webhookSecrets,
  webUrl,
  whole,
  yesNo,
} from './setting-shapes.ts';

const HOST_PORT = /^(\[[\da-f:.]+\]|[^\s:/[\]]+):\d{1,5}$/i;

/** Everything an operator can set, in one place. `.env.example` is generated from the descriptions here (`npm run docs`). */

interface Meta {
  /** Headline in `.env.example`. */
  group: string;
  description: string;
  /** Shown in `.env.example`; for a secret it is a shape, not a value. */
  example: string;
  /** A secret may also be given as a file: `NAME_FILE=/run/secrets/name`. */
  secret?: true;
}

export const metas = z.registry<Meta>();
const setting = <T extends z.ZodType>(schema: T, meta: Meta): T => {
  metas.add(schema, meta);
  return schema;
};

export const settings = {
  PUBLIC_URL: setting(webUrl, {
    group: 'Addresses',
    description: 'Where customers reach this installation; links, callbacks and token issuer are made from it.',
    example: 'https://pay.example.com',
  }),
  HOST: setting(z.string().min(1).default('0.0.0.0'), {
    group: 'Addresses',
    description: 'Address of the public listener.',
    example: '0.0.0.0',
  }),
  PORT: setting(whole(0, 65_535).prefault('3000'), {
    group: 'Addresses',
    description: 'Port of the public listener.',
    example: '3000',
  }),
  INTERNAL_HOST: setting(z.string().min(1).default('127.0.0.1'), {
    group: 'Addresses',
    description: 'Address of the internal listener (operator routes, metrics, probes). Keep it off the internet.',
    example: '127.0.0.1',
  }),
  INTERNAL_PORT: setting(whole(0, 65_535).prefault('3001'), {
    group: 'Addresses',
    description: 'Port of the internal listener.',
    example: '3001',
  }),
  TRUST_PROXY: setting(
    list
      .pipe(z.array(z.string().refine(isNetwork, 'must hold IP addresses or networks, such as 10.0.0.0/8')))
      .prefault(''),
    {
      group: 'Addresses',
      description: 'Addresses or networks of the proxies whose X-Forwarded-For is believed. Empty: none.',
      example: '10.0.0.0/8',
    },
  ),
  RETURN_ORIGINS: setting(list.pipe(z.array(webUrl)).prefault(''), {
    group: 'Addresses',
    description: 'Origins that a purchase may send the customer back to (return_uri).',
    example: 'https://shop.example.com',
  }),

  DATABASE_URL: setting(databaseUrl, {
    group: 'Database',
    description: 'PostgreSQL 16 or newer, as the application role (not the owner).',
    example: 'postgres://farebox_app:password@db.internal/farebox',
    secret: true,
  }),
  MIGRATION_DATABASE_URL: setting(databaseUrl.optional(), {
    group: 'Database',
    description: 'The same database as the owner role. Given: the server migrates before it starts. Absent: it checks.',
    example: 'postgres://farebox_owner:password@db.internal/farebox',
    secret: true,
  }),
  DATABASE_CA_FILE: setting(z.string().min(1).optional(), {
    group: 'Database',
    description: "Certificate authority of the database server, when it is not one of the system's.",
    example: '/run/secrets/db-ca.pem',
  }),
  ALLOW_INSECURE_DATABASE: setting(yesNo.prefault('false'), {
    group: 'Database',
    description: 'Connect without TLS to a database on another host. Only for a network of its own.',
    example: 'false',
  }),
  ALLOW_SINGLE_DATABASE_ROLE: setting(yesNo.prefault('false'), {
    group: 'Database',
    description: 'Run as a role that could rewrite the books. Gives up promise 4; only for trying out.',
    example: 'false',
  }),
  AUDITOR_ROLE: setting(
    z
      .string()
      .regex(/^[a-z_][a-z0-9_]{0,62}$/, 'must be a plain role name')
      .default('farebox_auditor'),
    {
      group: 'Database',
      description: 'Role that may read everything and write nothing.',
      example: 'farebox_auditor',
    },
  ),
  AUDITOR_DATABASE_URL: setting(databaseUrl.optional(), {
    group: 'Database',
    description: 'The same database as the auditor role, for `farebox audit`. Absent: as the application role.',
    example: 'postgres://farebox_auditor:password@db.internal/farebox',
    secret: true,
  }),
  DATABASE_POOL: setting(whole(2, 200).prefault('10'), {
    group: 'Database',
    description: 'Connections of the hot path; as many again serve everything else.',
    example: '10',
  }),

  ENCRYPTION_KEYS: setting(keyRing, {
    group: 'Secrets',
    description: 'Keys for secrets kept in the database, id:base64 of 32 bytes; the first one encrypts, all decrypt.',
    example: 'k1:BASE64_OF_32_BYTES',
    secret: true,
  }),

  OMISE_SECRET_KEY: setting(z.string().regex(/^skey_(test_)?[a-z0-9]+$/, 'must look like skey_… or skey_test_…'), {
    group: 'Omise',
    description: 'Secret key. A test key makes this a test installation, for good.',
    example: 'skey_test_xxxxxxxxxxxxxxxxxxx',
    secret: true,
  }),
  OMISE_PUBLIC_KEY: setting(z.string().regex(/^pkey_(test_)?[a-z0-9]+$/, 'must look like pkey_… or pkey_test_…'), {
    group: 'Omise',
    description: 'Public key of the same mode; shown to clients that make card tokens.',
    example: 'pkey_test_xxxxxxxxxxxxxxxxxxx',
  }),
  OMISE_WEBHOOK_SECRETS: setting(webhookSecrets, {
    group: 'Omise',
    description: 'Webhook signing secret from the dashboard; two, separated by a comma, while it is being rotated.',
    example: 'BASE64',
    secret: true,
  }),
  OMISE_URL: setting(webUrl.prefault('https://api.omise.co'), {
    group: 'Omise',
    description: 'API address.',
    example: 'https://api.omise.co',
  }),
  OMISE_DEADLINE_MS: setting(whole(100, 60_000).prefault('10000'), {
    group: 'Omise',
    description: 'Overall time for one call to Omise, in milliseconds.',
    example: '10000',
  }),
  CURRENCY: setting(
    z
      .string()
      .regex(/^[A-Z]{3}$/, 'must be an ISO 4217 code')
      .default('THB'),
    {
      group: 'Omise',
      description: 'The currency of packages.',
      example: 'THB',
    },
  ),

  OMISE_FEES: setting(
    basisPointRanges.prefault('promptpay:80-165,card:265-365,truemoney:265-365,mobile_banking:165-365'),
    {
      group: 'Omise',
      description:
        'What Omise takes of a payment by kind of method, in basis points (365 is 3.65 %), as your contract says; for `POST /v1/quotes` only. The default is an estimate.',
      example: 'promptpay:165,card:265-365',
    },
  ),
  OMISE_FEE_TAX: setting(whole(0, 10_000).prefault('700'), {
    group: 'Omise',
    description: 'Tax on that fee, in basis points of it.',
    example: '700',
  }),

  EVM_CHAINS: setting(evmChains, {
    group: 'Crypto',
    description: 'Chains, coins and tokens that are taken, as JSON (docs/chains.md). Empty: none.',
    example: '[]',
    secret: true,
  }),

  NWC_URL: setting(walletConnection.optional(), {
    group: 'Lightning and Nostr',
    description:
      'Connection to the wallet that makes our invoices (NIP-47); one that can only receive is enough. Absent: no Lightning.',
    example: 'nostr+walletconnect://KEY?relay=wss://relay.example.com&secret=SECRET',
    secret: true,
  }),
  NOSTR_SECRET_KEY: setting(secretKey.optional(), {
    group: 'Lightning and Nostr',
    description: 'Our key on Nostr, nsec1… or hex: who is zapped, and who signs. Absent: nobody can zap us.',
    example: 'nsec1…',
    secret: true,
  }),
  NOSTR_RELAYS: setting(relayUrls.prefault(''), {
    group: 'Lightning and Nostr',
    description:
      'Relays on which jobs are taken and answered, in the name of NOSTR_SECRET_KEY; wss (ws on this machine only). Empty: none, and everything else works.',
    example: 'wss://relay.example.com,wss://nos.example.org',
  }),
  NOSTR_ALLOW: setting(list.pipe(z.array(z.string().regex(HOST_PORT, 'must hold relays as host:port'))).prefault(''), {
    group: 'Lightning and Nostr',
    description: 'Private relays, as host:port, that customers may name for their answers. Others must be public.',
    example: 'relay.internal:7777',
  }),
  ZAP_MAX_MSAT: setting(
    z
      .string()
      .regex(/^[1-9]\d{0,14}$/, 'must be a positive whole number')
      .default('100000000')
      .transform(BigInt),
    {
      group: 'Lightning and Nostr',
      description:
        'Most that is believed of one zap receipt, in millisatoshi: it is what a provider says, and no proof. More than that waits for a person.',
      example: '100000000',
    },
  ),
  ZAP_PROVIDERS: setting(zapProviders.prefault(''), {
    group: 'Lightning and Nostr',
    description:
      'Public keys (hex) of the Lightning providers whose zap receipts are believed; a former one with its days, as in key@..2026-06-30 (docs/lightning.md). Empty: none is.',
    example: '9630f464cca6a5147aa8a35f0bcdd3ce485324e732fd39e09233b1d848238f31',
  }),
  ZAP_DESCRIPTION_HASH: setting(z.enum(['strict', 'bound_if_present', 'off']).default('strict'), {
    group: 'Lightning and Nostr',
    description:
      'Whether the invoice of a zap must commit to its zap request. Weaken it only for a provider that is known not to do it.',
    example: 'strict',
  }),
  ZAP_LNURL: setting(
    z
      .string()
      .regex(/^lnurl1[a-z0-9]{10,2000}$/, 'must be an LNURL in lower case')
      .optional(),
    {
      group: 'Lightning and Nostr',
      description:
        'Our own LNURL. It is told in announcements (lud06); a zap request that was made for another one is refused. Absent: neither.',
      example: 'lnurl1dp68gurn8ghj7urp0yhx27rpd4cxcefwvdhk6tewwajkcmpdddhx7amw9akxuatjd3cz7atnvdhsrn',
    },
  ),

  REFUNDS: setting(z.enum(['on', 'off']).default('on'), {
    group: 'Refunds',
    description: 'off: nothing is given back, by nobody, until it is on again; what was sent is still followed up.',
    example: 'on',
  }),
  REFUND_AUTO_CREDITS: setting(whole(0, 999_999_999_999).prefault('1000'), {
    group: 'Refunds',
    description: 'Refunds worth up to so many credits need no operator. 0: all do.',
    example: '1000',
  }),
  REFUND_MAX_CREDITS: setting(whole(1, 999_999_999_999).prefault('1000000'), {
    group: 'Refunds',
    description: 'The most that one refund of money may be worth, in credits.',
    example: '1000000',
  }),
  REFUND_MAX_CREDITS_PER_DAY: setting(whole(1, 999_999_999_999).prefault('10000000'), {
    group: 'Refunds',
    description: 'The most that all refunds of money within 24 hours may be worth, in credits.',
    example: '10000000',
  }),
  REFUND_MAX_CREDITS_PER_ACCOUNT_DAY: setting(whole(1, 999_999_999_999).prefault('1000000'), {
    group: 'Refunds',
    description: 'The same for one account.',
    example: '1000000',
  }),

  EGRESS_ALLOW: setting(
    list.pipe(z.array(z.string().regex(HOST_PORT, 'must hold targets as host:port'))).prefault(''),
    {
      group: 'Executors',
      description: 'Private targets that executors may live at, host:port each. Everything else must be public https.',
      example: 'n8n.internal:5678',
    },
  ),

  WEBHOOK_ALLOW: setting(
    list.pipe(z.array(z.string().regex(HOST_PORT, 'must hold targets as host:port'))).prefault(''),
    {
      group: 'Webhooks',
      description:
        'Private targets that any account may have its events posted to, host:port each. Everything else must be public https.',
      example: 'shop.internal:8080',
    },
  ),

  ACCESS_TOKEN_TTL_S: setting(whole(60, 3600).prefault('900'), {
    group: 'Tokens and limits',
    description: 'Life of an access token, in seconds.',
    example: '900',
  }),
  REFRESH_TOKEN_TTL_S: setting(whole(3600, 31_536_000).prefault('2592000'), {
    group: 'Tokens and limits',
    description: 'Life of a refresh token, in seconds.',
    example: '2592000',
  }),
  RATE_AUTH_PER_MIN: setting(whole(1, 1_000_000).prefault('30'), {
    group: 'Tokens and limits',
    description: 'Log-ins, registrations and the like, per address and minute; and per e-mail a third of it.',
    example: '30',
  }),
  RATE_MONEY_PER_MIN: setting(whole(1, 10_000_000).prefault('600'), {
    group: 'Tokens and limits',
    description: 'Requests that move money or start work, per account and minute.',
    example: '600',
  }),
  RATE_READ_PER_MIN: setting(whole(1, 10_000_000).prefault('3000'), {
    group: 'Tokens and limits',
    description: 'Other requests, per account (or address) and minute.',
    example: '3000',
  }),
  RATE_WEBHOOK_PER_MIN: setting(whole(1, 10_000_000).prefault('6000'), {
    group: 'Tokens and limits',
    description: 'Webhooks of the payment provider, per address and minute.',
    example: '6000',
  }),
  MAX_PENDING_PURCHASES: setting(whole(1, 10_000).prefault('10'), {
    group: 'Tokens and limits',
    description: 'Unpaid purchases that one account may have open.',
    example: '10',
  }),

  AUDIT_EVERY_MIN: setting(whole(0, 10_080).prefault('360'), {
    group: 'Audit',
    description: 'How often the installation audits its own books, in minutes. 0: never by itself.',
    example: '360',
  }),
  AUDIT_HALT: setting(yesNo.prefault('false'), {
    group: 'Audit',
    description: 'Refuse new purchases and runs (503) once an audit finds money wrong, until an operator clears it.',
    example: 'false',
  }),
  AUDIT_EXCEPT: setting(invariantIds.prefault(''), {
    group: 'Audit',
    description:
      'Invariants that cannot hold here, such as D03 where the host of the database has its own way to keep data.',
    example: 'D03',
  }),

  WORKERS: setting(z.enum(['on', 'off']).default('on'), {
    group: 'Running',
    description: 'off: this replica answers requests only, another one does the background work.',
    example: 'on',
  }),
  LOG_LEVEL: setting(z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'), {
    group: 'Running',
    description: 'Least level that is logged.',
    example: 'info',
  }),
  DRAIN_GRACE_MS: setting(whole(0, 60_000).prefault('5000'), {
    group: 'Running',
    description: 'After SIGTERM: how long to keep answering while the load balancer notices, in milliseconds.',
    example: '5000',
  }),
} as const;
