import { randomUUID } from 'node:crypto';
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
  type RawServerDefault,
} from 'fastify';
import { serializerCompiler, validatorCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import { type Authenticate, admit, requireDeclarations, startsMoney } from './access.ts';
import { acceptJson } from './body.ts';
import { problemOf } from './failures.ts';
import { type Limits, limiter } from './limits.ts';
import { Problem, problemBody, retryLater } from './problem.ts';
import { securityHeaders } from './security-headers.ts';

/** A Fastify server whose routes are typed by their zod schemas. */
export type App = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  ZodTypeProvider
>;

export interface ServerOptions {
  log: Log;
  metrics: Metrics;
  publicUrl: string;
  trustProxy: string[];
  limits: Limits;
  authenticate: Authenticate;
  /** True once the process is on its way out: new requests are sent elsewhere. */
  isClosing: () => boolean;
  /** True while nothing new may be bought or run, because the audit found that money is wrong. */
  isHalted: () => boolean;
}

const BODY_LIMIT = 64 * 1024;
const HEADER_LIMIT = 16 * 1024;
const MAX_PARAM_LENGTH = 200; // ids are 31 characters, page tokens 43
const MAX_URL_LENGTH = 4096;
const CONNECTION_TIMEOUT_MS = 60_000;
const HEADERS_TIMEOUT_MS = 15_000; // slowloris
const CONNECTIONS_CHECKED_MS = 5_000; // how late these two may strike; Node's own 30 s would double them
const REQUEST_TIMEOUT_MS = 30_000; // a whole request, 64 KiB as a rule, has arrived by then
const HANDLER_TIMEOUT_MS = 30_000; // longer than any external call's deadline and its retries
const KEEP_ALIVE_MS = 72_000; // longer than the usual 60 s of load balancers, which must be the first to close
const MAX_CONNECTIONS = 10_000; // each takes a file descriptor and some memory; what comes beyond is dropped
const HALT_RETRY_S = 60; // a person has to look first
const MAX_REQUESTS_PER_SOCKET = 0; // no limit; old connections go with the process

/** A server with everything that holds for every route; contexts add theirs. */
export async function createServer(options: ServerOptions): Promise<App> {
  const { log } = options;
  const docs = `${options.publicUrl}/docs/errors`;
  const server = Fastify({
    loggerInstance: log as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }), // one line per request, written below
    genReqId: requestId,
    childLoggerFactory: (logger) => logger, // our lines name their request themselves
    trustProxy: options.trustProxy.length > 0 ? options.trustProxy : false,
    bodyLimit: BODY_LIMIT,
    connectionTimeout: CONNECTION_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    handlerTimeout: HANDLER_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    maxRequestsPerSocket: MAX_REQUESTS_PER_SOCKET,
    forceCloseConnections: 'idle',
    return503OnClosing: false, // ours is a problem document
    http: {
      headersTimeout: HEADERS_TIMEOUT_MS,
      connectionsCheckingInterval: CONNECTIONS_CHECKED_MS,
      maxHeaderSize: HEADER_LIMIT,
      requireHostHeader: false, // refused below
    },
    routerOptions: { maxParamLength: MAX_PARAM_LENGTH },
    frameworkErrors: (fault, request, reply) => {
      const problem = problemOf(fault, request as FastifyRequest) ?? new Problem('malformed_request');
      stamp(request as FastifyRequest, reply as unknown as FastifyReply); // no hook runs
      tell(problem, request as FastifyRequest, reply as unknown as FastifyReply, docs);
    },
    clientErrorHandler: (fault, socket) => refuseRaw(fault, socket, docs),
  }).withTypeProvider<ZodTypeProvider>();
  server.setValidatorCompiler(validatorCompiler);
  server.setSerializerCompiler(serializerCompiler);
  server.server.maxConnections = MAX_CONNECTIONS;
  server.decorateRequest('caller', null);
  const limit = await limiter(server as unknown as FastifyInstance, options.limits);
  requireDeclarations(server as unknown as FastifyInstance);
  listRoutes(server);
  answerFailures(server, log, docs);
  logRequests(server, log, options.metrics);

  // First of all hooks: a refusal by a later one carries these headers, too.
  server.addHook('onRequest', async (request, reply) => {
    stamp(request, reply);
    if (options.isClosing()) {
      throw new Problem('shutting_down', undefined, { headers: { 'retry-after': '2' } });
    }
    if (request.url.length > MAX_URL_LENGTH) throw new Problem('uri_too_long');
    if (Object.values(request.params as Record<string, string>).includes('')) throw new Problem('route_not_found');
    if (lacksHost(request.raw)) throw new Problem('malformed_request', 'There is no Host header.');
    const refusal = await admit(request, options.authenticate).catch((fault: unknown) => fault);
    if (refusal instanceof Problem && refusal.status === 401) await limit.countRefusal(request, reply);
    else if (!request.is404) await limit.count(request, reply);
    if (refusal !== undefined) throw refusal;
    if (options.isHalted() && startsMoney(request)) throw retryLater('audit_halt', HALT_RETRY_S);
  });
  acceptJson(server as unknown as FastifyInstance);
  // A connection that is kept alive would keep the process alive.
  server.addHook('onSend', (_request, reply, _payload, done) => {
    if (options.isClosing()) reply.header('Connection', 'close');
    done();
  });
  return server;
}

const onEveryReply = { ...securityHeaders(), 'Cache-Control': 'no-store' };

function stamp(request: FastifyRequest, reply: FastifyReply): void {
  reply.headers(onEveryReply).header('Request-Id', request.id);
}

/** RFC 9112 §3.2. Node could refuse it by itself, but without a problem document. */
const lacksHost = ({ headers, httpVersion }: IncomingMessage) => headers.host === undefined && httpVersion === '1.1';

/** The client's own Request-Id or trace id when it is harmless, so that both sides' logs can be joined. */
function requestId(request: IncomingMessage): string {
  const own = request.headers['request-id'];
  if (typeof own === 'string' && /^[\w-]{8,64}$/.test(own)) return own;
  const trace = request.headers['traceparent']; // W3C Trace Context §3.2
  const traceId =
    typeof trace === 'string' ? /^00-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$/.exec(trace)?.[1] : undefined;
  return traceId ?? randomUUID();
}

/** One line when the reply is sent. The route's pattern, never the address: addresses can carry capabilities. */
function logRequests(server: App, log: Log, metrics: Metrics): void {
  server.addHook('onResponse', (request, reply, done) => {
    const labels = {
      method: request.method,
      route: request.routeOptions.url ?? 'none',
      status: `${Math.floor(reply.statusCode / 100)}xx`,
    };
    metrics.requests.observe(labels, reply.elapsedTime / 1000);
    log.info({
      request_id: request.id,
      method: request.method,
      route: request.routeOptions.url ?? null,
      status: reply.statusCode,
      ms: Math.round(reply.elapsedTime * 10) / 10,
      ...(request.caller ? { account_id: request.caller.accountId } : {}),
    });
    done();
  });
}

function answerFailures(server: App, log: Log, docs: string): void {
  server.setErrorHandler((fault, request, reply) => {
    const problem = problemOf(fault, request);
    if (!problem) log.error({ err: fault, request_id: request.id, route: request.routeOptions.url }, 'request failed');
    return tell(problem ?? new Problem('internal_error'), request, reply, docs);
  });
  server.setNotFoundHandler((request) => {
    const methods = methodsAt([...server.routeList, ...server.headRoutes], pathOf(request));
    if (methods.length === 0) throw new Problem('route_not_found');
    throw new Problem('method_not_allowed', undefined, { headers: { allow: methods.join(', ') } });
  });
}

function tell(problem: Problem, request: FastifyRequest, reply: FastifyReply, docs: string): FastifyReply {
  const challenge = challengeOf(problem);
  if (challenge) reply.header('WWW-Authenticate', challenge);
  return reply
    .code(problem.status)
    .headers(problem.headers)
    .type('application/problem+json')
    .serializer(JSON.stringify)
    .send(problemBody(problem, { path: pathOf(request), requestId: request.id, docs }));
}

/** RFC 6750 §3. */
function challengeOf({ status, code, extra }: Problem): string | undefined {
  const realm = 'Bearer realm="farebox"';
  if (code === 'insufficient_scope') {
    const scope = extra['required_scope'];
    return `${realm}, error="insufficient_scope"${typeof scope === 'string' ? `, scope="${scope}"` : ''}`;
  }
  if (status !== 401) return undefined;
  const isRefused = code === 'invalid_token' || code === 'invalid_api_key' || code === 'invalid_callback_token';
  return isRefused ? `${realm}, error="invalid_token"` : realm;
}

/**
 * What does not become a whole request: answered on the bare socket. While an earlier request on it is being worked on,
 * the answer would be taken for the answer to that one: then the connection just ends.
 */
function refuseRaw(fault: Error & { code?: string }, socket: Socket, docs: string): void {
  const open = (socket as { _httpMessage?: ServerResponse | null })._httpMessage;
  const isBusy = open && (open.req.complete || open.headersSent);
  if (fault.code === 'ECONNRESET' || !socket.writable || isBusy) return void socket.destroy();
  const code = ({ HPE_HEADER_OVERFLOW: 'headers_too_large', ERR_HTTP_REQUEST_TIMEOUT: 'request_timeout' } as const)[
    fault.code ?? ''
  ];
  const problem = new Problem(code ?? 'malformed_request');
  const requestId = randomUUID();
  const body = JSON.stringify(problemBody(problem, { path: '', requestId, docs }));
  const head = [
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}`,
    'Content-Type: application/problem+json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    `Request-Id: ${requestId}`,
    'Cache-Control: no-store',
    'Connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
}

const pathOf = (request: FastifyRequest) => request.url.split('?', 1)[0] ?? '/';

declare module 'fastify' {
  interface FastifyInstance {
    /** All routes: method and pattern, as they were declared. */
    routeList: [method: string, pattern: string][];
    /** Those that Fastify adds: HEAD for each GET that does not stream. */
    headRoutes: [method: string, pattern: string][];
  }
}

function listRoutes(server: App): void {
  server.decorate('routeList', []);
  server.decorate('headRoutes', []);
  server.addHook('onRoute', ({ method, url }) => {
    for (const one of [method].flat()) server[one === 'HEAD' ? 'headRoutes' : 'routeList'].push([one, url]);
  });
}

/** Which methods an address does have, for 405 and its Allow header. */
function methodsAt(routes: [string, string][], path: string): string[] {
  const segments = path.split('/');
  const fits = (pattern: string) => {
    const parts = pattern.split('/');
    return (
      parts.length === segments.length &&
      parts.every((part, i) => part === segments[i] || (part.startsWith(':') && segments[i] !== ''))
    );
  };
  return routes.filter(([, pattern]) => fits(pattern)).map(([method]) => method);
}
