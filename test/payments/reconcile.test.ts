import { spawn } from 'node:child_process';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Client, type Json, newCustomer } from '../harness/client.ts';
import { omiseKeys } from '../harness/farebox.ts';
import { CREDITS, openShop, PRICE, type Shop, uuidOf } from './shop.ts';

let shop: Shop;
let customer: Client;

beforeAll(async () => {
  shop = await openShop({ env: { WORKERS: 'off' } });
  customer = await newCustomer(shop.farebox);
});
afterAll(() => shop.stop());
beforeEach(async () => {
  shop.omise.clearFaults();
  shop.omise.fault({ webhook: 'drop' });
  await shop.sql`delete from payments.differences`;
});

const ONCE = { times: 1, credits: CREDITS };

async function paid(): Promise<Json> {
  const purchase = await shop.buy(customer);
  shop.omise.pay(shop.chargeOf(purchase));
  return purchase;
}

const completed = async (): Promise<Json> => {
  const purchase = await paid();
  return shop.operator.ok('POST', `/v1/admin/purchases/${purchase.id}/converge`);
};

/** The command, as an operator runs it. */
function command(
  args: string[],
  env: Record<string, string> = {},
): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn(process.execPath, ['src/cli.ts', 'reconcile', ...args], {
    env: { ...shop.farebox.environment, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const said = { out: '', err: '' };
  child.stdout.on('data', (chunk) => (said.out += chunk));
  child.stderr.on('data', (chunk) => (said.err += chunk));
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, ...said })));
}

const route = (days = 30) => shop.operator.ok('POST', '/v1/admin/reconcile', { body: { days } });

/** As if a completed purchase were so many days old; claims are never changed by anybody but a test. */
async function backdate(purchase: Json, days: { charge: number; claim: number }) {
  const id = uuidOf(purchase.id);
  await shop.sql.begin(async (tx) => {
    await tx`set local session_replication_role = replica`;
    await tx`update payments.charges set created_at = now() - make_interval(days => ${days.charge}, mins => 30) where purchase_id = ${id}`;
    await tx`update payments.claims set created_at = now() - make_interval(days => ${days.claim}, mins => 20) where purchase_id = ${id}`;
  });
}

/** As if the provider had never made it. */
async function unmake(purchase: Json): Promise<string> {
  const reference = `chrg_test_5never${purchase.id.slice(-10)}`;
  shop.omise.mutate(shop.chargeOf(purchase), { data: 'metadata_spoofed', metadata: {} });
  await shop.sql.begin(async (tx) => {
    await tx`set local session_replication_role = replica`;
    await tx`update payments.charges set charge_id = ${reference} where purchase_id = ${uuidOf(purchase.id)}`;
    await tx`update payments.claims set reference = ${reference} where purchase_id = ${uuidOf(purchase.id)}`;
  });
  return reference;
}

/** Leaves what a test has unmade out of the others. */
const forget = (purchase: Json) => backdate(purchase, { charge: 400, claim: 400 });

describe('the books of the provider against ours', () => {
  // REQ E7.2
  test('what was missed is credited, and then nothing differs', async () => {
    const missed = await paid();
    await completed();
    expect(await route()).toMatchObject({ credited: 1, differences: [] });
    expect(await shop.booked(missed)).toEqual(ONCE);
    const again = await route();
    expect(again).toMatchObject({ object: 'reconciliation', credited: 0, differences: [] });
    expect(again.compared).toBe(shop.omise.charges().length);
  });

  test('credits without a charge at the provider are a difference', async () => {
    const purchase = await completed();
    const reference = await unmake(purchase);
    expect((await route()).differences, 'a claim of this minute may not be listed yet').toEqual([]);
    await backdate(purchase, { charge: 0, claim: 0 });
    expect((await route(1)).differences).toEqual([
      expect.objectContaining({
        kind: 'missing_at_provider',
        reference,
        purchase_id: purchase.id,
        detail: { amount: PRICE, currency: 'THB' },
      }),
    ]);
    expect((await route()).differences, 'told once').toHaveLength(1);
    await forget(purchase);
  });

  test('a charge that is older than what was asked for is not missed, however late it was credited', async () => {
    const purchase = await completed();
    await unmake(purchase);
    await backdate(purchase, { charge: 31, claim: 5 });
    expect((await route(30)).differences).toEqual([]);
    expect((await route(60)).differences).toHaveLength(1);
    await forget(purchase);
  });

  test('a charge of ours in a form that we do not know is a difference, and not a missing one', async () => {
    const [credited, uncredited, lost] = [await completed(), await paid(), await paid()];
    await backdate(credited, { charge: 0, claim: 0 });
    await shop.sql`update payments.charges set charge_id = null, state = 'abandoned' where purchase_id = ${uuidOf(lost.id)}`;
    const ids = [credited, uncredited, lost].map((purchase) => shop.chargeOf(purchase));
    for (const id of ids) shop.omise.mutate(id, { data: 'unknown_status' });
    const { differences } = await route();
    expect(differences.map(({ kind, reference }: Json) => [kind, reference]).sort()).toEqual(
      ids.map((id) => ['unreadable', id]).sort(),
    );
    for (const id of ids) shop.omise.mutate(id, { data: 'truth' });
    expect((await route()).credited).toBe(2);
  });

  test('charges of others in the same account are compared and left alone', async () => {
    const headers = {
      authorization: `Basic ${Buffer.from(`${omiseKeys.secretKey}:`).toString('base64')}`,
      'content-type': 'application/json',
    };
    const body = JSON.stringify({ amount: PRICE, currency: 'THB', source: { type: 'promptpay' } });
    // More than a page of them.
    const ids = await Promise.all(
      Array.from({ length: 110 }, async () => {
        const reply = await fetch(`${shop.farebox.omise.url}/charges`, { method: 'POST', headers, body });
        return ((await reply.json()) as Json).id as string;
      }),
    );
    for (const id of ids.slice(0, 50)) shop.omise.pay(id);
    const last = await paid();
    expect(await route()).toMatchObject({ credited: 1, differences: [], compared: shop.omise.charges().length });
    expect(await shop.booked(last)).toEqual(ONCE);
  });

  test('a provider that does not answer to the end: nothing is called missing', async () => {
    const purchase = await completed();
    await unmake(purchase);
    await backdate(purchase, { charge: 0, claim: 0 });
    shop.omise.fault({ api: 'unauthorized', method: 'GET', path: '/charges' });
    expect(await route()).toMatchObject({ compared: null, differences: [] });
    await forget(purchase);
  });

  test.each([0, 366, 1.5, '30', null])('the route refuses %s days', async (days) => {
    expect((await shop.operator.post('/v1/admin/reconcile', { days })).status).toBe(422);
  });
});

describe('farebox reconcile', () => {
  test('0 when the books agree, with a table that can be read', async () => {
    const missed = await paid();
    const { code, out, err } = await command([]);
    expect(err).toBe('');
    expect(out).toMatch(/^compared {5}\d+ charges of the provider\ncredited {5}1 purchases that had been missed\n/);
    expect(out).toMatch(/\ndifferences {2}0\n$/);
    expect(code).toBe(0);
    expect(await shop.booked(missed)).toEqual(ONCE);
  });

  test('1 when they differ, and it says where', async () => {
    const purchase = await completed();
    shop.omise.mutate(shop.chargeOf(purchase), { data: 'amount_off_by_one' });
    const { code, out } = await command(['--days', '7']);
    expect(code).toBe(1);
    expect(out).toContain('differences  1\n');
    expect(out).toMatch(new RegExp(`wrong_amount_after_credit +${shop.chargeOf(purchase)} +${purchase.id}`));
    const machine = await command(['--json']);
    expect(machine.code).toBe(1);
    expect(JSON.parse(machine.out)).toMatchObject({
      credited: 0,
      differences: [{ kind: 'wrong_amount_after_credit', purchase_id: purchase.id, detail: { amount: 50_001 } }],
    });
  });

  test('2 when the provider cannot be asked, and it says so', async () => {
    shop.omise.fault({ api: 'unauthorized', method: 'GET', path: '/charges' });
    const { code, out } = await command([]);
    expect(code).toBe(2);
    expect(out).toMatch(/^The provider could not be asked to the end\.\n/);
  });

  test('2 for a number of days that is none', async () => {
    const tries = await Promise.all(['0', '366', '1e3'].map((days) => command([`--days=${days}`])));
    for (const { code, err } of tries) {
      expect(err).toContain('--days must be 1 to 365');
      expect(code).toBe(2);
    }
  });
});
