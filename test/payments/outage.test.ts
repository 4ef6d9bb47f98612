import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { FaultRule } from '../../sandbox/omise/faults/rules.ts';
import { type Client, clientOf, eventually, type Json, newCustomer, type Reply } from '../harness/client.ts';
import { startProvider } from '../harness/farebox.ts';
import { startProxy, type TcpProxy } from '../harness/tcp-proxy.ts';
import { CREDITS, openShop, type Shop } from './shop.ts';

const DEADLINE_MS = 400;
/** A cancellation makes two calls; and the machine has other things to do. */
const PATIENCE_MS = 2 * DEADLINE_MS + 2_500;

let road: TcpProxy;
let shop: Shop;
let customer: Client;

beforeAll(async () => {
  const omise = await startProvider();
  road = await startProxy({ target: { port: omise.port } });
  shop = await openShop({
    omise,
    env: { OMISE_URL: `http://127.0.0.1:${road.port}`, OMISE_DEADLINE_MS: String(DEADLINE_MS) },
  });
  customer = await newCustomer(shop.farebox);
});
afterAll(async () => {
  await shop.stop();
  await road.close();
  await shop.farebox.omise.close();
});

/** Ways in which a provider is away. */
const outages: [string, { begin(): void }][] = [
  ['nobody answers the connection', { begin: () => road.blackHole() }],
  ['connections are refused', { begin: () => refuseAll() }],
  ['it accepts and says nothing', faults({ api: 'hang', executed: false })],
  ['it stops in the middle of every body', faults({ api: 'hang_in_body' })],
  ['it cuts every body', faults({ api: 'cut_in_body' })],
  ['it resets every connection', faults({ api: 'reset_before_execution' })],
  ['a proxy answers with HTML', faults({ api: 'bad_gateway' })],
  ['it answers 503', faults({ api: 'server_error', status: 503 })],
  ['too many requests', faults({ api: 'rate_limited', retry_after_s: 60 })],
  ['it refuses our key', faults({ api: 'unauthorized' })],
];
function faults(rule: FaultRule) {
  return { begin: () => void shop.omise.fault(rule) };
}
function refuseAll() {
  road.refuse();
  road.resetAll();
}
const heal = async () => {
  shop.omise.clearFaults();
  await road.pass();
};

/** The replies, all of them in time. */
async function inTime(calls: Promise<Reply>[]): Promise<Reply[]> {
  const begun = performance.now();
  const replies = await Promise.all(calls);
  expect(performance.now() - begun).toBeLessThan(PATIENCE_MS);
  for (const { status, body, headers } of replies) {
    if (status < 500) continue;
    expect(status).toBe(503);
    expect(body?.code).toBe('provider_unavailable');
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
  }
  return replies;
}

const start = (key: string) =>
  customer.call('POST', '/v1/purchases', { key, body: { package_id: shop.pack.id, method: { type: 'promptpay' } } });
const status = async (purchase: Json) => (await customer.ok('GET', `/v1/purchases/${purchase.id}`)).status;

/** Repeats a request with its key, as the API tells clients to, until there is something to pay; time is lent a hand. */
async function untilPayable(key: string, made: Reply | undefined): Promise<Json> {
  return eventually(
    async () => {
      if (made?.status === 201) await shop.age(made.body, 40);
      return (await start(key)).body;
    },
    (body) => typeof body?.qr_url === 'string',
    15_000,
  );
}

describe('while the provider is away', () => {
  // REQ E7.1 E7.2 E7.4
  test.each(outages)(
    '%s: every answer comes in time, and afterwards nothing is lost or doubled',
    async (_name, { begin }) => {
      const [paid, cancelled, open] = [await shop.buy(customer), await shop.buy(customer), await shop.buy(customer)];
      begin();
      shop.omise.pay(shop.chargeOf(paid));
      const back = new URL(`${open.status_url}/return`);
      const key = randomUUID();
      const [made] = await inTime([
        start(key),
        customer.post(`/v1/purchases/${cancelled.id}/cancel`),
        customer.get(`/v1/purchases/${open.id}`),
        customer.get(`/v1/purchases/${open.id}/qr`),
        customer.get('/v1/packages'),
        clientOf(back.origin).get(back.pathname),
      ]);
      expect([201, 503]).toContain(made?.status);
      expect(await status(paid), 'nothing is believed that was not read back').toBe('pending');

      await heal();
      await eventually(
        async () => {
          // The notification is kept and read again after a pause; here the pause is over.
          await shop.sql`update payments.webhook_inbox set next_attempt_at = now() where state = 'received'`;
          await shop.age(paid, 100);
          return status(paid);
        },
        (now) => now === 'completed',
        15_000,
      );
      const late = await untilPayable(key, made);
      shop.omise.pay(shop.chargesOf(late).find((charge) => charge.status === 'pending')?.id);
      await eventually(
        () => status(late),
        (now) => now === 'completed',
      );
      for (const purchase of [paid, late]) expect(await shop.booked(purchase)).toEqual({ times: 1, credits: CREDITS });
      await eventually(
        () => customer.post(`/v1/purchases/${cancelled.id}/cancel`),
        (reply) => reply.status === 200 && reply.body.status === 'cancelled',
      );
      expect(await shop.booked(cancelled)).toEqual({ times: 0, credits: 0 });
      expect(await status(open)).toBe('pending');
      for (const purchase of [paid, late, cancelled, open]) expect(await shop.differencesOf(purchase)).toEqual([]);
      expect(Math.max(...Object.values(shop.omise.chargesPerAttempt()))).toBe(1);
    },
  );

  test('a Farebox starts all the same, sells by what it knows, and learns the rest later', async () => {
    refuseAll();
    const other = await openShop({
      omise: shop.farebox.omise,
      env: { OMISE_URL: `http://127.0.0.1:${road.port}`, OMISE_DEADLINE_MS: String(DEADLINE_MS) },
    });
    const { data } = await clientOf(other.farebox.url).ok('GET', '/v1/packages');
    expect(data[0].methods).toContain('promptpay');
    await heal();
    const buyer = await newCustomer(other.farebox);
    expect((await other.buy(buyer)).qr_url).not.toBeNull();
    await other.stop();
  });
});
