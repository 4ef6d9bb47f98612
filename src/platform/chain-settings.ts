import { getAddress, isAddress } from 'viem/utils';
import { z } from 'zod';
import { webUrl } from './setting-shapes.ts';

/** EVM_CHAINS: the chains, coins and tokens that are taken, as a JSON array. Empty: none. */

const MAX_ENDPOINTS = 5;
const STALE_AFTER_S = 600; // longer than any chain in use pauses between blocks
const ETHER_SLIP44 = 60;

/** Lower case inside; a mixed-case address must carry its right checksum (ERC-55), or it was mistyped. */
const address = z
  .string()
  .refine(
    (text) => isAddress(text) && !/^0x0{40}$/.test(text),
    'must be an address, with its checksum or in lower case',
  )
  .transform((text) => getAddress(text).toLowerCase() as `0x${string}`);
const symbol = z.string().regex(/^[A-Za-z0-9.]{1,12}$/, 'must be 1 to 12 letters or digits');
const baseUnits = z
  .string()
  .regex(/^[1-9]\d{0,77}$/, 'must be a whole number of base units, as a string')
  .transform(BigInt);
const whole = (from: number, to: number) =>
  z.int('must be a whole number').min(from, `must be at least ${from}`).max(to, `must be at most ${to}`);

/** From when on a payment is final: blocks on top of it, its own included, or the chain's own word for it. */
const finality = z.union(
  [z.literal('safe'), z.literal('finalized'), whole(1, 10_000)],
  'must be "safe", "finalized" or a number of confirmations',
);
export type Finality = z.output<typeof finality>;

/** From `large_from` on the finality for large amounts holds, and two endpoints must say the same. */
const largeFrom = { large_from: baseUnits.optional() };
const members = {
  error: (issue: { code: string }) =>
    issue.code === 'unrecognized_keys' ? 'has a member that is not known' : 'must be an object',
};

const token = z.strictObject({ symbol, address, decimals: whole(0, 36), ...largeFrom }, members);
const native = z.strictObject({ symbol, slip44: whole(0, 0x7fff_ffff).default(ETHER_SLIP44), ...largeFrom }, members);

/** A node of one's own in a closed network may speak plain http; anybody else's may not. */
const plainUrl = z
  .url({ protocol: /^https?$/, message: 'must be an http(s) URL' })
  .refine((text) => URL.canParse(text) && new URL(text).username === '', 'must not carry credentials before the host');

const chain = z
  .strictObject(
    {
      chain_id: whole(1, Number.MAX_SAFE_INTEGER),
      name: z.string().regex(/^[\w .-]{1,40}$/, 'must be a short plain name'),
      rpc_urls: z.array(plainUrl, 'must be a list').min(1, 'must hold at least one').max(MAX_ENDPOINTS),
      plain_http: z.boolean('must be true or false').default(false),
      treasury: address,
      finality: z.strictObject({ usual: finality, large: finality.optional() }, members),
      stale_after_s: whole(5, 86_400).default(STALE_AFTER_S),
      native: native.optional(),
      tokens: z.array(token, 'must be a list').default([]),
    },
    members,
  )
  .superRefine(({ rpc_urls, plain_http, native, tokens }, context) => {
    const fault = (path: (string | number)[], message: string) => context.addIssue({ code: 'custom', path, message });
    rpc_urls.forEach((url, at) => {
      if (URL.canParse(url) && !plain_http && !webUrl.safeParse(url).success)
        fault(['rpc_urls', at], 'must be https (plain_http: true permits http in a closed network)');
    });
    if (!native && tokens.length === 0) fault(['tokens'], 'must hold a token where there is no native coin');
    const isRepeated = new Set(tokens.map(({ address }) => address)).size < tokens.length;
    if (isRepeated) fault(['tokens'], 'must name each token once');
    const hosts = new Set(rpc_urls.map((url) => URL.parse(url)?.host));
    const hasLarge = [native, ...tokens].some((asset) => asset?.large_from !== undefined);
    if (hasLarge && hosts.size < 2) fault(['rpc_urls'], 'must hold two hosts where large_from is set: both must agree');
  });
export type ChainSettings = z.output<typeof chain>;

const chains = z
  .array(chain, 'must be a JSON array')
  .refine((all) => new Set(all.map((one) => one.chain_id)).size === all.length, 'must name each chain once');

/** All faults are told in one line, each with its place; values are not, for an endpoint's URL may be its key. */
export const evmChains = z
  .string()
  .transform((text, context) => {
    const parsed = chains.safeParse(jsonOf(text));
    if (parsed.success) return parsed.data;
    const faults = parsed.error.issues.map(({ path, message }) => `${placeOf(path)}${message}`);
    context.addIssue({ code: 'custom', message: faults.join('; ') });
    return z.NEVER;
  })
  .prefault('[]');

const placeOf = (path: PropertyKey[]) =>
  path.length === 0
    ? ''
    : `${path.map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`)).join('')} `;

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
