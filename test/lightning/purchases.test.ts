import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { fromWire } from '../../src/platform/ids.ts';
import { type Client, clientOf, eventually, type Json, newCustomer } from '../harness/client.ts';
import { fareboxForFile } from '../harness/farebox.ts';
import { inProcess } from '../harness/in-process.ts';
import { expectProblem } from '../harness/problems.ts';
import { faultsAtRest } from '../harness/whole-books.ts';
import { CREDITS, type LightningStage, MSAT, openLightningStage } from './stage.ts';

/** Packages that are bought by an invoice of the operator's wallet. */

let stage: LightningStage;
let buyer: Client;
beforeAll(async () => {
  stage = await openLightningStage();
});
afterAll(() => stage.close());
beforeEach(async () => {
  stage.wallet.control.faults({});
  buyer = await newCustomer(stage.farebox);
});

const order = (more: Json = {}) => ({ package_id: stage.pack.id, method: { type: 'lightning' }, ...more });
const available = async () => (await buyer.ok('GET', '/v1/credits/balance')).available;
const pay = ({ lightning }: Json) => stage.wallet.control.pay(lightning.invoice);

test('the package tells what it costs there; the operator sets it, and takes it back', async () => {
  const offered = async () => buyer.ok('GET', `/v1/packages/${stage.pack.id}`);
  expect(await offered()).toMatchObject({ lightning_price: { amount_msat: String(MSAT), display: '21 sat' } });
  expect((await offered()).methods).toContain('lightning');
  expect((await buyer.ok('GET', '/v1/packages')).data[0].lightning_price).toEqual((await offered()).lightning_price);
  const payment = { type: 'package', package_id: stage.pack.id };
  const { ways } = await buyer.ok('POST', '/v1/quotes', { body: { payment } });
  expect(ways.find(({ rail }: Json) => rail === 'lightning')).toMatchObject({
    ...{ amount_msat: String(MSAT), display: '21 sat', received: { least: String(MSAT) }, credits: CREDITS },
  });
  const other = await stage.operator.ok('POST', '/v1/admin/packages', {
    body: { name: 'P', credits: 1, price: 5_000 },
  });
  const path = `/v1/admin/packages/${other.id}/lightning-price`;
  const set = (amount_msat: Json) => stage.operator.call('PUT', path, { body: { amount_msat } });
  expect((await set('1500')).body.price).toEqual({ amount_msat: '1500', display: '1.5 sat' });
  expect((await set(null)).body.price).toBeNull();
  expect((await buyer.ok('GET', `/v1/packages/${other.id}`)).methods).not.toContain('lightning');
  for (const wrong of ['0', '-1', '1.5', 21, '2100000000000001']) expectProblem(await set(wrong), 'validation_failed');
  const refused = await buyer.post('/v1/purchases', { ...order(), package_id: other.id });
  expectProblem(refused, 'method_unavailable');
});

// REQ V3
test('it is bought, paid and credited as soon as the wallet tells of it; a repeat finds the same purchase', async () => {
  const key = randomUUID();
  const purchase = await stage.buy(buyer, key);
  expect(purchase).toMatchObject({ status: 'pending', method: 'lightning', credits: CREDITS, qr_url: null });
  expect(purchase.lightning).toMatchObject({
    amount_msat: String(MSAT),
    invoice: expect.stringMatching(/^lnbcrt210n1/),
  });
  expect(await stage.buy(buyer, key)).toEqual(purchase);
  await pay(purchase);
  await stage.becomes(buyer, purchase, 'completed');
  expect([await available(), await stage.booked(purchase)]).toEqual([CREDITS, CREDITS]);
  expect((await buyer.ok('GET', '/v1/events?type=payments.purchase_completed')).data).toHaveLength(1);
  const trail = await stage.operator.ok('GET', `/v1/admin/purchases/${purchase.id}`);
  expect(trail.history.map(({ what }: Json) => what)).toEqual([
    'purchase_started',
    'invoice_opened',
    'purchase_completed',
  ]);
});

test('whatever tells of it how often: it is credited once', async () => {
  const purchase = await stage.buy(buyer);
  await pay(purchase);
  const replica = await inProcess(stage.farebox);
  const hints = Array.from({ length: 8 }, () => stage.wallet.control.notify(purchase.lightning.payment_hash));
  const looks = Array.from({ length: 4 }, () =>
    stage.operator.call('POST', `/v1/admin/purchases/${purchase.id}/converge`),
  );
  await Promise.all([...hints, ...looks, replica.work('invoice-sweep'), replica.work('invoice-watch')]);
  await stage.becomes(buyer, purchase, 'completed');
  expect(await stage.booked(purchase)).toBe(CREDITS);
  expect(await stage.differencesOf(purchase)).toEqual([]);
});

test('a wallet that says nothing by itself is asked; one that lost the news is read as a whole at the start', async () => {
  stage.wallet.control.faults({ isDiscreet: true });
  const [asked, read] = [await stage.buy(buyer), await stage.buy(buyer)];
  await pay(asked);
  await stage.becomes(buyer, asked, 'completed');
  await stage.root`update payments.invoices set next_check_at = now() + interval '1 hour' where state = 'open'`;
  await pay(read);
  const replica = await inProcess(stage.farebox);
  await replica.work('invoice-sweep');
  expect((await buyer.ok('GET', `/v1/purchases/${read.id}`)).status).toBe('completed');
});

describe('when it ends', () => {
  test('it expires a minute after its end, when the wallet has said once more that nothing came', async () => {
    const purchase = await stage.buy(buyer);
    await stage.end(purchase, 30);
    const replica = await inProcess(stage.farebox);
    await replica.work('invoice-watch');
    await eventually(
      () => stage.root`select 1 from payments.invoices where next_check_at <= now() and state = 'open'`,
      (due) => due.length === 0, // whoever had it has looked
    );
    expect((await buyer.ok('GET', `/v1/purchases/${purchase.id}`)).status).toBe('pending');
    stage.wallet.control.faults({ error: { code: 'INTERNAL', message: 'not now' } });
    await stage.end(purchase, 61);
    await replica.work('invoice-watch');
    expect((await buyer.ok('GET', `/v1/purchases/${purchase.id}`)).status, 'trouble is no answer').toBe('pending');
    stage.wallet.control.faults({});
    const expired = await stage.becomes(buyer, purchase, 'expired');
    expect(expired).toMatchObject({ failure: { code: 'not_paid' }, lightning: null });
  });

  test('money that came at the last moment, or after it, is credited nevertheless', async () => {
    const [late, later] = [await stage.buy(buyer), await stage.buy(buyer)];
    await pay(late);
    await stage.end(late, 61);
    await stage.becomes(buyer, late, 'completed');
    await stage.end(later, 61);
    await stage.becomes(buyer, later, 'expired');
    await pay(later);
    await stage.becomes(buyer, later, 'completed');
    expect(await available()).toBe(2 * CREDITS);
  });

  test('it is cancelled; what was paid a moment before completes it, and what comes afterwards, too', async () => {
    const [unpaid, paid] = [await stage.buy(buyer), await stage.buy(buyer)];
    const cancel = ({ id }: Json) => buyer.post(`/v1/purchases/${id}/cancel`);
    expect((await cancel(unpaid)).body).toMatchObject({ status: 'cancelled', lightning: null });
    expect((await cancel(unpaid)).status).toBe(200);
    stage.wallet.control.faults({ isDiscreet: true });
    await stage.root`update payments.invoices set next_check_at = now() + interval '1 hour' where state = 'open'`;
    await pay(paid);
    expectProblem(await cancel(paid), 'conflict');
    expect((await buyer.ok('GET', `/v1/purchases/${paid.id}`)).status).toBe('completed');
    stage.wallet.control.faults({});
    await pay(unpaid);
    await stage.becomes(buyer, unpaid, 'completed');
    expect(await available()).toBe(2 * CREDITS);
  });
});

describe('a wallet that does other things', () => {
  test.each([
    ['is silent', { error: { code: 'RATE_LIMITED', message: 'slowly' } }],
    ['makes invoices of another amount', { msatAdded: 1 }],
    ['names other payment hashes', { paymentHash: 'cd'.repeat(32) }],
    ['makes invoices of the real network', { network: 'bc' as const }],
  ])('when it %s, nothing is shown to anybody, and the same key succeeds later', async (_, faults) => {
    const key = randomUUID();
    stage.wallet.control.faults(faults);
    const refused = await buyer.call('POST', '/v1/purchases', { key, body: order() });
    expectProblem(refused, 'provider_unavailable');
    const [pending] = (await buyer.ok('GET', '/v1/purchases')).data;
    expect(pending).toMatchObject({ status: 'pending', lightning: null });
    stage.wallet.control.faults({});
    const purchase = await stage.buy(buyer, key);
    expect(purchase.id).toBe(pending.id);
    await pay(purchase);
    await stage.becomes(buyer, purchase, 'completed');
  });

  test('when it says that something was paid while it is asked about that, it is asked again at once', async () => {
    const purchase = await stage.buy(buyer);
    stage.wallet.control.faults({ slowMs: 2_000 });
    const before = stage.wallet.control.asked().length;
    // An old one, that is looked at every five minutes by itself.
    await stage.root`update payments.invoices set checks = 30, next_check_at = now()
      where purchase_id = ${fromWire('purchase', purchase.id)}`;
    await eventually(
      async () => stage.wallet.control.asked().slice(before),
      (asked) => asked.includes('lookup_invoice'),
    );
    stage.wallet.control.faults({});
    await pay(purchase);
    await eventually(
      () => buyer.ok('GET', `/v1/purchases/${purchase.id}`),
      ({ status }) => status === 'completed',
    );
  });

  test('when it answers with an invoice that pays something else, it has made none, and the same key succeeds later', async () => {
    const before = await stage.buy(buyer);
    const key = randomUUID();
    stage.wallet.control.faults({ isRepeating: true });
    expectProblem(await buyer.call('POST', '/v1/purchases', { key, body: order() }), 'provider_unavailable');
    stage.wallet.control.faults({});
    const purchase = await stage.buy(buyer, key);
    expect(purchase.lightning.payment_hash).not.toBe(before.lightning.payment_hash);
  });

  test('when it refuses for good, the purchase has failed, and says why', async () => {
    stage.wallet.control.faults({ error: { code: 'RESTRICTED', message: 'not with this connection' } });
    const purchase = await stage.buy(buyer);
    expect(purchase).toMatchObject({ status: 'failed', failure: { code: 'restricted' } });
  });

  test('when it tells of less, nothing is credited until a person decides', async () => {
    const purchase = await stage.buy(buyer);
    stage.wallet.control.faults({ msatAdded: -1 });
    await pay(purchase);
    await stage.becomes(buyer, purchase, 'review');
    expect([await stage.booked(purchase), await stage.differencesOf(purchase)]).toEqual([0, ['wrong_amount']]);
    const body = { outcome: 'complete', reason: 'it is all there' };
    await stage.operator.ok('POST', `/v1/admin/purchases/${purchase.id}/resolve`, { body });
    expect(await available()).toBe(CREDITS);
  });

  test('when it tells of more, the price is credited, and the rest is written down', async () => {
    const purchase = await stage.buy(buyer);
    stage.wallet.control.faults({ msatAdded: 5 });
    await pay(purchase);
    await stage.becomes(buyer, purchase, 'completed');
    expect([await available(), await stage.differencesOf(purchase)]).toEqual([CREDITS, ['overpaid']]);
  });

  test('when it was credited already by somebody, the money is not credited again, and is not forgotten', async () => {
    const purchase = await stage.buy(buyer);
    stage.wallet.control.faults({ isDiscreet: true });
    const id = fromWire('purchase', purchase.id);
    await stage.root`insert into payments.claims (rail, reference, purchase_id, amount, currency)
      select 'operator', id::text, id, price, currency from payments.purchases where id = ${id}`;
    await pay(purchase);
    await stage.becomes(buyer, purchase, 'review');
    expect([await stage.booked(purchase), await stage.differencesOf(purchase)]).toEqual([0, ['paid_twice']]);
    await stage.root.begin(async (tx) => {
      await tx`set local session_replication_role = replica`; // as if it had never been: the books are looked at below
      await tx`delete from payments.claims where purchase_id = ${id}`;
    });
  });

  test('when it tells of another payment, or denies that there is any, nothing is credited', async () => {
    const purchase = await stage.buy(buyer);
    stage.wallet.control.faults({ paymentHash: 'cd'.repeat(32), isGenerous: true });
    const look = () => stage.operator.call('POST', `/v1/admin/purchases/${purchase.id}/converge`);
    expectProblem(await look(), 'provider_unavailable');
    stage.wallet.control.faults({ error: { code: 'NOT_FOUND', message: 'never heard of it' } });
    expect((await look()).body.status).toBe('pending');
    expect([await stage.booked(purchase), await stage.differencesOf(purchase)]).toEqual([0, ['missing_at_provider']]);
  });
});

test('its page shows what a wallet needs, follows the payment, and is nobody else’s', async () => {
  const purchase = await stage.buy(buyer);
  const { pathname } = new URL(purchase.status_url);
  const anybody = clientOf(stage.farebox.url);
  const page = await anybody.get(pathname);
  for (const part of ['21 sat', `href="lightning:${purchase.lightning.invoice}"`, 'data:image/svg+xml', 'data-copy'])
    expect(page.text).toContain(part);
  await pay(purchase);
  await stage.becomes(buyer, purchase, 'completed');
  const paid = (await anybody.get(pathname)).text;
  expect(paid).toContain('500 credits have been added');
  expect(paid).not.toContain(purchase.lightning.invoice);
  expect((await anybody.get(`/lightning/${'A'.repeat(43)}`)).status).toBe(404);
  const other = await buyer.ok('POST', '/v1/purchases', { body: { ...order(), method: { type: 'payment_link' } } });
  expect((await anybody.get(new URL(other.status_url).pathname.replace('checkout', 'lightning'))).status).toBe(404);
});

test('the metrics tell how long the wallet has been silent', async () => {
  const { text } = await clientOf(stage.farebox.internalUrl).get('/metrics');
  expect(Number(/^farebox_lightning_wallet_age_seconds (\S+)/m.exec(text)?.[1])).toBeLessThan(60);
});

test('without a wallet everything else goes on, and the method is refused', async () => {
  const without = await fareboxForFile();
  const customer = await newCustomer(without);
  expect((await clientOf(without.internalUrl).get('/readyz')).status).toBe(200);
  expectProblem(await customer.post('/v1/purchases', order()), 'method_unavailable');
  await without.stop();
});

test('after all of it the books are right', async () => {
  await stage.root`update payments.invoices set next_check_at = null where state in ('open', 'expired')`;
  expect(await faultsAtRest(stage.farebox.database.superuserUrl)).toEqual([]);
});
