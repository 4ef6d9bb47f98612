import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { providerFee } from '../../src/payments/quotes/provider-fees.ts';
import { type Client, type Json, newCustomer, newOperator } from '../harness/client.ts';
import { fareboxForFile, fareboxForTest, startProvider, type TestFarebox } from '../harness/farebox.ts';
import { expectFieldProblem } from '../harness/problems.ts';
import { startStillChain } from '../harness/still-chain.ts';

/** What a payment costs by each rail: `POST /v1/quotes`. */

let farebox: TestFarebox;
let chain: Awaited<ReturnType<typeof startStillChain>>;
let customer: Client;
let operator: Client;
let pack: Json;
beforeAll(async () => {
  chain = await startStillChain();
  const env = { EVM_CHAINS: chain.setting, OMISE_FEES: 'promptpay:165,card:265-365', OMISE_FEE_TAX: '700' };
  farebox = await fareboxForFile({ env });
  [customer, operator] = [await newCustomer(farebox), await newOperator(farebox)];
  pack = await newPackage(operator);
});
afterAll(async () => {
  await farebox.stop();
  chain.stop();
});

const newPackage = (by: Client, price = 100_000): Promise<Json> =>
  by.ok('POST', '/v1/admin/packages', { body: { name: 'Starter', credits: 500, price } });
const ask = (payment: Json, by = customer) => by.call('POST', '/v1/quotes', { body: { payment } });
const quoted = (payment: Json, by = customer): Promise<Json> => by.ok('POST', '/v1/quotes', { body: { payment } });
const thePackage = () => ({ type: 'package', package_id: pack.id });
const way = ({ ways }: Json, method: string) => ways.find((one: Json) => one.method === method);
const why = ({ unavailable }: Json) =>
  unavailable.map(({ rail, method, reason }: Json) => [rail, method, reason].filter((part) => part !== null).join(' '));

describe('by Omise', () => {
  test('a package: what its methods cost the seller, as an estimate with tax, and the credits it brings', async () => {
    const quote = await quoted(thePackage());
    // 3.65 % of THB 1000 and 7 % tax on it: 36.50 + 2.56
    expect(way(quote, 'card')).toEqual({
      ...{ rail: 'omise', method: 'card', amount: 100_000, currency: 'THB', network_fee: null, credits: 500 },
      provider_fee: { least: 2_835, most: 3_906 },
      received: { least: 96_094, most: 97_165 },
    });
    expect(way(quote, 'promptpay').provider_fee).toEqual({ least: 1_765, most: 1_766 });
    expect(way(quote, 'truemoney'), 'of which nobody has said what it costs').toMatchObject({
      ...{ provider_fee: null, received: null, amount: 100_000 },
    });
    expect(quote.ways.every((one: Json) => one.rail === 'omise')).toBe(true);
    expect(why(quote)).toEqual(['evm no_price', 'lightning not_enabled', 'credits no_price']);
  });

  test('an amount of money, as far as each method goes', async () => {
    const quote = await quoted({ type: 'money', amount: 15_000_001, currency: 'THB' });
    expect(way(quote, 'promptpay')).toBeUndefined();
    expect(way(quote, 'card')).toMatchObject({ amount: 15_000_001, credits: null });
    expect(why(quote)).toContain('omise promptpay not_offered');
    const foreign = await quoted({ type: 'money', amount: 100, currency: 'USD' });
    expect(foreign.ways).toEqual([]);
    expect(why(foreign)).toEqual(['omise other_currency', 'evm no_price', 'lightning not_enabled', 'credits no_price']);
  });

  test('methods that the account at the provider does not have are named as such', async () => {
    const omise = await startProvider();
    omise.control.account({ payment_methods: ['promptpay'] });
    const poor = await fareboxForTest({ omise });
    const by = await newCustomer(poor);
    const quote = await quoted({ type: 'money', amount: 50_000, currency: 'THB' }, by);
    expect(quote.ways.map(({ method }: Json) => method)).toContain('promptpay');
    expect(way(quote, 'truemoney')).toBeUndefined();
    expect(why(quote)).toEqual(expect.arrayContaining(['omise truemoney not_offered', 'evm not_enabled']));
    await omise.close();
  });

  test('without a setting the estimate is wide, and never more than the amount', async () => {
    const plain = await fareboxForTest();
    const { ways } = await quoted({ type: 'money', amount: 100_000, currency: 'THB' }, await newCustomer(plain));
    expect(ways.length).toBeGreaterThan(3);
    for (const { provider_fee: fee, received, amount } of ways) {
      expect(fee.least).toBeLessThan(fee.most);
      expect([received.least + fee.most, received.most + fee.least]).toEqual([amount, amount]);
    }
  });
});

describe('on chain', () => {
  test('an amount of an asset: no provider, and what the network takes comes on top', async () => {
    const quote = await quoted({ type: 'asset', asset: chain.asset, amount: '1500000000000000000' });
    expect(quote.ways).toEqual([
      {
        ...{ rail: 'evm', asset: chain.asset, amount: '1500000000000000000', display: '1.5 ETH', provider_fee: null },
        network_fee: { paid_by: 'payer', note: expect.stringContaining('in the coin of Still') },
        received: { least: '1500000000000000000', most: '1500000000000000000' },
        credits: null,
      },
    ]);
    expect(why(quote)).toEqual(['omise no_price', 'lightning not_enabled', 'credits no_price']);
  });

  test('a package that has a price there', async () => {
    const priced = await newPackage(operator);
    const prices = [{ asset: chain.asset, amount: '7' }];
    await operator.ok('PUT', `/v1/admin/packages/${priced.id}/crypto-prices`, { body: { prices } });
    const quote = await quoted({ type: 'package', package_id: priced.id });
    const onChain = quote.ways.filter(({ rail }: Json) => rail === 'evm');
    expect(onChain).toEqual([expect.objectContaining({ asset: chain.asset, amount: '7', credits: 500 })]);
    expect(why(quote)).toEqual(['lightning not_enabled', 'credits no_price']);
  });

  test('where no chain is set up it says so, of everything', async () => {
    const without = await fareboxForTest();
    const by = await newCustomer(without);
    const sold = await newPackage(await newOperator(without));
    for (const payment of [
      { type: 'asset', asset: chain.asset, amount: '7' },
      { type: 'package', package_id: sold.id },
      { type: 'credits', credits: 7 },
    ]) {
      const quote = await quoted(payment, by);
      expect(why(quote)).toContain('evm not_enabled');
      expect(quote.ways.some(({ rail }: Json) => rail === 'evm')).toBe(false);
    }
  });
});

test('credits cost nothing but themselves, whether the account has them or not', async () => {
  const quote = await quoted({ type: 'credits', credits: 120 });
  expect(quote.ways).toEqual([
    {
      ...{ rail: 'credits', amount: 120, provider_fee: null, network_fee: null, credits: 120 },
      received: { least: 120, most: 120 },
    },
  ]);
  expect(why(quote)).toEqual(['omise no_price', 'evm no_price', 'lightning not_enabled']);
});

test('nothing is reserved, kept or told: a quote leaves no trace', async () => {
  const trace = async () =>
    Promise.all(
      ['purchases', 'credits/transfers', 'events', 'payment-requests'].map((of) => customer.ok('GET', `/v1/${of}`)),
    );
  const before = await trace();
  await quoted(thePackage());
  await quoted({ type: 'asset', asset: chain.asset, amount: '7' });
  expect(await trace()).toEqual(before);
});

describe('what cannot be quoted is a 422 that points to it', () => {
  test.each<[string, Json, string]>([
    ['no type', {}, '/payment/type'],
    ['an unknown type', { type: 'gold' }, '/payment/type'],
    ['no amount', { type: 'money', currency: 'THB' }, '/payment/amount'],
    ['an amount of nothing', { type: 'money', amount: 0, currency: 'THB' }, '/payment/amount'],
    ['a broken amount', { type: 'money', amount: 1.5, currency: 'THB' }, '/payment/amount'],
    ['an amount beyond all', { type: 'money', amount: 1e15, currency: 'THB' }, '/payment/amount'],
    ['an amount as text', { type: 'money', amount: '100', currency: 'THB' }, '/payment/amount'],
    ['a currency that is none', { type: 'money', amount: 100, currency: 'baht' }, '/payment/currency'],
    ['no credits', { type: 'credits', credits: -1 }, '/payment/credits'],
    ['two things at once', { type: 'credits', credits: 1, amount: 1 }, '/payment/amount'],
    ['an id of something else', { type: 'package', package_id: 'run_01' }, '/payment/package_id'],
  ])('%s', async (_name, payment, pointer) => {
    expectFieldProblem(await ask(payment), pointer);
  });

  test('a package that is not sold, an asset that is not taken, an amount that is none', async () => {
    const gone = await newPackage(operator);
    await operator.ok('PATCH', `/v1/admin/packages/${gone.id}`, { body: { active: false } });
    const packageId = '/payment/package_id';
    expectFieldProblem(await ask({ type: 'package', package_id: gone.id }), packageId, 'package_unavailable');
    const none = `pkg_${'0'.repeat(26)}`;
    expectFieldProblem(await ask({ type: 'package', package_id: none }), packageId, 'package_unavailable');
    const other = { type: 'asset', asset: 'eip155:1/slip44:60', amount: '7' };
    expectFieldProblem(await ask(other), '/payment/asset', 'asset_unsupported');
    for (const amount of ['', '0', '-1', '1.5', '0x7', '07', '9'.repeat(78)])
      expectFieldProblem(await ask({ ...other, asset: chain.asset, amount }), '/payment/amount', 'amount_invalid');
  });
});

test('a fee lies within its range, however it is rounded, and grows with the amount', () => {
  const ranges = new Map([['card', { least: 265, most: 365 }]]);
  fc.assert(
    fc.property(fc.bigInt({ min: 1n, max: 10n ** 12n }), fc.nat(10_000), (amount, tax) => {
      const fee = providerFee({ ranges, tax }, 'card', amount);
      const exact = (points: number) => (Number(amount) * points * (10_000 + tax)) / 1e8;
      expect(Math.abs(Number(fee?.least) - exact(265))).toBeLessThanOrEqual(1);
      expect(Math.abs(Number(fee?.most) - exact(365))).toBeLessThanOrEqual(1);
      expect((fee?.least ?? 0n) <= (fee?.most ?? 0n)).toBe(true);
      const more = providerFee({ ranges, tax }, 'card', amount + 1n);
      expect((more?.most ?? 0n) >= (fee?.most ?? 0n) && (more?.least ?? 0n) >= (fee?.least ?? 0n)).toBe(true);
    }),
  );
  expect(providerFee({ ranges, tax: 0 }, 'promptpay', 1n)).toBeUndefined();
});
