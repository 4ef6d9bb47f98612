import { randomUUID } from 'node:crypto';
import postgres from 'postgres';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { fromWire, toWire } from '../../src/platform/ids.ts';
import { childForFile } from '../harness/child.ts';
import { type Client, eventually, type Json, newCustomer } from '../harness/client.ts';
import { CREDITS, type Shop, shopOf, uuidOf } from './shop.ts';

let child: Awaited<ReturnType<typeof childForFile>>;
let shop: Shop;
let customer: Client;

beforeAll(async () => {
  child = await childForFile();
  shop = await shopOf(child);
});
afterAll(async () => {
  await shop.stop();
  await child.close();
});
beforeEach(async () => {
  customer = await newCustomer(child);
});

const ONCE = { times: 1, credits: CREDITS };
const start = (key: string) =>
  customer.call('POST', '/v1/purchases', { key, body: { package_id: shop.pack.id, method: { type: 'promptpay' } } });
const calls = (endpoint: string) => shop.omise.calls()[endpoint] ?? 0;
/** Resolves when that has been asked for once more than before. */
const askedAfter = (endpoint: string, before: number) =>
  eventually(
    async () => calls(endpoint),
    (now) => now > before,
  );

/** Starts a purchase and kills the process when the moment has come; the purchase is read from the database. */
async function killedWhile(moment: () => Promise<unknown>, key: string): Promise<Json> {
  const dying = start(key).catch(() => 'died');
  await moment();
  await child.kill();
  expect(await dying).toBe('died');
  const [row] = await shop.sql`select id from payments.purchases order by created_at desc limit 1`;
  return { id: toWire('purchase', row?.['id']) };
}

/** Repeats the request with its key until there is something to pay, and lends time a hand. */
const untilPayable = (key: string, purchase: Json): Promise<Json> =>
  eventually(
    async () => {
      await shop.age(purchase, 35);
      return (await start(key)).body;
    },
    (body) => typeof body?.qr_url === 'string',
    15_000,
  );

async function payAndComplete(purchase: Json) {
  shop.omise.pay(shop.chargeOf(purchase));
  await eventually(
    () => customer.ok('GET', `/v1/purchases/${purchase.id}`),
    ({ status }) => status === 'completed',
  );
  expect(await shop.booked(purchase)).toEqual(ONCE);
  expect(await shop.differencesOf(purchase)).toEqual([]);
}

describe('killed while a purchase is started', () => {
  // REQ E7.1 E7.2
  test('the provider has made the charge and not answered: found after the restart, and there is no other', async () => {
    const rule = shop.omise.fault({ api: 'hang', method: 'POST', path: '/charges' });
    const [key, before] = [randomUUID(), calls('POST /charges')];
    const purchase = await killedWhile(() => askedAfter('POST /charges', before), key);
    shop.omise.clearFaults(rule);
    await child.start();
    const found = await untilPayable(key, purchase);
    expect(found.id).toBe(purchase.id);
    await payAndComplete(purchase);
    expect(calls('POST /charges')).toBe(before + 1);
  });

  // REQ E7.1
  test('the call never took effect: given up after the restart, and the same key makes the one charge', async () => {
    const rule = shop.omise.fault({ api: 'hang', executed: false, method: 'POST', path: '/charges' });
    const [key, before] = [randomUUID(), calls('POST /charges')];
    const purchase = await killedWhile(() => askedAfter('POST /charges', before), key);
    shop.omise.clearFaults(rule);
    await child.start();
    await untilPayable(key, purchase);
    await payAndComplete(purchase);
  });

  test('the answer is there and not yet written down: found after the restart', async () => {
    const rule = shop.omise.fault({ api: 'latency', ms: 500, method: 'POST', path: '/charges' });
    const [key, before] = [randomUUID(), calls('POST /charges')];
    let gate: Gate | undefined;
    const purchase = await killedWhile(async () => {
      await askedAfter('POST /charges', before);
      gate = await hold((tx) => tx`select 1 from payments.purchases for update`);
      await gate.waitedFor();
    }, key);
    await gate?.open();
    shop.omise.clearFaults(rule);
    await child.start();
    await untilPayable(key, purchase);
    await payAndComplete(purchase);
    expect(calls('POST /charges')).toBe(before + 1);
  });
});

describe('killed while a payment arrives', () => {
  // REQ E7.2
  test('the notification was taken and the charge not read: read after the restart', async () => {
    const { body: purchase } = await start(randomUUID());
    const rule = shop.omise.fault({ api: 'hang', method: 'GET', path: `/charges/${shop.chargeOf(purchase)}` });
    const before = calls('GET /charges/:id');
    shop.omise.pay(shop.chargeOf(purchase));
    await askedAfter('GET /charges/:id', before);
    await shop.omise.settled();
    await child.kill();
    expect(
      await shop.sql`select state from payments.webhook_inbox where charge_id = ${shop.chargeOf(purchase)} and key = 'charge.complete'`,
    ).toEqual([{ state: 'received' }]);
    shop.omise.clearFaults(rule);
    await shop.sql`update payments.webhook_inbox set next_attempt_at = now()`; // its lease of a minute is over
    await child.start();
    await eventually(
      () => customer.ok('GET', `/v1/purchases/${purchase.id}`),
      ({ status }) => status === 'completed',
    );
    expect(await shop.booked(purchase)).toEqual(ONCE);
  });

  // REQ E7.3 E3.2
  test('in the middle of the transaction that credits: nothing of it is left, and after the restart all of it is there', async () => {
    const { body: purchase } = await start(randomUUID());
    // The credit itself waits, when the claim and the charge have been written already.
    const account = fromWire('account', customer.accountId);
    const gate = await hold((tx) => tx`insert into credits.accounts (account_id) values (${account})`);
    shop.omise.pay(shop.chargeOf(purchase));
    await gate.waitedFor();
    await child.kill();
    await gate.open();
    expect(await shop.booked(purchase)).toEqual({ times: 0, credits: 0 });
    const id = uuidOf(purchase.id);
    expect(await shop.sql`select 1 from payments.claims where purchase_id = ${id}`).toHaveLength(0);
    expect(await shop.sql`select state from payments.charges where purchase_id = ${id}`).toEqual([
      { state: 'pending' },
    ]);
    await shop.sql`update payments.webhook_inbox set next_attempt_at = now() where state = 'received'`;
    await child.start();
    await eventually(
      () => customer.ok('GET', `/v1/purchases/${purchase.id}`),
      ({ status }) => status === 'completed',
    );
    expect(await shop.booked(purchase)).toEqual(ONCE);
    expect((await customer.ok('GET', '/v1/credits/balance')).available).toBe(CREDITS);
  });
});

interface Gate {
  /** Resolves when somebody waits there. */
  waitedFor(): Promise<unknown>;
  open(): Promise<void>;
}

/** Holds rows, so that the process waits at a place of the test's choice. What was locked is as before afterwards. */
async function hold(lock: (tx: postgres.TransactionSql) => Promise<unknown>): Promise<Gate> {
  const holder = postgres(child.database.superuserUrl, { max: 1, onnotice: () => {} });
  onTestFinished(() => holder.end());
  const opened = Promise.withResolvers<void>();
  const locked = Promise.withResolvers<void>();
  const done = holder
    .begin(async (tx) => {
      await lock(tx);
      locked.resolve();
      await opened.promise;
      throw new Error('rolled back');
    })
    .catch(() => {});
  await locked.promise;
  return {
    waitedFor: () =>
      eventually(
        () => shop.sql`select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`,
        (rows) => rows.length > 0,
      ),
    open: async () => {
      opened.resolve();
      await done;
      // What the dead process had begun is rolled back when the server notices that it is gone.
      await eventually(
        () => shop.sql`
          select 1 from pg_stat_activity
          where datname = current_database() and usename = 'farebox_app' and state <> 'idle'`,
        (rows) => rows.length === 0,
      );
    },
  };
}
