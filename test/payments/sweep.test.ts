import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Client, type Json, newCustomer } from '../harness/client.ts';
import { type CannedProvider, passOn, startCannedProvider } from './canned-provider.ts';
import { CREDITS, type Hands, handsOf, openShop, type Shop } from './shop.ts';
import { eventAbout } from './webhook.ts';

let shop: Shop;
let customer: Client;
/** Between us and the provider: what it says of events, the test decides. */
let between: CannedProvider;
let hands: Hands;

beforeAll(async () => {
  shop = await openShop({ env: { WORKERS: 'off' } });
  between = await startCannedProvider();
  customer = await newCustomer(shop.farebox);
});
afterAll(async () => {
  await between.close();
  await shop.stop();
});
beforeEach(async () => {
  await hands?.close();
  shop.omise.clearFaults();
  shop.omise.fault({ webhook: 'drop' });
  hands = await handsOf(shop.farebox);
  await shop.sql`delete from payments.watermarks`;
  await hands.run('event-sweep');
});
afterAll(() => hands.close());

const sweep = () => hands.run('event-sweep');
const watermark = async (): Promise<Date> => (await shop.sql`select at from payments.watermarks`)[0]?.['at'];
const ONCE = { times: 1, credits: CREDITS };
const NOTHING = { times: 0, credits: 0 };

async function paid(): Promise<Json> {
  const purchase = await shop.buy(customer);
  shop.omise.pay(shop.chargeOf(purchase));
  return purchase;
}

describe('the sweep of the provider’s events', () => {
  test('what was read is not read again, what is new is', async () => {
    const first = await paid();
    const reads = shop.countReads(shop.chargeOf(first));
    await sweep();
    await sweep();
    expect(reads()).toBe(1);
    const second = await paid();
    await sweep();
    expect(await shop.booked(first)).toEqual(ONCE);
    expect(await shop.booked(second)).toEqual(ONCE);
  });

  test('a provider that is away costs time and loses nothing', async () => {
    const before = await watermark();
    const purchase = await paid();
    shop.omise.fault({ api: 'unauthorized', path: '/events', times: 1 });
    expect(await sweep()).toEqual({ more: false });
    expect(await watermark()).toEqual(before);
    await sweep();
    expect(await shop.booked(purchase)).toEqual(ONCE);
    expect((await watermark()).getTime()).toBeGreaterThan(before.getTime());
  });

  test('a charge that cannot be read now holds the mark, and only itself is read again', async () => {
    const before = await watermark();
    const [slow, quick] = [await paid(), await paid()];
    const rule = shop.omise.fault({ api: 'unauthorized', path: `/charges/${shop.chargeOf(slow)}` });
    const reads = shop.countReads(shop.chargeOf(quick));
    await sweep();
    await sweep();
    expect(await watermark()).toEqual(before);
    expect(await shop.booked(quick)).toEqual(ONCE);
    expect(reads()).toBe(1);
    shop.omise.clearFaults(rule);
    await sweep();
    expect(await shop.booked(slow)).toEqual(ONCE);
    expect((await watermark()).getTime()).toBeGreaterThan(before.getTime());
  });

  test('a charge in a form that we do not know holds up nobody', async () => {
    const before = await watermark();
    const odd = await paid();
    shop.omise.mutate(shop.chargeOf(odd), { data: 'unknown_status' });
    const purchase = await paid();
    await sweep();
    expect(await shop.booked(purchase)).toEqual(ONCE);
    expect(await shop.booked(odd)).toEqual(NOTHING);
    shop.omise.mutate(shop.chargeOf(odd), { data: 'truth' });
    expect((await watermark()).getTime()).toBeGreaterThan(before.getTime());
  });

  test('it begins ten minutes before the last one ended, by our clock', async () => {
    const purchase = await paid();
    await shop.sql`update payments.watermarks set at = now() + interval '9 minutes 50 seconds'`;
    await sweep();
    expect(await shop.booked(purchase)).toEqual(ONCE);
    const late = await paid();
    await shop.sql`update payments.watermarks set at = now() + interval '11 minutes'`;
    await sweep();
    expect(await shop.booked(late)).toEqual(NOTHING);
  });

  test('two replicas that sweep at once grant once', async () => {
    const other = await handsOf(shop.farebox);
    const purchases = [await paid(), await paid(), await paid()];
    await Promise.all([sweep(), other.run('event-sweep'), sweep(), other.run('event-sweep')]);
    for (const purchase of purchases) expect(await shop.booked(purchase)).toEqual(ONCE);
    await other.close();
  });
});

describe('when the list of events is odd', () => {
  /** Our hands, and a provider whose events are those. `total` is what it claims to have. */
  async function told(events: unknown[], total = events.length) {
    await hands.close();
    hands = await handsOf({ ...shop.farebox, environment: { ...shop.farebox.environment, OMISE_URL: between.url } });
    between.asked.length = 0;
    const forward = passOn(shop.farebox.omise.url, (charge) => charge);
    between.says = (response, asked) => {
      if (!asked.path.startsWith('/events')) return typeof forward === 'function' && forward(response, asked);
      const query = new URL(asked.path, between.url).searchParams;
      const [limit, offset] = [Number(query.get('limit')), Number(query.get('offset'))];
      const data = events.slice(offset, offset + limit);
      return response.end(JSON.stringify({ object: 'list', data, total, limit, offset }));
    };
  }
  const pages = () => between.asked.filter(({ path }) => path.startsWith('/events')).map(({ path }) => path);

  test('entries that are no events do not hide those that are', async () => {
    const purchase = await paid();
    const event = eventAbout(shop.omise.charge(shop.chargeOf(purchase)));
    const odd = [null, 7, {}, { object: 'event' }, { ...event, id: 5 }, { ...event, data: null }, eventAbout([])];
    await told([...odd, { ...event, created_at: 'once upon a time' }, ...odd]);
    await sweep();
    expect(await shop.booked(purchase)).toEqual(ONCE);
  });

  test('more of them than one round takes: the next round goes on where it ended', async () => {
    const purchase = await paid();
    const others = Array.from({ length: 5_250 }, () => eventAbout({ object: 'customer', id: 'cust_test_5' }, 'x'));
    await told([...others, eventAbout(shop.omise.charge(shop.chargeOf(purchase)))]);
    const before = await watermark();
    expect(await sweep()).toEqual({ more: true });
    expect(await watermark(), 'not before all is read').toEqual(before);
    expect(await sweep()).toEqual({ more: false });
    expect(await shop.booked(purchase)).toEqual(ONCE);
    expect(pages()).toHaveLength(53);
    expect(new Set(pages()).size, 'no page twice').toBe(53);
    expect((await watermark()).getTime()).toBeGreaterThan(before.getTime());
  });

  test('a list that claims to be endless and holds nothing is at its end', async () => {
    await told([], 1_000_000);
    expect(await sweep()).toEqual({ more: false });
    expect(pages()).toHaveLength(1);
  });
});
