import { Agent, type IncomingMessage, request } from 'node:http';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { ApiFault } from '../../sandbox/omise/faults/rules.ts';
import { basic, type Merchant, SECRET_KEY, startMerchant } from '../../sandbox/omise/testing/merchant.ts';

let merchant: Merchant;
const agent = new Agent();

beforeAll(async () => {
  merchant = await startMerchant({ account: { country: 'TH' } });
});
afterEach(() => merchant.omise.control.clearFaults());
afterAll(async () => {
  agent.destroy();
  await merchant.close();
});

interface Seen {
  status: number | null;
  type: string;
  body: string;
  /** How it ended: `end`, or the code of the error, or `silence` when nothing came for a while. */
  end: string;
}

const PATIENCE_MS = 300;

/** One raw exchange, because what goes wrong on the wire is what matters here. */
function exchange(method: string, path: string, body?: unknown): Promise<Seen> {
  return new Promise((resolve) => {
    const seen: Seen = { status: null, type: '', body: '', end: '' };
    const finish = (end: string) => {
      seen.end ||= end;
      resolve(seen);
    };
    const headers = { authorization: basic(SECRET_KEY), 'content-type': 'application/json' };
    const call = request({ agent, host: '127.0.0.1', port: merchant.omise.port, method, path, headers });
    call.setTimeout(PATIENCE_MS, () => {
      finish('silence');
      call.destroy();
    });
    call.on('error', (error: Error & { code?: string }) => finish(error.code ?? error.message));
    call.on('response', (response: IncomingMessage) => {
      seen.status = response.statusCode ?? null;
      seen.type = response.headers['content-type'] ?? '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        seen.body += chunk;
      });
      response.on('end', () => finish('end'));
      response.on('error', (error: Error & { code?: string }) => finish(error.code ?? error.message));
    });
    call.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

let attempts = 0;

/** Creates a charge under one fault: what the client saw, and whether the charge exists. */
async function createUnder(rule: ApiFault): Promise<Seen & { made: number }> {
  attempts += 1;
  const attempt_id = `att_${attempts}`;
  merchant.omise.control.fault({ method: 'POST', path: '/charges', times: 1, ...rule });
  const order = { amount: 50_000, currency: 'THB', source: { type: 'promptpay' }, metadata: { attempt_id } };
  const seen = await exchange('POST', '/charges', order);
  return { ...seen, made: merchant.omise.control.chargesPerAttempt()[attempt_id] ?? 0 };
}

describe('executed, but not answered well', () => {
  test('reset_after_execution: the charge exists, the client does not know it', async () => {
    expect(await createUnder({ api: 'reset_after_execution' })).toMatchObject({
      status: null,
      end: 'ECONNRESET',
      made: 1,
    });
  });

  test('hang: silence before the headers', async () => {
    expect(await createUnder({ api: 'hang' })).toMatchObject({ status: null, end: 'silence', made: 1 });
  });

  test('hang_in_body: half an answer, then silence', async () => {
    const seen = await createUnder({ api: 'hang_in_body' });
    expect(seen).toMatchObject({ status: 200, end: 'silence', made: 1 });
    expect(seen.body).toMatch(/^\{"object":"charge"/);
    expect(() => JSON.parse(seen.body)).toThrow();
  });

  test('cut_in_body: half an answer, then the end of the connection', async () => {
    const seen = await createUnder({ api: 'cut_in_body' });
    expect(seen).toMatchObject({ status: 200, end: 'ECONNRESET', made: 1 });
    expect(seen.body.length).toBeGreaterThan(0);
  });

  test('no_content, null_body and wrong_content_type', async () => {
    expect(await createUnder({ api: 'no_content' })).toMatchObject({ status: 204, body: '', end: 'end', made: 1 });
    expect(await createUnder({ api: 'null_body' })).toMatchObject({ status: 200, body: 'null', made: 1 });
    const wrong = await createUnder({ api: 'wrong_content_type' });
    expect(wrong).toMatchObject({ status: 200, type: 'text/html', made: 1 });
    expect(JSON.parse(wrong.body)).toMatchObject({ object: 'charge' });
  });
});

describe('not executed', () => {
  test('reset_before_execution', async () => {
    expect(await createUnder({ api: 'reset_before_execution' })).toMatchObject({ end: 'ECONNRESET', made: 0 });
  });

  test('server_error: JSON without object: error', async () => {
    for (const status of [500, 503] as const) {
      const seen = await createUnder({ api: 'server_error', status });
      expect(seen).toMatchObject({ status, made: 0 });
      expect(JSON.parse(seen.body)).not.toHaveProperty('object');
    }
  });

  test('bad_gateway: a page of HTML', async () => {
    const seen = await createUnder({ api: 'bad_gateway' });
    expect(seen).toMatchObject({ status: 502, type: 'text/html', made: 0, body: expect.stringMatching(/^<html>/) });
  });

  test('rate_limited, with and without a body', async () => {
    const seen = await createUnder({ api: 'rate_limited', retry_after_s: 2 });
    expect(seen).toMatchObject({ status: 429, made: 0 });
    expect(JSON.parse(seen.body)).toMatchObject({ object: 'error', code: 'too_many_requests' });
    expect(await createUnder({ api: 'rate_limited', body: false })).toMatchObject({ status: 429, body: '', made: 0 });
  });

  test('unauthorized for a while, by the stand-in’s clock', async () => {
    const { control } = merchant.omise;
    control.fault({ api: 'unauthorized', for_ms: 60_000 });
    expect(await exchange('GET', '/account')).toMatchObject({ status: 401 });
    expect(await exchange('GET', '/account')).toMatchObject({ status: 401 });
    control.advanceClock(60_000);
    expect(await exchange('GET', '/account')).toMatchObject({ status: 200 });
  });
});

describe('a rule', () => {
  test('can turn the default of execution round', async () => {
    expect(await createUnder({ api: 'server_error', executed: true })).toMatchObject({ status: 500, made: 1 });
    expect(await createUnder({ api: 'hang', executed: false })).toMatchObject({ end: 'silence', made: 0 });
  });

  test('latency: answers late, and adds to another fault', async () => {
    const { control } = merchant.omise;
    control.fault({ api: 'latency', ms: 30, spread_ms: 10 });
    control.fault({ api: 'bad_gateway' });
    const before = performance.now();
    expect(await exchange('GET', '/account')).toMatchObject({ status: 502 });
    expect(performance.now() - before).toBeGreaterThanOrEqual(28);
  });

  test('is aimed by method, by endpoint or by a glob over the path', async () => {
    const { control } = merchant.omise;
    const { id } = await merchant.promptpay();
    control.fault({ api: 'bad_gateway', method: 'GET', path: '/charges/:id' });
    control.fault({ api: 'null_body', path: '/charges/*/refunds' });
    expect((await exchange('GET', `/charges/${id}`)).status).toBe(502);
    expect((await exchange('GET', '/charges')).status).toBe(200);
    expect((await exchange('POST', `/charges/${id}/mark_as_paid`)).status).toBe(200);
    expect((await exchange('GET', `/charges/${id}/refunds`)).body).toBe('null');
  });

  test('fires so many times, or with a probability that repeats with the seed', async () => {
    const run = async () => {
      const other = await startMerchant({ seed: 42 });
      other.omise.control.fault({ api: 'bad_gateway', probability: 0.4 });
      const statuses: number[] = [];
      for (let count = 0; count < 20; count += 1) statuses.push((await other.call('GET', '/account')).status);
      await other.close();
      return statuses;
    };
    const first = await run();
    expect(new Set(first)).toEqual(new Set([200, 502]));
    expect(await run()).toEqual(first);
    merchant.omise.control.fault({ api: 'bad_gateway', times: 2 });
    const statuses = [];
    for (let count = 0; count < 3; count += 1) statuses.push((await exchange('GET', '/account')).status);
    expect(statuses).toEqual([502, 502, 200]);
  });

  test('can be taken back by its id', async () => {
    const { control } = merchant.omise;
    const id = control.fault({ api: 'bad_gateway' });
    control.fault({ api: 'bad_gateway', path: '/balance' });
    control.clearFaults(id);
    expect((await exchange('GET', '/account')).status).toBe(200);
    expect((await exchange('GET', '/balance')).status).toBe(502);
  });
});

test('a webhook is sent for what was executed and not answered', async () => {
  await createUnder({ api: 'hang' });
  const event = merchant.omise.control.events().at(-1);
  expect(event).toMatchObject({ key: 'charge.create', data: { metadata: { attempt_id: `att_${attempts}` } } });
});
