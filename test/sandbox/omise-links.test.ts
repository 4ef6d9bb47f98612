import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Json, JsonObject } from '../../sandbox/omise/json.ts';
import { idIn, type Merchant, startMerchant } from '../../sandbox/omise/testing/merchant.ts';

let merchant: Merchant;

beforeAll(async () => {
  merchant = await startMerchant();
});
afterAll(() => merchant.close());

function idsOf(list: JsonObject): Json[] {
  const { data } = list;
  return Array.isArray(data) ? data.map((entry) => (entry as JsonObject)['id'] ?? null) : [];
}

describe('a link', () => {
  const terms = { amount: 30_000, currency: 'THB', title: 'Coffee', description: 'A bag of it' };

  test('is made, listed and deleted', async () => {
    const link = await merchant.post('/links', terms);
    expect(link).toMatchObject({ object: 'link', used: false, deleted: false, charges: { total: 0 } });
    expect(idsOf(await merchant.get('/links'))).toContain(idIn(link));
    expect((await merchant.call('DELETE', `/links/${idIn(link)}`)).body).toMatchObject({ deleted: true });
    expect((await merchant.call('POST', '/links', { ...terms, currency: 'USD' })).status).toBe(400);
  });

  test('is paid by whoever opens it, once, by a charge that only names the link', async () => {
    const link = await merchant.post('/links', terms);
    const pay = async () =>
      fetch(String(link['payment_uri']), { method: 'POST', body: new URLSearchParams({ decision: 'pay' }) });
    expect(await (await pay()).text()).toContain('Paid');
    const used = await merchant.get(`/links/${idIn(link)}`);
    expect(used).toMatchObject({
      used: true,
      charges: { total: 1, data: [{ paid: true, metadata: {}, link: link['id'] }] },
    });
    expect(await (await pay()).text()).toContain('Already paid');
    expect(await merchant.get(`/links/${idIn(link)}`)).toMatchObject({ charges: { total: 1 } });
  });
});

test('the account takes a new webhook address', async () => {
  const { body } = await merchant.call('PATCH', '/account', { webhook_uri: 'https://shop.example/hooks' });
  expect(body).toMatchObject({ object: 'account', webhook_uri: 'https://shop.example/hooks' });
  merchant.omise.control.account({ webhook_uri: null });
  expect(await merchant.get('/account')).toMatchObject({ webhook_uri: null });
});
