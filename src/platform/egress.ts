import type { LookupAddress } from 'node:dns';
import { Resolver, lookup as resolve } from 'node:dns/promises';
import type { LookupFunction } from 'node:net';
import { networkInterfaces } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import ipaddr from 'ipaddr.js';
import { Agent, request } from 'undici';
import { Problem } from './http/problem.ts';

/**
 * The only way out to addresses that come in at run time (executors, webhooks): https to a public address, resolved
 * once and connected to as checked, no redirects, bounded in time and size.
 */
export interface Egress {
  /** Refuses a URL that could never be called, when it is written down at `pointer`. Names are resolved only at the call. */
  check(url: string, pointer: string): void;
  /** Throws `EgressFault`. */
  post(url: string, call: EgressCall): Promise<EgressReply>;
  /** True from the beginning of `close`: every further call is `unsent`. */
  readonly isClosing: boolean;
  /** Waits a little for the calls in hand, then cuts them off. */
  close(): Promise<void>;
}

export interface EgressCall {
  headers: Record<string, string>;
  body: string;
  timeoutMs: number;
  /** So much of the reply is enough, the rest is not read. Without it a reply of more than a MiB is a fault. */
  enoughBytes?: number;
}

export interface EgressReply {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: Buffer;
}

/** `blocked`, `unsent`: never left this process. Everything else may have reached the other side; `cut`: by `close`. */
export class EgressFault extends Error {
  readonly kind: 'blocked' | 'unsent' | 'cut' | 'timeout' | 'network' | 'too_large';
  constructor(kind: EgressFault['kind'], message: string, cause?: unknown) {
    super(message, { cause });
    this.name = 'EgressFault';
    this.kind = kind;
  }
}

const MAX_REPLY_BYTES = 1024 * 1024;
const CONNECT_TIMEOUT_MS = 5_000;
const CLOSE_WITHIN_MS = 8_000; // of the 25 s in which the process must be gone
const PORTS = new Set(['', '443', '8443']);

type Lookup = (host: string) => Promise<LookupAddress[]>;
const systemLookup: Lookup = (host) => resolve(host, { all: true, verbatim: true });

/**
 * `allow`: `host:port` targets that may be private and plain http. `lookup` is an argument for the tests of rebinding,
 * `closeWithinMs` for those of shutdown.
 */
export function createEgress(
  allow: string[],
  { lookup = systemLookup, closeWithinMs = CLOSE_WITHIN_MS }: { lookup?: Lookup; closeWithinMs?: number } = {},
): Egress {
  const isAllowed = allowList(allow);
  // One signal bounds each call as a whole; undici's own limits on its phases would only blur what happened.
  const limits = { headersTimeout: 0, bodyTimeout: 0 };
  const connect = { timeout: CONNECT_TIMEOUT_MS, minVersion: 'TLSv1.2' } as const;
  const trusted = new Agent({ ...limits, connect });
  const guarded = new Agent({
    ...limits,
    connect: {
      ...connect,
      lookup: guardedLookup(lookup),
    },
  });
  const inHand = new Set<Promise<unknown>>();
  let isClosing = false;
  let isCut = false;
  const refusal = (url: URL) => refusalOf(url, 'http', isAllowed);
  return {
    check: (text, pointer) => {
      const refused = URL.canParse(text) ? refusal(new URL(text)) : 'must be a URL';
      if (refused)
        throw new Problem('endpoint_refused', `The address ${refused}.`, {
          errors: [{ pointer, code: 'endpoint_refused', detail: refused }],
        });
    },
    post: async (text, call) => {
      if (isClosing) throw new EgressFault('unsent', 'No more calls are made.');
      const url = new URL(text);
      const refused = refusal(url);
      if (refused) throw new EgressFault('blocked', `The address ${refused}.`);
      const reply = send(url, call, isAllowed(url) ? trusted : guarded, () => isCut);
      const over = reply.then(
        () => {},
        () => {},
      );
      inHand.add(over);
      void over.then(() => inHand.delete(over));
      return reply;
    },
    get isClosing() {
      return isClosing;
    },
    close: async () => {
      isClosing = true;
      await Promise.race([Promise.all(inHand), sleep(closeWithinMs, undefined, { ref: false })]);
      isCut = true;
      await Promise.all([trusted.destroy(), guarded.destroy()]);
    },
  };
}

/** Targets that may be private and plain, `host:port` each. */
export function allowList(allow: string[]): (url: URL) => boolean {
  const allowed = new Set(allow.map((entry) => entry.toLowerCase()));
  const portOf = ({ port, protocol }: URL) => port || (/^(https|wss):$/.test(protocol) ? '443' : '80');
  return (url) => allowed.has(`${url.hostname}:${portOf(url)}`);
}

/** Why an address may not be called by its spelling alone; `scheme` is the plain one, to which an `s` belongs. */
export function refusalOf(url: URL, scheme: 'http' | 'ws', isAllowed: (url: URL) => boolean): string | undefined {
  const isPlain = url.protocol === `${scheme}:`;
  if (url.username !== '' || url.password !== '') return 'must not carry credentials';
  if (isAllowed(url)) return isPlain || url.protocol === `${scheme}s:` ? undefined : `must be ${scheme} or ${scheme}s`;
  if (url.protocol !== `${scheme}s:`) return `must be ${scheme}s`;
  if (!PORTS.has(url.port)) return 'must use port 443 or 8443';
  const literal = url.hostname.replace(/^\[|\]$/g, '');
  if (ipaddr.isValid(literal) && !isPublic(literal)) return 'must be a public address';
  if (/(^|\.)(localhost|local|internal|home\.arpa)\.?$/i.test(url.hostname)) return 'must be a public name';
  return undefined;
}

/** Only public addresses, and what was checked is what is connected to: no second look-up that could answer differently. */
export const guardedLookup =
  (lookup: Lookup = systemLookup): LookupFunction =>
  (host, options, done) => {
    checkedAddresses(host, lookup).then(
      ([first, ...others]) => (options.all ? done(null, [first, ...others]) : done(null, first.address, first.family)),
      (fault) => done(fault, []),
    );
  };

async function send(url: URL, call: EgressCall, dispatcher: Agent, isCut: () => boolean): Promise<EgressReply> {
  const signal = AbortSignal.timeout(call.timeoutMs); // from the first byte out to the last byte in
  try {
    const reply = await request(url, { method: 'POST', headers: call.headers, body: call.body, dispatcher, signal });
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of reply.body) {
      size += chunk.length;
      if (call.enoughBytes !== undefined && size >= call.enoughBytes) {
        chunks.push(chunk.subarray(0, chunk.length - (size - call.enoughBytes)));
        break; // which ends the connection
      }
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
    if (isCut()) throw new EgressFault('cut', 'The call was cut off.', fault);
    if (signal.aborted) throw new EgressFault('timeout', `No complete reply within ${call.timeoutMs} ms.`, fault);
    throw new EgressFault('network', describe(fault), fault);
  }
}

/** The code of a network error; its message can name inner addresses. */
const describe = (fault: unknown) => {
  const code = fault instanceof Error ? (fault as { code?: unknown }).code : undefined;
  return typeof code === 'string' ? `The connection failed (${code}).` : 'The connection failed.';
};

const NAMED_WITHIN = { timeout: 1_500, tries: 2 }; // ms, the second time twice as long

/**
 * For names that anybody may give us: asked by ourselves. The system's own lookups share two threads among all of the process,
 * and a few names whose servers say nothing would keep everybody else from calling anywhere, the payment provider included.
 */
export async function lookupForStrangers(host: string, servers?: string[]): Promise<LookupAddress[]> {
  const resolver = new Resolver(NAMED_WITHIN);
  if (servers) resolver.setServers(servers);
  const addressesOf = (family: number, found: Promise<string[]>): Promise<LookupAddress[]> =>
    found.then(
      (all) => all.map((address) => ({ address, family })),
      () => [],
    );
  const found = await Promise.all([addressesOf(4, resolver.resolve4(host)), addressesOf(6, resolver.resolve6(host))]);
  return found.flat();
}

/** The addresses of a name, provided that all of them are public: a mixed answer is somebody's trick. */
async function checkedAddresses(host: string, lookup: Lookup): Promise<[LookupAddress, ...LookupAddress[]]> {
  const [first, ...others] = await lookup(host);
  if (!first) throw new EgressFault('network', 'The name has no address.');
  if (![first, ...others].every(({ address }) => isPublic(address)))
    throw new EgressFault('blocked', 'The name leads to a private address.');
  return [first, ...others];
}

const cidr = (range: string) => ipaddr.parseCIDR(range);
/** Everything that was ever given out (IANA, IPv6 global unicast): mapped, compatible, NAT64 and local ones are elsewhere. */
const GLOBAL_V6 = cidr('2000::/3');
/** Ranges that ipaddr.js counts as unicast, or may one day, although no public host answers there. */
const alsoForbidden = [
  '2001::/23', // protocol assignments, Teredo among them
  '2002::/16', // 6to4
  '3fff::/20', // documentation
  '192.88.99.0/24', // 6to4 relays
  '168.63.129.16/32', // the host of an Azure machine
].map(cidr);

/** Globally routable unicast, and not one of our own interfaces. Mapped IPv4 is judged as the IPv4 address it is. */
function isPublic(address: string): boolean {
  if (!ipaddr.isValid(address)) return false;
  const ip = ipaddr.process(address);
  const isIn = ([range, bits]: ReturnType<typeof cidr>) =>
    range.kind() === ip.kind() && ip.match([range, bits] as never);
  if (ip.range() !== 'unicast' || alsoForbidden.some(isIn)) return false;
  if (ip.kind() === 'ipv6' && !isIn(GLOBAL_V6)) return false;
  const own = Object.values(networkInterfaces()).flatMap((interfaces) => interfaces ?? []);
  return !own.some((one) => ipaddr.process(one.address.split('%', 1)[0] ?? '').toString() === ip.toString());
}
