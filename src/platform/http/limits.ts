import rateLimit, { normalizeIP } from '@fastify/rate-limit';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { RateClass } from './access.ts';
import { retryLater } from './problem.ts';

/** Requests per minute. */
export type Limits = Record<RateClass, number>;

const WINDOW_S = 60;
const KEYS_KEPT = 50_000; // addresses and accounts remembered per class; the least recent are forgotten

/** The plugin's types do not know it here, and a limit does not take over the plugin's own (5000 otherwise). */
const SIZE = { cache: KEYS_KEPT };

type Check = (request: FastifyRequest, reply: FastifyReply) => Promise<void>;

export interface Limiter {
  /** Counts a request against its route's class; a 429 problem when there were too many. */
  count: Check;
  /** Counts an attempt to get in with bad credentials, by address. */
  countRefusal: Check;
}

/** In memory, per replica: protection against floods, not an accounting. */
export async function limiter(app: FastifyInstance, limits: Limits): Promise<Limiter> {
  await app.register(rateLimit, { global: false });
  const byAddress = (request: FastifyRequest) => normalizeIP(withoutPort(request.ip));
  const byCaller = (request: FastifyRequest) => request.caller?.accountId ?? byAddress(request);
  const checks: Record<RateClass, Check> = {
    auth: check(app, 'auth', limits.auth, byAddress),
    money: check(app, 'money', limits.money, byCaller),
    read: check(app, 'read', limits.read, byCaller),
    webhook: check(app, 'webhook', limits.webhook, byAddress),
  };
  return {
    count: (request, reply) => checks[request.routeOptions.config.rate ?? 'read'](request, reply),
    countRefusal: check(app, 'refused', limits.auth * 10, byAddress),
  };
}

/** Some proxies (Azure's) write the client's port behind its address: each connection would be a client of its own. */
const withoutPort = (ip: string) => /^(?:\[(.+)\]|([\d.]+))(?::\d+)?$/.exec(ip)?.slice(1).find(Boolean) ?? ip;

/** A limit of its own beside the route's class, such as log-ins per e-mail address. */
export function check(
  app: FastifyInstance,
  name: string,
  max: number,
  keyOf: (request: FastifyRequest) => string,
): Check {
  const counter = app.createRateLimit({ max, timeWindow: WINDOW_S * 1000, keyGenerator: keyOf, ...SIZE });
  // draft-ietf-httpapi-ratelimit-headers-10
  const policy = `"${name}";q=${max};w=${WINDOW_S}`;
  return async (request, reply) => {
    const state = await counter(request);
    if (state.isAllowed) return;
    reply.header('RateLimit-Policy', policy);
    reply.header('RateLimit', `"${name}";r=${state.remaining};t=${state.ttlInSeconds}`);
    if (state.isExceeded) throw retryLater('rate_limited', state.ttlInSeconds);
  };
}
