import { describe, expect, onTestFinished, test } from 'vitest';
import type { JsonObject } from '../../sandbox/omise/json.ts';
import { idIn, type Merchant, startMerchant } from '../../sandbox/omise/testing/merchant.ts';

const DAY_MS = 86_400_000;

async function open(): Promise<Merchant> {
  const merchant = await startMerchant();
  onTestFinished(() => merchant.close());
  return merchant;
}

async function paidByCard(merchant: Merchant, change: JsonObject = {}): Promise<string> {
  const order = { amount: 100_000, currency: 'THB', card: await merchant.token(), ...change };
  return idIn(await merchant.post('/charges', order));
}

describe('a refund', () => {
  test('gives part of the money back, with an event that carries the refund', async () => {
    const merchant = await open();
    const id = await paidByCard(merchant);
    const refund = await merchant.post(`/charges/${id}/refunds`, {
      amount: 10_000,
      metadata: { refund_request_id: 'r1' },
    });
    expect(refund).toMatchObject({
      object: 'refund',
      amount: 10_000,
      charge: id,
      voided: false,
      status: 'closed',
      metadata: { refund_request_id: 'r1' },
    });
    expect(await merchant.get(`/charges/${id}`)).toMatchObject({
      status: 'successful',
      refunded_amount: 10_000,
      refundable: true,
      refunds: { total: 1, data: [{ id: refund['id'] }] },
    });
    const event = merchant.omise.control.events().at(-1);
    expect(event).toMatchObject({ key: 'refund.create', data: { object: 'refund', charge: id } });
    expect(await merchant.get(`/charges/${id}/refunds`)).toMatchObject({ object: 'list', total: 1 });
    expect(await merchant.get(`/charges/${id}/refunds/${idIn(refund)}`)).toEqual(refund);
    expect((await merchant.call('GET', `/charges/${id}/refunds/rfnd_test_none`)).status).toBe(404);
  });

  test('is bounded by what was captured', async () => {
    const merchant = await open();
    const id = await paidByCard(merchant, { capture: false });
    const refund = (amount: number) => merchant.call('POST', `/charges/${id}/refunds`, { amount });
    expect(await refund(1), 'nothing captured yet').toMatchObject({ status: 400, body: { code: 'failed_refund' } });
    await merchant.post(`/charges/${id}/capture`, { capture_amount: 50_000 });
    expect(await refund(50_001)).toMatchObject({ status: 400, body: { code: 'failed_refund' } });
    expect((await refund(0)).status).toBe(400);
    expect((await refund(30_000)).status).toBe(200);
    expect((await refund(20_001)).status).toBe(400);
    expect((await refund(20_000)).status).toBe(200);
    expect((await refund(1)).status).toBe(400);
    expect(await merchant.get(`/charges/${id}`)).toMatchObject({ status: 'successful', refundable: false });
  });

  test('can be made fifteen times', async () => {
    const merchant = await open();
    const id = await paidByCard(merchant);
    for (let count = 0; count < 15; count += 1) await merchant.post(`/charges/${id}/refunds`, { amount: 100 });
    const sixteenth = await merchant.call('POST', `/charges/${id}/refunds`, { amount: 100 });
    expect(sixteenth).toMatchObject({ status: 400, body: { code: 'failed_refund' } });
  });

  test('can be made for a year', async () => {
    const merchant = await open();
    const id = await paidByCard(merchant);
    merchant.omise.control.advanceClock(364 * DAY_MS);
    await merchant.post(`/charges/${id}/refunds`, { amount: 100 });
    merchant.omise.control.advanceClock(DAY_MS);
    expect((await merchant.call('POST', `/charges/${id}/refunds`, { amount: 100 })).status).toBe(400);
  });

  test('is not possible for PromptPay and mobile banking, nor while a dispute is open', async () => {
    const merchant = await open();
    const { id } = await merchant.promptpay();
    merchant.omise.control.pay(id);
    expect(await merchant.get(`/charges/${id}`)).toMatchObject({ refundable: false, partially_refundable: false });
    expect((await merchant.call('POST', `/charges/${id}/refunds`, { amount: 100 })).status).toBe(400);

    const disputed = await paidByCard(merchant);
    merchant.omise.control.dispute(disputed);
    expect((await merchant.call('POST', `/charges/${disputed}/refunds`, { amount: 100 })).status).toBe(400);
    merchant.omise.control.closeDispute(disputed, 'won');
    expect((await merchant.call('POST', `/charges/${disputed}/refunds`, { amount: 100 })).status).toBe(200);
  });
});

describe('a void', () => {
  test('is what the whole amount becomes before settlement', async () => {
    const merchant = await open();
    const id = await paidByCard(merchant);
    expect(await merchant.get(`/charges/${id}`)).toMatchObject({ can_perform_void: true });
    expect(await merchant.post(`/charges/${id}/refunds`, { amount: 100_000 })).toMatchObject({ voided: true });
    const voided = await merchant.get(`/charges/${id}`);
    expect(voided).toMatchObject({ status: 'successful', voided: true, refunded_amount: 100_000 });
  });

  test('is not made when a refund is asked for', async () => {
    const merchant = await open();
    const id = await paidByCard(merchant);
    const refund = await merchant.post(`/charges/${id}/refunds`, { amount: 100_000, void: false });
    expect(refund).toMatchObject({ voided: false });
  });

  test('is impossible for a part, and after settlement', async () => {
    const merchant = await open();
    const id = await paidByCard(merchant);
    const part = await merchant.call('POST', `/charges/${id}/refunds`, { amount: 100, void: true });
    expect(part).toMatchObject({ status: 400, body: { code: 'failed_void' } });
    merchant.omise.control.advanceClock(DAY_MS);
    expect(await merchant.get(`/charges/${id}`)).toMatchObject({ can_perform_void: false, refundable: true });
    const late = await merchant.call('POST', `/charges/${id}/refunds`, { amount: 100_000, void: true });
    expect(late).toMatchObject({ status: 400, body: { code: 'failed_void' } });
    expect(await merchant.post(`/charges/${id}/refunds`, { amount: 100_000 })).toMatchObject({ voided: false });
  });
});

test('the balance is what was earned less fees, less what went back', async () => {
  const merchant = await open();
  const id = await paidByCard(merchant);
  await merchant.post(`/charges/${id}/refunds`, { amount: 10_000 });
  expect(await merchant.get('/balance')).toMatchObject({ total: 96_094 - 10_000 });
  const { data } = await merchant.get('/transactions');
  expect(data).toMatchObject([
    { direction: 'credit', origin: id },
    { direction: 'debit', amount: 10_000 },
  ]);
});
