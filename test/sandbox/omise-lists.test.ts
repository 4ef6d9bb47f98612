import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Json, JsonObject } from '../../sandbox/omise/json.ts';
import { idIn, type Merchant, startMerchant } from '../../sandbox/omise/testing/merchant.ts';

let merchant: Merchant;
const ids: string[] = [];
const HOUR_MS = 3_600_000;

beforeAll(async () => {
  merchant = await startMerchant();
  for (let number = 1; number <= 5; number += 1) {
    const charge = await merchant.promptpay({ amount: number * 10_000, description: `order ${number}` });
    ids.push(charge.id);
    merchant.omise.control.advanceClock(HOUR_MS);
  }
  const card = await merchant.token();
  const paid = {
    amount: 12_345,
    currency: 'THB',
    card,
    description: 'by card',
    metadata: { attempt_id: 'att_needle' },
  };
  ids.push(idIn(await merchant.post('/charges', paid)));
});
afterAll(() => merchant.close());

function idsOf(list: JsonObject): Json[] {
  const { data } = list;
  return Array.isArray(data) ? data.map((entry) => (entry as JsonObject)['id'] ?? null) : [];
}

describe('a list', () => {
  test('says what it is a page of', async () => {
    expect(await merchant.get('/charges')).toMatchObject({
      object: 'list',
      limit: 20,
      offset: 0,
      total: 6,
      location: '/charges',
      order: 'chronological',
      from: '1970-01-01T00:00:00Z',
      to: expect.stringMatching(/Z$/),
    });
  });

  test('is paged in both orders', async () => {
    expect(idsOf(await merchant.get('/charges?limit=2'))).toEqual(ids.slice(0, 2));
    expect(idsOf(await merchant.get('/charges?limit=2&offset=4'))).toEqual(ids.slice(4));
    const newest = await merchant.get('/charges?limit=2&offset=1&order=reverse_chronological');
    expect(idsOf(newest)).toEqual([ids[4], ids[3]]);
    expect(newest).toMatchObject({ total: 6 });
  });

  test('is cut by from and to, both included to the second', async () => {
    const second = await merchant.get(`/charges/${ids[1]}`);
    const from = String(second['created_at']);
    const to = String((await merchant.get(`/charges/${ids[3]}`))['created_at']);
    const middle = await merchant.get(`/charges?from=${from}&to=${to}`);
    expect(idsOf(middle)).toEqual(ids.slice(1, 4));
    expect(middle).toMatchObject({ from, to, total: 3 });
  });

  test('never has more than a hundred entries, and refuses nonsense', async () => {
    expect(await merchant.get('/charges?limit=1000')).toMatchObject({ limit: 100 });
    for (const query of ['limit=0', 'limit=x', 'offset=-1', 'order=random', 'from=yesterday']) {
      expect((await merchant.call('GET', `/charges?${query}`)).status, query).toBe(400);
    }
  });

  test('of events has the same pages', async () => {
    const { data, total } = await merchant.get('/events?order=reverse_chronological&limit=1');
    expect(total).toBe(6);
    expect(data).toMatchObject([{ object: 'event', key: 'charge.create', data: { id: ids.at(-1) } }]);
  });
});

describe('search', () => {
  const search = (query: string) => merchant.get(`/search?${query}`);

  test('finds by words, newest first', async () => {
    const found = await search('scope=charge&query=order');
    expect(found).toMatchObject({ object: 'search', scope: 'charge', page: 1, per_page: 30, total: 5, total_pages: 1 });
    expect(idsOf(found)).toEqual(ids.slice(0, 5).reverse());
    expect(idsOf(await search('scope=charge&query=att_needle'))).toEqual([ids[5]]);
  });

  test('takes flat filters, amounts in main units', async () => {
    expect(idsOf(await search('scope=charge&filters[amount]=100.00'))).toEqual([ids[0]]);
    expect(idsOf(await search('scope=charge&filters[captured]=true'))).toEqual([ids[5]]);
    const filtered = await search(
      'scope=charge&filters[status]=pending&filters[source_of_fund]=promptpay&order=chronological',
    );
    expect(idsOf(filtered)).toEqual(ids.slice(0, 5));
    expect(filtered).toMatchObject({ filters: { status: 'pending', source_of_fund: 'promptpay' } });
  });

  test('is paged', async () => {
    const page = await search('scope=charge&per_page=2&page=2&order=chronological');
    expect(idsOf(page)).toEqual(ids.slice(2, 4));
    expect(page).toMatchObject({ total_pages: 3 });
  });

  test.each([
    ['scope=planet', 'invalid_scope'],
    ['scope=charge&filters[mood]=good', 'invalid_filters'],
    ['scope=charge&page=0', 'invalid_page'],
  ])('refuses %s', async (query, code) => {
    expect(await merchant.call('GET', `/search?${query}`)).toMatchObject({ status: 400, body: { code } });
  });
});
