import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { expireDue } from '../charges/outcome.ts';
import { isExecuted, sabotage } from '../faults/sabotage.ts';
import { checkedVersion } from '../objects/versions.ts';
import type { World } from '../state.ts';
import type { Batch } from '../webhooks/post-office.ts';
import { type Answer, send, withHeaders } from './answers.ts';
import { checkKey } from './basic-auth.ts';
import { parseBody, parseFields, readBody } from './body.ts';
import { Refused, refusalAnswer } from './refusals.ts';
import { findRoute, type Match, type Route } from './router.ts';

/** The life of a request: count, wait, execute, let webhooks overtake, answer (or spoil the answer), deliver the rest. */
export function serve(world: World, routes: readonly Route[]): RequestListener {
  return (req, res) => {
    handle(world, routes, req, res).catch((fault: unknown) => {
      res.destroy(); // the client left in the middle, the stand-in is closing, or it has a bug
      if (!isHangUp(fault) && !world.stopping.signal.aborted) console.error('omise stand-in:', fault);
    });
  };
}

async function handle(
  world: World,
  routes: readonly Route[],
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  const { method = 'GET', headers } = req;
  const url = new URL(req.url ?? '/', world.url);
  const match = findRoute(routes, method, url.pathname);
  const endpoint = match?.route.path ?? url.pathname;
  world.traffic.note(`${method} ${endpoint}`, headers);
  const { delayMs, fault } = world.faults.forRequest(method, endpoint, url.pathname);
  const body = await readBody(req).catch(refusalOrThrow);
  // A client that gives up meanwhile changes nothing: its request takes effect all the same.
  if (delayMs > 0) await sleep(delayMs, undefined, { signal: world.stopping.signal });
  if (fault !== null && !isExecuted(fault)) return sabotage(res, fault, null);
  const { answer, batch } = execute(world, req, url, match, body);
  try {
    const whole = await answer;
    await batch.beforeAnswer();
    await (fault === null ? send(res, whole) : sabotage(res, fault, whole));
  } finally {
    batch.release();
  }
}

interface Execution {
  answer: Promise<Answer>;
  batch: Batch;
}

/** The stores change in one synchronous step, so the events in the outbox afterwards are those of this request. */
function execute(
  world: World,
  req: IncomingMessage,
  url: URL,
  match: Match<Route> | null,
  body: Buffer | Refused,
): Execution {
  expireDue(world);
  const answer = perform(world, req, url, match, body);
  return { answer, batch: world.post.take(world, world.outbox.splice(0)) };
}

async function perform(
  world: World,
  req: IncomingMessage,
  url: URL,
  match: Match<Route> | null,
  body: Buffer | Refused,
): Promise<Answer> {
  const extra: Record<string, string> = {};
  try {
    if (body instanceof Refused) throw body;
    if (match === null) throw new Refused(404, 'not_found', 'the requested resource was not found');
    const { route, path } = match;
    // Tokens and sources are made by browsers, from the merchant's own pages.
    if (route.key === 'public') extra['access-control-allow-origin'] = '*';
    checkKey(world, route.key, req.headers.authorization);
    const asked = req.headers['omise-version'];
    const version = checkedVersion(typeof asked === 'string' ? asked : world.account.api_version);
    extra['omise-version'] = version;
    const first = firstAnswer(world, req, url);
    if (first !== null) return first;
    const query = parseFields(url.search);
    const input = parseBody(req.headers['content-type'], body);
    const answer = withHeaders(await route.answer({ world, path, query, input, version }), extra);
    keepAnswer(world, req, url, answer);
    return answer;
  } catch (refusal) {
    if (refusal instanceof Refused) return withHeaders(refusalAnswer(refusal), extra);
    throw refusal;
  }
}

/** Off by default: Omise promises nothing of the kind, and a merchant must not need it. */
function firstAnswer(world: World, req: IncomingMessage, url: URL): Answer | null {
  const name = idempotencyName(world, req, url);
  return name === null ? null : (world.firstAnswers.get(name) ?? null);
}

function keepAnswer(world: World, req: IncomingMessage, url: URL, answer: Answer): void {
  const name = idempotencyName(world, req, url);
  if (name !== null) world.firstAnswers.set(name, answer);
}

function idempotencyName(world: World, req: IncomingMessage, url: URL): string | null {
  const key = req.headers['idempotency-key'];
  return world.honourIdempotencyKey && req.method === 'POST' && typeof key === 'string'
    ? `${url.pathname} ${key}`
    : null;
}

function refusalOrThrow(fault: unknown): Refused {
  if (fault instanceof Refused) return fault;
  throw fault;
}

function isHangUp(fault: unknown): boolean {
  return (
    fault instanceof Error &&
    'code' in fault &&
    (fault.code === 'ECONNRESET' || fault.code === 'ERR_STREAM_PREMATURE_CLOSE')
  );
}
