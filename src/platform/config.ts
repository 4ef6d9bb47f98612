import { readFileSync, statSync } from 'node:fs';
import { isIP } from 'node:net';
import { z } from 'zod';

/**
 * Everything an operator can set, in one place. `readConfig` reports all faults together and never repeats a value;
 * `.env.example` is generated from the descriptions here (`npm run docs`).
 */

interface Meta {
  /** Headline in `.env.example`. */
  group: string;
  description: string;
  /** Shown in `.env.example`; for a secret it is a shape, not a value. */
  example: string;
  /** A secret may also be given as a file: `NAME_FILE=/run/secrets/name`. */
  secret?: true;
}

const metas = z.registry<Meta>();
const setting = <T extends z.ZodType>(schema: T, meta: Meta): T => {
  metas.add(schema, meta);
  return schema;
};

const whole = (from: number, to: number) =>
  z
    .string()
    .regex(/^\d{1,12}$/, 'must be a whole number')
    .transform(Number)
    .pipe(z.number().min(from, `must be at least ${from}`).max(to, `must be at most ${to}`));
const yesNo = z.enum(['true', 'false'], 'must be true or false').transform((value) => value === 'true');
const list = z.string().transform((value) =>
  value
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== ''),
);
const isLoopback = (host: string) => /^(localhost|127(\.\d+){3}|\[::1\]|::1)$/.test(host);

/** Plain http is for this machine only (E6.2): everything that leaves it is TLS. */
const webUrl = z
  .url({ protocol: /^https?$/, message: 'must be an http(s) URL' })
  .refine((value) => URL.canParse(value) && (value.startsWith('https:') || isLoopback(new URL(value).hostname)), {
    message: 'must be https (http is accepted for this machine only)',
  })
  .transform((value) => value.replace(/\/$/, ''));
const databaseUrl = z
  .url({ protocol: /^postgres(ql)?$/, message: 'must be a postgres:// URL' })
  .refine((value) => URL.canParse(value) && new URL(value).hostname !== '' && new URL(value).username !== '', {
    message: 'must name the role and the host, as in postgres://role:password@host/database',
  });
const isNetwork = (value: string) => {
  const [address = '', bits, ...more] = value.split('/');
  const version = isIP(address);
  const fits = bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128));
  return version !== 0 && fits && more.length === 0;
};

const key32 = z
  .string()
  .transform((value) => Buffer.from(value, 'base64'))
  .refine((bytes) => bytes.length === 32, 'must be 32 bytes in base64 (openssl rand -base64 32)');

/** `id:base64,id:base64`: the first encrypts, all of them decrypt. */
const keyRing = list
  .pipe(
    z
      .array(z.string().regex(/^[a-z0-9-]{1,16}:/, 'must look like id:base64[,id:base64]'))
      .min(1, 'must hold at least one key'),
  )
  .transform((entries) =>
    entries.map((entry) => ({ id: entry.split(':', 1)[0] ?? '', key: entry.slice(entry.indexOf(':') + 1) })),
  )
  .refine((keys) => new Set(keys.map(({ id }) => id)).size === keys.length, 'must give each key an id of its own')
  .pipe(z.array(z.object({ id: z.string(), key: key32 })));

const webhookSecrets = list.pipe(
  z
    .array(z.string().regex(/^[A-Za-z0-9+/_-]{16,}={0,2}$/, 'must be base64 (as the Omise dashboard shows it)'))
    .min(1, 'must hold at least one secret')
    .max(2, 'must hold at most two secrets: the present and the former'),
);

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

  EGRESS_ALLOW: setting(
    list
      .pipe(z.array(z.string().regex(/^(\[[\da-f:.]+\]|[^\s:/[\]]+):\d{1,5}$/i, 'must hold targets as host:port')))
      .prefault(''),
    {
      group: 'Executors',
      description: 'Private targets that executors may live at, host:port each. Everything else must be public https.',
      example: 'n8n.internal:5678',
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

const schema = z.object(settings).transform((config) => ({ ...config, livemode: !isTestKey(config.OMISE_SECRET_KEY) }));

export type Config = z.infer<typeof schema>;

const isTestKey = (key: string) => key.includes('_test_');

/** Faults that lie between settings. Found from what was given, so that they are told together with all others. */
function faultsBetween(given: Partial<Record<string, string>>): Fault[] {
  const faults: Fault[] = [];
  const { OMISE_SECRET_KEY: secretKey, OMISE_PUBLIC_KEY: publicKey } = given;
  if (secretKey && publicKey && isTestKey(secretKey) !== isTestKey(publicKey)) {
    faults.push({
      name: 'OMISE_PUBLIC_KEY',
      message: 'must be of the same mode (test or live) as OMISE_SECRET_KEY',
    });
  }
  for (const name of ['DATABASE_URL', 'MIGRATION_DATABASE_URL'] as const) {
    if (
      given['ALLOW_INSECURE_DATABASE'] !== 'true' &&
      /[?&]ssl(mode)?=(disable|allow|prefer|no-verify|false)/i.test(given[name] ?? '')
    ) {
      faults.push({ name, message: 'must not weaken TLS by sslmode (ALLOW_INSECURE_DATABASE=true permits it)' });
    }
  }
  return faults;
}

interface Fault {
  name: string;
  message: string;
}

/** The environment does not describe a runnable Farebox; `faults` names each setting, values never. */
export class ConfigFault extends Error {
  readonly faults: Fault[];
  constructor(faults: Fault[]) {
    super(
      `Farebox cannot start with this configuration:\n${faults.map((f) => `  ${f.name}: ${f.message}`).join('\n')}`,
    );
    this.name = 'ConfigFault';
    this.faults = faults;
  }
}

/** Reads settings from an environment; an empty string counts as absent. Throws `ConfigFault` with every fault. */
export function readConfig(env: Record<string, string | undefined>): Config {
  const { values, faults } = withFiles(env);
  const parsed = schema.safeParse(values);
  const issues = parsed.success ? [] : parsed.error.issues;
  const found = issues.map((issue) => ({ name: String(issue.path[0]), issue }));
  for (const { name, message } of [
    ...found.map(({ name, issue }) => ({ name, message: explain(issue, values[name]) })),
    ...faultsBetween(values),
  ]) {
    if (!faults.some((fault) => fault.name === name)) faults.push({ name, message });
  }
  if (!parsed.success || faults.length > 0) throw new ConfigFault(faults);
  return parsed.data;
}

const explain = (issue: z.core.$ZodIssue, value: string | undefined) =>
  value === undefined ? 'is required' : issue.message;

const MAX_SECRET_BYTES = 64 * 1024; // a mounted secret is a line; more is the wrong file

/** Resolves `NAME_FILE` for the secrets. */
function withFiles(env: Record<string, string | undefined>) {
  const values: Record<string, string> = {};
  const faults: Fault[] = [];
  for (const [name, one] of Object.entries(settings)) {
    const file = metas.get(one)?.secret ? env[`${name}_FILE`] : undefined;
    const direct = env[name] || undefined;
    if (file && direct) faults.push({ name, message: `is given twice: as ${name} and as ${name}_FILE` });
    try {
      const value = file ? readSecret(file) : direct;
      if (value !== undefined && value !== '') values[name] = value;
    } catch (fault) {
      faults.push({
        name,
        message: `${name}_FILE: ${fault instanceof UnfitSecret ? fault.message : unreadable(fault)}`,
      });
    }
  }
  return { values, faults };
}

class UnfitSecret extends Error {}

/** By its code alone: the path may be the secret itself, put into the wrong variable. */
const unreadable = (fault: unknown) =>
  `the file cannot be read (${(fault as NodeJS.ErrnoException | undefined)?.code ?? 'unknown'})`;

function readSecret(file: string): string {
  const { size, mode } = statSync(file);
  if (size > MAX_SECRET_BYTES) throw new UnfitSecret('the file is too large for a secret');
  if ((mode & 0o002) !== 0) throw new UnfitSecret('the file is writable by everybody');
  return readFileSync(file, 'utf8').trim();
}

/** The text of `.env.example`. */
export function exampleEnvironment(): string {
  const groups = Map.groupBy(Object.entries(settings), ([, one]) => metas.get(one)?.group ?? '');
  const sections = [...groups].map(([group, entries]) => {
    const lines = entries.map(([name, one]) => exampleLine(name, one));
    return `# ${group}\n${lines.join('\n')}`;
  });
  const head =
    '# Generated by `npm run docs`; do not edit.\n# A secret NAME may also come from a file: NAME_FILE=/run/secrets/name.\n';
  return `${head}\n${sections.join('\n\n')}\n`;
}

function exampleLine(name: string, one: z.ZodType): string {
  const meta = metas.get(one);
  const required = !one.safeParse(undefined).success;
  const kind = [required ? 'required' : 'optional', ...(meta?.secret ? ['secret'] : [])].join(', ');
  return `# ${meta?.description} (${kind})\n${required ? '' : '#'}${name}=${meta?.example}`;
}

/** Rows of the README's configuration table: name, whether it must be set, default, meaning. */
export function settingsTable(): {
  name: string;
  required: boolean;
  secret: boolean;
  example: string;
  description: string;
}[] {
  return Object.entries(settings).map(([name, one]) => {
    const meta = metas.get(one);
    const required = !one.safeParse(undefined).success;
    return {
      name,
      required,
      secret: meta?.secret === true,
      example: meta?.example ?? '',
      description: meta?.description ?? '',
    };
  });
}
