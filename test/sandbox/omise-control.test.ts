import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { JsonObject } from '../../sandbox/omise/json.ts';
import { basic, type Merchant, SECRET_KEY, startMerchant } from '../../sandbox/omise/testing/merchant.ts';
import { startReceiver } from '../../sandbox/omise/testing/receiver.ts';

async function open(): Promise<Merchant> {
  const merchant = await startMerchant();
  onTestFinished(() => merchant.close());
  return merchant;
}

/** The control port, as a program in another language would use it. */
function desk(merchant: Merchant) {
  return async (method: string, path: string, body?: JsonObject) => {
    const response = await fetch(merchant.omise.controlUrl + path, {
      method,
      headers: { 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: (await response.json()) as JsonObject };
  };
}

describe('the control port', () => {
  test('arms, shows and clears faults', async () => {
    const merchant = await open();
    const control = desk(merchant);
    const armed = await control('POST', '/faults', { api: 'bad_gateway', path: '/account', times: 5 });
    expect(armed.body).toEqual({ id: 'fault_1' });
    expect((await merchant.call('GET', '/account')).status).toBe(502);
    expect((await control('GET', '/faults')).body).toMatchObject({ faults: [{ id: 'fault_1', hits: 1 }] });
    await control('DELETE', '/faults/fault_1');
    expect((await merchant.call('GET', '/account')).status).toBe(200);
    await control('POST', '/faults', { webhook: 'drop' });
    await control('DELETE', '/faults');
    expect((await control('GET', '/faults')).body).toEqual({ faults: [] });
    expect((await control('POST', '/faults', { api: 'earthquake' })).status).toBe(400);
  });

  test('moves the clock', async () => {
    const merchant = await open();
    const { id } = await merchant.promptpay();
    const { body } = await desk(merchant)('POST', '/clock', { advance_ms: 86_400_000 });
    expect(Date.parse(String(body['now']))).toBeGreaterThan(Date.now() + 86_000_000);
    expect((await desk(merchant)('GET', '/clock')).status).toBe(200);
    expect(await merchant.get(`/charges/${id}`)).toMatchObject({ status: 'expired' });
  });

  test('does to charges what people and banks do', async () => {
    const merchant = await open();
    const control = desk(merchant);
    const [first, second, third] = [await merchant.promptpay(), await merchant.promptpay(), await merchant.promptpay()];
    expect((await control('POST', `/charges/${first.id}/pay`)).body).toMatchObject({ paid: true });
    expect((await control('POST', `/charges/${first.id}/pay`)).status).toBe(400);
    const failed = await control('POST', `/charges/${second.id}/fail`, { failure_code: 'timeout' });
    expect(failed.body).toMatchObject({ status: 'failed', failure_code: 'timeout' });
    expect((await control('POST', `/charges/${third.id}/expire`)).body).toMatchObject({ status: 'expired' });
    expect((await control('POST', `/charges/${third.id}/expire`)).status).toBe(400);
    const refunded = await control('POST', `/charges/${first.id}/refund`, { amount: 100 });
    expect(refunded.body).toMatchObject({ refunded_amount: 100 });
    const disputed = await control('POST', `/charges/${first.id}/dispute`, {
      amount: 200,
      reason: 'unauthorized_charge',
    });
    expect(disputed.body).toMatchObject({ dispute: { amount: 200, reason_code: 'unauthorized_charge' } });
    const closed = await control('POST', `/charges/${first.id}/dispute/close`, { status: 'won' });
    expect(closed.body).toMatchObject({ dispute: { status: 'won' } });
    const mutated = await control('POST', `/charges/${first.id}/mutate`, { data: 'unknown_status', status: 'odd' });
    expect(mutated.body).toMatchObject({ status: 'odd' });
    expect((await control('POST', `/charges/${first.id}/mutate`, { data: 'x' })).status).toBe(400);
    expect((await control('GET', `/charges/${first.id}`)).body).toMatchObject({ status: 'odd' });
    expect((await control('GET', '/charges/chrg_test_none')).status).toBe(404);
    expect((await control('GET', '/nothing')).status).toBe(404);
  });

  test('shows the state: calls, headers, charges by attempt', async () => {
    const merchant = await open();
    await merchant.promptpay({ metadata: { attempt_id: 'a' } });
    await merchant.promptpay({ metadata: { attempt_id: 'a' } });
    await merchant.promptpay({ metadata: { attempt_id: 'b' } });
    await merchant.call('GET', '/account', undefined, { 'x-request-id': 'r1' });
    await merchant.call('GET', '/no/such/thing');
    const { body } = await desk(merchant)('GET', '/state');
    expect(body).toMatchObject({
      calls: { 'POST /charges': 3, 'GET /account': 1, 'GET /no/such/thing': 1 },
      last_headers: { 'GET /account': { authorization: basic(SECRET_KEY), 'x-request-id': 'r1' } },
      charges_per_attempt: { a: 2, b: 1 },
      account: { country: 'TH' },
      faults: [],
    });
    expect(body['charges']).toHaveLength(3);
    expect((await desk(merchant)('GET', '/charges')).body['charges']).toHaveLength(3);
    expect((await desk(merchant)('GET', '/events')).body['events']).toHaveLength(3);
  });

  test('changes account, secrets and idempotency, waits for deliveries and replays them', async () => {
    const merchant = await open();
    const receiver = await startReceiver();
    onTestFinished(() => receiver.close());
    const control = desk(merchant);
    const account = await control('PATCH', '/account', { webhook_uri: receiver.url, api_version: '2017-11-02' });
    expect(account.body).toMatchObject({ webhook_uri: receiver.url });
    await control('PUT', '/webhooks/secrets', { secrets: ['c2VjcmV0'] });
    await merchant.call('POST', '/charges', { amount: 50_000, currency: 'THB', source: { type: 'promptpay' } });
    expect((await control('POST', '/webhooks/settled')).body).toEqual({ settled: true });
    expect(receiver.received).toMatchObject([{ event: { data: { currency: 'thb' } } }]);
    expect(receiver.received[0]?.headers).toHaveProperty('omise-signature');
    expect((await control('POST', '/webhooks/replay', { key: 'charge.create' })).body).toEqual({ replayed: 1 });
    await control('POST', '/webhooks/settled');
    expect(receiver.received).toHaveLength(2);
    await control('PUT', '/idempotency', { honour: true });
    const repeated = async () => (await merchant.call('POST', '/customers', {}, { 'idempotency-key': 'k' })).body['id'];
    expect(await repeated()).toBe(await repeated());
  });
});

describe('a stand-in', () => {
  test('shares nothing with its neighbours', async () => {
    const [one, other] = [await open(), await open()];
    const { id } = await one.promptpay();
    one.omise.control.fault({ api: 'bad_gateway' });
    one.omise.control.advanceClock(1_000_000);
    one.omise.control.account({ payment_methods: [] });
    expect((await other.call('GET', `/charges/${id}`)).status).toBe(404);
    expect(other.omise.control.now().getTime()).toBeLessThan(Date.now() + 1_000);
    expect((await other.get('/capability'))['payment_methods']).not.toEqual([]);
  });

  test('leaves nothing alive when it is closed: idle and hung connections, waiting deliveries', async () => {
    const silent = await startReceiver(() => {});
    onTestFinished(() => silent.close());
    const merchant = await startMerchant({ webhookUri: silent.url });
    merchant.omise.control.fault({ api: 'hang', path: '/account' });
    merchant.omise.control.fault({ api: 'latency', ms: 60_000, path: '/balance' });
    merchant.omise.control.fault({ webhook: 'delay', ms: 60_000, key: 'customer.*' });
    await merchant.promptpay();
    await merchant.post('/customers', {});
    const idle = connect(merchant.omise.port, '127.0.0.1');
    await once(idle, 'connect');
    const gone = once(idle, 'close');
    const hung = merchant.call('GET', '/account').catch(() => 'cut');
    const late = merchant.call('GET', '/balance').catch(() => 'cut');
    await expect.poll(() => merchant.omise.control.calls()['GET /balance']).toBe(1);
    const { settled } = merchant.omise.control;
    await merchant.close();
    expect(await Promise.all([hung, late])).toEqual(['cut', 'cut']);
    await gone;
    await settled();
    await expect(fetch(merchant.omise.url)).rejects.toThrow();
    await expect(fetch(merchant.omise.controlUrl)).rejects.toThrow();
  });

  test('runs alone, says where, and stops on a signal', async () => {
    const main = fileURLToPath(new URL('../../sandbox/omise/main.ts', import.meta.url));
    const child = spawn(process.execPath, [main, '--port', '0', '--control-port', '0', '--merchant', 'Tea']);
    onTestFinished(() => void child.kill('SIGKILL'));
    let printed = '';
    child.stdout.on('data', (chunk) => {
      printed += chunk;
    });
    await expect.poll(() => printed, { timeout: 10_000 }).toContain('Ctrl-C');
    const address = /API and vault +(\S+)/.exec(printed)?.[1];
    const headers = { authorization: basic('skey_test_sandbox') };
    expect((await fetch(`${address}/account`, { headers })).status).toBe(200);
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    expect(await exited).toEqual([0, null]);
  });
});
