import type { FastifyInstance, FastifyRequest } from 'fastify';
import { Problem } from './problem.ts';

/** What an API key may be allowed to do; an access token from a log-in may do all of it. */
export const scopes = [
  'read',
  'purchases:write',
  'payment_requests:write',
  'orders:write',
  'refunds:write',
  'workflows:write',
  'runs:write',
  'webhooks:write',
  'operator',
] as const;
export type Scope = (typeof scopes)[number];

/** Who is asking, as the access token or API key proved it. */
export interface Principal {
  accountId: string;
  role: 'user' | 'merchant' | 'operator';
  /** `all` for a log-in. */
  scopes: ReadonlySet<string> | 'all';
  /** The log-in or the API key, for the audit log. */
  credentialId: string;
}

/**
 * Who may call a route; every route declares it.
 * `anyone`: no credentials. `login`: an access token, not an API key. A scope: an access token, or an API key that has
 * it. `operator`: likewise, and the account must have that role. `signed`: the handler checks a signature or a token
 * of its own kind (webhooks, executor callbacks).
 */
export type Access = 'anyone' | 'login' | 'signed' | Scope;

export type RateClass = 'auth' | 'money' | 'read' | 'webhook';

declare module 'fastify' {
  interface FastifyContextConfig {
    access?: Access;
    rate?: RateClass;
    /** POST only. `required`: moves money or starts work. `accepted`: a repeat with the key changes nothing. */
    idempotency?: 'required' | 'accepted' | 'none';
  }
  interface FastifyRequest {
    caller: Principal | null;
  }
}

/** Proves who sent a request; throws a 401 problem. */
export type Authenticate = (request: FastifyRequest) => Promise<Principal>;

/**
 * Whether a request to this route would start new money on its way: a purchase, a payment, a run. Cancelling and
 * reporting do not, and what an operator does is a correction.
 */
export const startsMoney = ({ method, routeOptions: { config } }: FastifyRequest): boolean =>
  method === 'POST' && config.rate === 'money' && config.access !== 'operator' && config.idempotency !== 'accepted';

/** Every route says who may call it, how often, what it answers, and what a repeat means; else the server does not start. */
export function requireDeclarations(app: FastifyInstance): void {
  app.addHook('onRoute', ({ url, method, config, schema }) => {
    if (schema?.hide) return; // the vendored reference pages: static, for anyone
    const undeclared = [
      config?.access === undefined && 'config.access',
      config?.rate === undefined && 'config.rate',
      method === 'POST' && config?.idempotency === undefined && 'config.idempotency',
      schema?.response === undefined && 'schema.response',
    ].filter((name) => name !== false);
    if (undeclared.length > 0) throw new Error(`${method} ${url} does not declare ${undeclared.join(', ')}`);
  });
}

/** Leaves the caller on the request, and lets through whom the route's `access` allows. */
export async function admit(request: FastifyRequest, authenticate: Authenticate): Promise<void> {
  const access = request.routeOptions.config.access;
  if (access === undefined || access === 'anyone' || access === 'signed') return;
  const caller = await authenticate(request);
  request.caller = caller;
  if (access === 'login') requireLogin(caller);
  else if (caller.scopes !== 'all' && !caller.scopes.has(access)) {
    throw new Problem('insufficient_scope', undefined, { extra: { required_scope: access } });
  }
  if (access === 'operator' && caller.role !== 'operator') throw new Problem('forbidden');
}

/** For a route that asks only some of its callers who they are. */
export function requireLogin({ scopes }: Principal): void {
  if (scopes !== 'all') throw new Problem('insufficient_scope', 'This needs a log-in; an API key is not enough.');
}

/** The caller of a route that requires one. */
export function callerOf(request: FastifyRequest): Principal {
  if (!request.caller) throw new Error(`${request.routeOptions.url} asks for the caller but lets anyone in`);
  return request.caller;
}
