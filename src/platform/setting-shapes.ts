import { isIP } from 'node:net';
import { z } from 'zod';

/** How settings are written, and what is made of them. */

export const whole = (from: number, to: number) =>
  z
    .string()
    .regex(/^\d{1,12}$/, 'must be a whole number')
    .transform(Number)
    .pipe(z.number().min(from, `must be at least ${from}`).max(to, `must be at most ${to}`));
export const yesNo = z.enum(['true', 'false'], 'must be true or false').transform((value) => value === 'true');
export const list = z.string().transform((value) =>
  value
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== ''),
);
const feeRange = /^(promptpay|card|truemoney|mobile_banking):(\d{1,4})(?:-(\d{1,4}))?$/;
/** `method:165` or `method:165-365` for each kind of method. */
export const basisPointRanges = list
  .pipe(z.array(z.string().regex(feeRange, 'must hold entries such as card:265-365 or promptpay:165')))
  .transform((entries) =>
    entries.map((entry) => {
      const [, method = '', least, most] = feeRange.exec(entry) ?? [];
      return [method, { least: Number(least), most: Number(most ?? least) }] as const;
    }),
  )
  .refine((all) => new Set(all.map(([method]) => method)).size === all.length, 'must name each method once')
  .refine((all) => all.every(([, { least, most }]) => least <= most), 'must give the lower number first')
  .transform((all): ReadonlyMap<string, { least: number; most: number }> => new Map(all));

/** Ids of invariants, as `farebox audit` shows them. */
export const invariantIds = list.pipe(z.array(z.string().regex(/^[A-Z]\d\d$/, 'must hold ids such as D03')));
const isLoopback = (host: string) => /^(localhost|127(\.\d+){3}|\[::1\]|::1)$/.test(host);

/** Plain http is for this machine only (E6.2): everything that leaves it is TLS. */
export const webUrl = z
  .url({ protocol: /^https?$/, message: 'must be an http(s) URL' })
  .refine((value) => URL.canParse(value) && (value.startsWith('https:') || isLoopback(new URL(value).hostname)), {
    message: 'must be https (http is accepted for this machine only)',
  })
  .transform((value) => value.replace(/\/$/, ''));
export const databaseUrl = z
  .url({ protocol: /^postgres(ql)?$/, message: 'must be a postgres:// URL' })
  .refine((value) => URL.canParse(value) && new URL(value).hostname !== '' && new URL(value).username !== '', {
    message: 'must name the role and the host, as in postgres://role:password@host/database',
  });
export const isNetwork = (value: string) => {
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
export const keyRing = list
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

export const webhookSecrets = list.pipe(
  z
    .array(z.string().regex(/^[A-Za-z0-9+/_-]{16,}={0,2}$/, 'must be base64 (as the Omise dashboard shows it)'))
    .min(1, 'must hold at least one secret')
    .max(2, 'must hold at most two secrets: the present and the former'),
);
