import { lookup as resolve } from 'node:dns/promises';
import { networkInterfaces } from 'node:os';
import ipaddr from 'ipaddr.js';
import { Agent, request } from 'undici';
import { Problem } from './http/problem.ts';

/**
 * The only way out to addresses that come in at run time (executors, webhooks): https to a public address, resolved
 * once and connected to as checked, no redirects, bounded in time and size.
 */
export interface Egress {
  /** Refuses a URL that could never be called, when it is written down. Names are resolved only at the call. */
  check(url: string): void;
  /** Throws `EgressFault`. */
  post(url: string, call: { headers: Record<string, string>; body: string; timeoutMs: number }): Promise<EgressReply>;
  close(): Promise<void>;
}

export interface EgressReply {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: Buffer;
}

/** `blocked`: never left this process. Everything else may have reached the other side. */
export class EgressFault extends Error {
  readonly kind: 'blocked' | 'timeout' | 'network' | 'too_large';
  constructor(kind: EgressFault['kind'], message: string, cause?: unknown) {
    super(message, { cause });
    this.name = 'EgressFault';
    this.kind = kind;
  }
}

const MAX_REPLY_BYTES = 1024 * 1024;
const CONNECT_TIMEOUT_MS = 5_000;
const PORTS = new Set(['', '443', '8443']);

type Lookup = (host: string) => Promise<{ address: string; family: number }[]>;
const systemLookup: Lookup = (host) => resolve(host, { all: true, verbatim: true });

/** `allow`: `host:port` targets that may be private and plain http. `lookup` is an argument for the tests of rebinding. */
export function createEgress(allow: string[], lookup: Lookup = systemLookup): Egress {
  const allowed = new Set(allow.map((entry) => entry.toLowerCase()));
  const isAllowed = (url: URL) =>
    allowed.has(`${url.hostname}:${url.port || (url.protocol === 'https:' ? '443' : '80')}`);
  const trusted = new Agent({ connect: { timeout: CONNECT_TIMEOUT_MS } });
  const guarded = new Agent({
    connect: {
      timeout: CONNECT_TIMEOUT_MS,
      minVersion: 'TLSv1.2',
      // What was checked is what is connected to: no second look-up that could answer differently.
      lookup: (host, options, done) => {
        checkedAddress(host, lookup).then(
          (found) => (options.all ? done(null, [found]) : done(null, found.address, found.family)),
          (fault) => done(fault, []),
        );
      },
    },
  });
  const refusal = (url: URL): string | undefined => {
    if (url.username !== '' || url.password !== '') return 'must not carry credentials';
    if (isAllowed(url)) return /^https?:$/.test(url.protocol) ? undefined : 'must be http or https';
    if (url.protocol !== 'https:') return 'must be https';
    if (!PORTS.has(url.port)) return 'must use port 443 or 8443';
    const literal = url.hostname.replace(/^\[|\]$/g, '');
    if (ipaddr.isValid(literal) && !isPublic(literal)) return 'must be a public address';
    if (/(^|\.)(localhost|local|internal|home\.arpa)\.?$/i.test(url.hostname)) return 'must be a public name';
    return undefined;
  };
  return {
    check: (text) => {
      const refused = URL.canParse(text) ? refusal(new URL(text)) : 'must be a URL';
      if (refused)
        throw new Problem('endpoint_refused', `The address ${refused}.`, {
          errors: [{ pointer: '/endpoint', code: 'endpoint_refused', detail: refused }],
        });
    },
    post: async (text, call) => {
      const url = new URL(text);
      const refused = refusal(url);
      if (refused) throw new EgressFault('blocked', `The address ${refused}.`);
      return send(url, call, isAllowed(url) ? trusted : guarded);
    },
    close: async () => {
      await Promise.all([trusted.destroy(), guarded.destroy()]);
    },
  };
}

async function send(
  url: URL,
  call: { headers: Record<string, string>; body: string; timeoutMs: number },
  dispatcher: Agent,
): Promise<EgressReply> {
  const signal = AbortSignal.timeout(call.timeoutMs); // from the first byte out to the last byte in
  try {
    const reply = await request(url, { method: 'POST', headers: call.headers, body: call.body, dispatcher, signal });
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of reply.body) {
      size += chunk.length;
      if (size > MAX_REPLY_BYTES) {
        reply.body.destroy();
        throw new EgressFault('too_large', `The reply is larger than ${MAX_REPLY_BYTES} bytes.`);
      }
      chunks.push(chunk);
    }
    return { status: reply.statusCode, headers: reply.headers, body: Buffer.concat(chunks) };
  } catch (fault) {
    if (fault instanceof EgressFault) throw fault;
    if (fault instanceof Error && fault.cause instanceof EgressFault) throw fault.cause;
    if (signal.aborted) throw new EgressFault('timeout', `No complete reply within ${call.timeoutMs} ms.`, fault);
    throw new EgressFault('network', describe(fault), fault);
  }
}

/** The code of a network error; its message can name inner addresses. */
const describe = (fault: unknown) => {
  const code = fault instanceof Error ? (fault as { code?: unknown }).code : undefined;
  return typeof code === 'string' ? `The connection failed (${code}).` : 'The connection failed.';
};

/** One address of a name, provided that all of them are public: a mixed answer is somebody's trick. */
async function checkedAddress(host: string, lookup: Lookup): Promise<{ address: string; family: number }> {
  const addresses = await lookup(host);
  const [first] = addresses;
  if (!first) throw new EgressFault('network', 'The name has no address.');
  if (!addresses.every(({ address }) => isPublic(address)))
    throw new EgressFault('blocked', 'The name leads to a private address.');
  return first;
}

/** Ranges that ipaddr.js counts as unicast although nobody on the public internet answers there, or somebody translates. */
const alsoForbidden = [
  '::/96',
  '64:ff9b:1::/48',
  '100::/64',
  '2001::/23',
  '3fff::/20',
  '5f00::/16',
  'fec0::/10',
  '192.88.99.0/24',
].map((range) => ipaddr.parseCIDR(range));

/** Globally routable unicast, and not one of our own interfaces. Mapped IPv4 is judged as the IPv4 address it is. */
export function isPublic(address: string): boolean {
  if (!ipaddr.isValid(address)) return false;
  const ip = ipaddr.process(address);
  if (ip.range() !== 'unicast') return false;
  if (alsoForbidden.some(([range, bits]) => range.kind() === ip.kind() && ip.match([range, bits] as never)))
    return false;
  const own = Object.values(networkInterfaces()).flatMap((interfaces) => interfaces ?? []);
  return !own.some((one) => ipaddr.process(one.address.split('%', 1)[0] ?? '').toString() === ip.toString());
}
