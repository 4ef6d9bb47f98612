import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JsonObject } from '../../sandbox/omise/json.ts';
import { idIn, type Merchant, startMerchant } from '../../sandbox/omise/testing/merchant.ts';

let merchant: Merchant;

beforeAll(async () => {
  merchant = await startMerchant();
});
afterAll(() => merchant.close());

async function paid(change: JsonObject = {}): Promise<string> {
  const { id } = await merchant.promptpay(change);
  merchant.omise.control.pay(id);
  return id;
}

const readBack = (id: string) => merchant.get(`/charges/${id}`);

describe('a charge as it is read back', () => {
  test('amount_off_by_one', async () => {
    const id = await paid();
    merchant.omise.control.mutate(id, { data: 'amount_off_by_one', delta: -1 });
    expect(await readBack(id)).toMatchObject({ amount: 49_999, captured_amount: 49_999, status: 'successful' });
  });

  test('currency_swapped', async () => {
    const id = await paid();
    merchant.omise.control.mutate(id, { data: 'currency_swapped' });
    expect(await readBack(id)).toMatchObject({ currency: 'JPY', amount: 50_000 });
  });

  test('metadata_spoofed, which does not count as a charge of that attempt', async () => {
    const id = await paid({ metadata: { attempt_id: 'mine' } });
    merchant.omise.control.mutate(id, { data: 'metadata_spoofed', metadata: { attempt_id: 'somebody’s' } });
    expect(await readBack(id)).toMatchObject({ metadata: { attempt_id: 'somebody’s' } });
    expect(merchant.omise.control.chargesPerAttempt()).not.toHaveProperty('somebody’s');
    expect(merchant.omise.control.chargesPerAttempt()).toMatchObject({ mine: 1 });
  });

  test('paid_after_expiry', async () => {
    const { id } = await merchant.promptpay();
    merchant.omise.control.mutate(id, { data: 'paid_after_expiry' });
    const charge = await readBack(id);
    expect(charge).toMatchObject({ status: 'successful', paid: true });
    expect(String(charge['paid_at']) > String(charge['expires_at'])).toBe(true);
    const keys = merchant.omise.control.events().filter(({ data }) => JSON.stringify(data).includes(id));
    expect(keys.map(({ key }) => key)).toEqual(['charge.create', 'charge.expire', 'charge.complete']);
  });

  test('partial_capture', async () => {
    const { id } = await merchant.promptpay();
    merchant.omise.control.mutate(id, { data: 'partial_capture', captured_amount: 10_000 });
    expect(await readBack(id)).toMatchObject({
      status: 'successful',
      paid: true,
      amount: 50_000,
      captured_amount: 10_000,
      authorization_type: 'pre_auth',
    });
    const after = await paid();
    merchant.omise.control.mutate(after, { data: 'partial_capture' });
    expect(await readBack(after)).toMatchObject({ captured_amount: 25_000 });
  });

  test('dashboard_refund, also where the API has none', async () => {
    const id = await paid();
    merchant.omise.control.mutate(id, { data: 'dashboard_refund', amount: 20_000 });
    expect(await readBack(id)).toMatchObject({ status: 'successful', refunded_amount: 20_000 });
    merchant.omise.control.refund(id);
    expect(await readBack(id)).toMatchObject({ refunded_amount: 50_000 });
    expect(() => merchant.omise.control.refund(id)).toThrow('nothing to refund');
  });

  test('dispute_opened', async () => {
    const id = await paid();
    merchant.omise.control.mutate(id, { data: 'dispute_opened', amount: 40_000 });
    expect(await readBack(id)).toMatchObject({
      status: 'successful',
      dispute: { object: 'dispute', status: 'open', amount: 40_000, charge: id, closed_at: null },
    });
    expect(await merchant.get('/disputes')).toMatchObject({ total: 1 });
    expect(await merchant.get('/disputes/open')).toMatchObject({ total: 1 });
    expect(await merchant.get('/disputes/pending')).toMatchObject({ total: 0 });
    const closed = merchant.omise.control.closeDispute(id, 'lost');
    expect(closed).toMatchObject({ dispute: { status: 'lost', closed_at: expect.any(String) } });
    const { data } = await merchant.get('/disputes/closed');
    expect(data).toMatchObject([{ charge: id }]);
    const [dispute] = data as JsonObject[];
    expect(await merchant.get(`/disputes/${idIn(dispute ?? {})}`)).toMatchObject({ status: 'lost' });
  });

  test('unknown_status and missing_status', async () => {
    const id = await paid();
    merchant.omise.control.mutate(id, { data: 'unknown_status' });
    expect(await readBack(id)).toMatchObject({ status: 'settling' });
    merchant.omise.control.mutate(id, { data: 'missing_status' });
    expect(await readBack(id)).not.toHaveProperty('status');
  });

  test('twin: two paid charges for one attempt', async () => {
    const id = await paid({ metadata: { attempt_id: 'twice' } });
    const twin = idIn(merchant.omise.control.mutate(id, { data: 'twin' }));
    expect(twin).not.toBe(id);
    for (const one of [id, twin]) {
      expect(await readBack(one)).toMatchObject({ metadata: { attempt_id: 'twice' }, paid: true });
    }
    expect(merchant.omise.control.chargesPerAttempt()).toMatchObject({ twice: 1 });
  });

  test('any other disguise, in lists as well, until the truth is told again', async () => {
    const id = await paid();
    const { control } = merchant.omise;
    control.mutate(id, { data: 'disguise', set: { livemode: true, id: 'chrg_test_other' }, omit: ['paid'] });
    const disguised = await readBack(id);
    expect(disguised).toMatchObject({ livemode: true, id: 'chrg_test_other' });
    expect(disguised).not.toHaveProperty('paid');
    expect(JSON.stringify(await merchant.get('/charges?limit=100'))).toContain('chrg_test_other');
    control.mutate(id, { data: 'truth' });
    expect(await readBack(id)).toMatchObject({ livemode: false, id, paid: true });
  });
});
