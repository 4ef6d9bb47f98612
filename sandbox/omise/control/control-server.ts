import type { IncomingMessage, RequestListener } from 'node:http';
import { DATA_FAULTS, type DataFault } from '../charges/data-faults.ts';
import { API_FAULTS, type FaultRule, WEBHOOK_FAULTS } from '../faults/rules.ts';
import { type Answer, jsonAnswer, send } from '../http/answers.ts';
import { parseBody, readBody } from '../http/body.ts';
import { flagField, integerField, requiredInteger, textField, textList } from '../http/fields.ts';
import { badRequest, Refused, refusalAnswer } from '../http/refusals.ts';
import { findRoute } from '../http/router.ts';
import type { JsonObject } from '../json.ts';
import type { OmiseControl } from './control.ts';

interface ControlCall {
  control: OmiseControl;
  id: string;
  input: JsonObject;
}

interface ControlRoute {
  method: string;
  path: string;
  /** Any plain value: it is written as JSON as it is. */
  answer(call: ControlCall): unknown;
}

const routes: readonly ControlRoute[] = [
  route('GET', '/state', ({ control }) => control.state()),
  route('GET', '/faults', ({ control }) => ({ faults: control.faults() })),
  route('POST', '/faults', ({ control, input }) => ({ id: control.fault(faultRule(input)) })),
  route('DELETE', '/faults', ({ control }) => cleared(control)),
  route('DELETE', '/faults/:id', ({ control, id }) => cleared(control, id)),
  route('GET', '/clock', ({ control }) => ({ now: control.now() })),
  route('POST', '/clock', ({ control, input }) => ({
    now: control.advanceClock(requiredInteger(input, 'advance_ms')),
  })),
  route('GET', '/charges', ({ control }) => ({ charges: control.charges() })),
  route('GET', '/charges/:id', ({ control, id }) => control.charge(id)),
  route('POST', '/charges/:id/pay', ({ control, id }) => control.pay(id)),
  route('POST', '/charges/:id/fail', ({ control, id, input }) =>
    control.fail(id, textField(input, 'failure_code') ?? undefined),
  ),
  route('POST', '/charges/:id/expire', ({ control, id }) => control.expire(id)),
  route('POST', '/charges/:id/refund', ({ control, id, input }) => control.refund(id, amountOf(input))),
  route('POST', '/charges/:id/dispute', ({ control, id, input }) => {
    const reason = textField(input, 'reason');
    return control.dispute(id, { ...amountOf(input), ...(reason === null ? {} : { reason }) });
  }),
  route('POST', '/charges/:id/dispute/close', ({ control, id, input }) => control.closeDispute(id, verdict(input))),
  route('POST', '/charges/:id/mutate', ({ control, id, input }) => control.mutate(id, dataFault(input))),
  route('GET', '/events', ({ control }) => ({ events: control.events() })),
  route('POST', '/webhooks/replay', ({ control, input }) => ({ replayed: control.replayWebhooks(input) })),
  route('POST', '/webhooks/settled', async ({ control }) => {
    await control.settled();
    return { settled: true };
  }),
  route('PUT', '/webhooks/secrets', ({ control, input }) => {
    control.webhookSecrets(textList(input, 'secrets'));
    return {};
  }),
  route('PATCH', '/account', ({ control, input }) => control.account(input)),
  route('PUT', '/idempotency', ({ control, input }) => {
    control.honourIdempotencyKey(flagField(input, 'honour') ?? true);
    return {};
  }),
];

function route(method: string, path: string, answer: (call: ControlCall) => unknown): ControlRoute {
  return { method, path, answer };
}

/** The control API over HTTP: JSON in, JSON out, no key, so it belongs on a loopback address. */
export function serveControl(control: OmiseControl): RequestListener {
  return (req, res) => {
    answerControl(control, req)
      .then((answer) => send(res, answer))
      .catch(() => res.destroy());
  };
}

async function answerControl(control: OmiseControl, req: IncomingMessage): Promise<Answer> {
  try {
    const { pathname } = new URL(req.url ?? '/', 'http://control');
    const match = findRoute(routes, req.method ?? 'GET', pathname);
    if (match === null) throw new Refused(404, 'not_found', `no ${req.method} ${pathname} on the control port`);
    const input = parseBody(req.headers['content-type'], await readBody(req));
    const body = await match.route.answer({ control, id: match.path['id'] ?? '', input });
    return { ...jsonAnswer(200, {}), body: JSON.stringify(body) };
  } catch (refusal) {
    if (refusal instanceof Refused) return refusalAnswer(refusal);
    throw refusal;
  }
}

function cleared(control: OmiseControl, id?: string): JsonObject {
  control.clearFaults(id);
  return {};
}

function amountOf(input: JsonObject): { amount?: number } {
  const amount = integerField(input, 'amount');
  return amount === null ? {} : { amount };
}

function verdict(input: JsonObject): 'won' | 'lost' {
  const { status } = input;
  if (status !== 'won' && status !== 'lost') throw badRequest('status must be won or lost');
  return status;
}

/** The name of the fault is checked; its numbers are the test author's business. */
function faultRule(input: JsonObject): FaultRule {
  const known = isNamed(API_FAULTS, input['api']) || isNamed(WEBHOOK_FAULTS, input['webhook']);
  if (!known) throw badRequest(`no such fault; api: ${API_FAULTS.join(', ')}; webhook: ${WEBHOOK_FAULTS.join(', ')}`);
  return input as unknown as FaultRule;
}

function dataFault(input: JsonObject): DataFault {
  if (!isNamed(DATA_FAULTS, input['data'])) throw badRequest(`no such data fault; data: ${DATA_FAULTS.join(', ')}`);
  return input as unknown as DataFault;
}

function isNamed(names: readonly string[], name: unknown): boolean {
  return typeof name === 'string' && names.includes(name);
}
