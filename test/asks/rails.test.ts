import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { fromWire } from '../../src/platform/ids.ts';
import { describeOnChain, dollarsOf, etherOf, payDollars } from '../harness/chain.ts';
import { eventually, type Json } from '../harness/client.ts';
import { faultsAtRest } from '../harness/whole-books.ts';
import { agree, newPayer, openRequestStage, type RequestStage, standing, submit } from '../payments/request-stage.ts';
import { available, grant, runOf, workflowOf } from '../workflows/stage.ts';
import { type AskStage, askOf, becomes, expectSurplus, movesOf, openAskStage, owed, type Party, pay } from './stage.ts';

const rails = [{ rail: 'credits' }, { rail: 'omise', currency: 'THB', price_per_credit: 150 }];
const upfront = { payment: 'upfront' };

describe('an ask that is paid by Omise', () => {
  let stage: AskStage;
  beforeAll(async () => {
    stage = await openAskStage();
  });
  afterEach(async () => {
    await stage.executor.idle();
    expect(await faultsAtRest(stage.farebox.database.superuserUrl)).toEqual([]);
  });
  afterAll(() => stage.close());

  const control = () => stage.farebox.omise.control;
  /** At the hosted checkout, by PromptPay. */
  async function payPromptly({ status_url, purchase_id }: Json): Promise<void> {
    const body = new URLSearchParams({ method: 'promptpay' });
    expect((await fetch(`${status_url}/pay`, { method: 'POST', redirect: 'manual', body })).status).toBe(303);
    const charge = control()
      .charges()
      .find((one) => (one['metadata'] as Json).purchase_id === purchase_id);
    control().pay(String(charge?.['id']));
  }
  async function asked(policy: Json = {}, credits = 0): Promise<{ party: Party; ask: Json; run: Json }> {
    const party = await stage.party({ rails, ...policy }, { credits });
    const refused = await party.start(upfront);
    expect(refused.status, refused.text).toBe(402);
    return { party, ask: askOf(refused), run: { id: refused.body.run_id } };
  }

  // REQ V6 V10
  test('the 402 says what it costs there; own credits are set aside, the rest is bought, and pays it', async () => {
    const { party, ask, run } = await asked({}, 12);
    const { pay_with: ways } = await stage.ask(party.who, ask.id);
    expect(ways).toMatchObject([{ rail: 'credits' }, { rail: 'omise', amount: 4_500, currency: 'THB' }]);
    const opened = await pay(party.who, ask, ways[1].body, 'by-promptpay');
    expect(opened.status, opened.text).toBe(202);
    expect(opened.body).toMatchObject({ state: 'part_paid', received: 12, due: 18 });
    expect(await party.who.ok('GET', '/v1/credits/balance')).toMatchObject({ available: 0, held: 12 });
    const purchase = await party.who.ok('GET', `/v1/purchases/${opened.body.purchase_id}`);
    expect(purchase).toMatchObject({ credits: 18, price: 2_700, currency: 'THB', package_id: null, status: 'pending' });
    expect((await pay(party.who, ask, ways[1].body, 'by-promptpay')).text).toBe(opened.text);
    expect((await pay(party.who, ask, ways[1].body)).body.purchase_id).toBe(opened.body.purchase_id);
    expect(await runOf(party.who, run)).toMatchObject({ state: 'awaiting_payment' });
    await payPromptly(opened.body);
    await becomes(stage, party, ask, 'paid');
    expect(await movesOf(stage, run)).toEqual(['hold 12', 'hold 18', 'capture 12', 'capture 18']);
    const done = await eventually(
      () => runOf(party.who, run),
      ({ state }) => state === 'succeeded',
    );
    expect(done.payment).toMatchObject({ paid: 30, due: 0 });
  });

  test('without own credits all of it is bought; with enough of them nothing has to be', async () => {
    const { party, ask } = await asked({}, 12);
    const body = { rail: 'omise', use_credits: false };
    const opened = await pay(party.who, ask, body);
    expect((await party.who.ok('GET', `/v1/purchases/${opened.body.purchase_id}`)).credits).toBe(30);
    const refused = await pay(party.who, ask, { rail: 'omise' }); // another payment is under way
    expect([refused.status, refused.body.purchase_id]).toEqual([409, opened.body.purchase_id]);
    await party.who.ok('POST', `/v1/purchases/${opened.body.purchase_id}/cancel`);
    await grant(stage.operator, party.who, 100);
    const paid = await pay(party.who, ask, { rail: 'omise' });
    expect([paid.status, paid.body.state]).toEqual([200, 'paid']);
    expect(await available(party.who)).toBe(82);
  });

  test('no more than the service takes by it at once: the way is not offered, and not open', async () => {
    const capped = [{ rail: 'credits' }, { ...rails[1], max_credits: 20 }];
    const { party, ask } = await asked({ rails: capped }, 5);
    expect((await stage.ask(party.who, ask.id)).pay_with).toMatchObject([{ rail: 'credits' }]);
    expect((await pay(party.who, ask, { rail: 'omise' })).body).toMatchObject({
      status: 422,
      code: 'method_unavailable',
    });
    await grant(stage.operator, party.who, 5);
    const opened = await pay(party.who, ask, { rail: 'omise' }); // with ten of one's own
    expect([opened.status, opened.body.due]).toEqual([202, 20]);
  });

  test('a rest so small that the provider takes no payment of it: refused, and nothing is set aside', async () => {
    const { party, ask } = await asked({}, 29);
    const refused = await pay(party.who, ask, { rail: 'omise' });
    expect(refused.body, refused.text).toMatchObject({ status: 422, code: 'method_unavailable' });
    expect(refused.body.errors).toMatchObject([{ pointer: '/rail' }]);
    expect(await party.who.ok('GET', '/v1/credits/balance')).toMatchObject({ available: 29, held: 0 });
    expect((await pay(party.who, ask, { rail: 'omise', use_credits: false })).status).toBe(202);
  });

  test('six at once open one purchase', async () => {
    const { party, ask } = await asked({}, 10);
    const replies = await Promise.all(Array.from({ length: 6 }, () => pay(party.who, ask, { rail: 'omise' })));
    expect(new Set(replies.map(({ status, body }) => `${status} ${body.purchase_id}`)).size).toBe(1);
    expect(await party.who.ok('GET', '/v1/credits/balance')).toMatchObject({ available: 0, held: 10 });
  });

  // REQ V5
  test('paid with credits meanwhile, or over when the money comes: it is the credits of whoever paid', async () => {
    const [one, other] = [await asked(), await asked()];
    const first = await pay(one.party.who, one.ask, { rail: 'omise' });
    await grant(stage.operator, one.party.who, 30);
    expect((await pay(one.party.who, one.ask)).body.state).toBe('paid');
    await payPromptly(first.body);
    const second = await pay(other.party.who, other.ask, { rail: 'omise' });
    await stage.age(other.ask, 700);
    await becomes(stage, other.party, other.ask, 'expired');
    await payPromptly(second.body);
    for (const { party, ask } of [one, other]) await expectSurplus(stage, party, ask, 'omise');
  });

  test('what came too much is asked back at once, where the policy wants that', async () => {
    const { party, ask } = await asked({ surplus: 'refund' });
    const opened = (await pay(party.who, ask, { rail: 'omise' })).body;
    await grant(stage.operator, party.who, 30);
    await pay(party.who, ask);
    await payPromptly(opened);
    const { data } = await eventually(
      () => party.who.ok('GET', '/v1/refunds'),
      (list) => list.data.length > 0,
    );
    expect(data).toMatchObject([
      { subject: { type: 'purchase', id: opened.purchase_id }, credits: 30, amount: '4500' },
    ]);
  });

  test('a debt that was written off can be paid by it', async () => {
    const { party, ask } = await owed(stage, { rails });
    await stage.age(ask, 90_000);
    await becomes(stage, party, ask, 'written_off');
    await payPromptly((await pay(party.who, ask, { rail: 'omise' })).body);
    await becomes(stage, party, ask, 'paid');
    expect((await party.start()).body.run.payment.mode).toBe('after');
  });

  test('a quote says what a run would cost by each rail, and keeps nothing', async () => {
    const { who, workflow } = await stage.party({ rails, milestones: [10, 20] });
    const body = { payment: { type: 'run', workflow_id: workflow.id } };
    const quote = await who.ok('POST', '/v1/quotes', { body });
    expect(quote.run).toEqual({
      ...{
        mode: 'upfront',
        cost: 30,
        first_payment: 10,
        milestones: [10, 20],
        price_holds_s: 600,
        grace_s: null,
        info: null,
      },
    });
    const way = (rail: string) => quote.ways.find((one: Json) => one.rail === rail);
    expect(way('credits')).toMatchObject({ amount: 10 });
    expect(quote.unavailable).toContainEqual(expect.objectContaining({ rail: 'evm', reason: 'not_enabled' }));
    expect(way('omise') ?? quote.unavailable[0]).toMatchObject({ rail: 'omise' });
    expect((await who.ok('GET', '/v1/asks')).data).toEqual([]);
    const stranger = await stage.customer();
    expect((await stranger.call('POST', '/v1/quotes', { body })).status).toBe(403);
    const wished = { payment: { ...body.payment, payment: 'after' } };
    expect((await who.call('POST', '/v1/quotes', { body: wished })).body.code).toBe('payment_mode_unavailable');
  });
});

describeOnChain('an ask that is paid on chain', () => {
  let stage: RequestStage;
  beforeAll(async () => {
    stage = await openRequestStage();
  });
  afterAll(() => stage.close());

  const sellFor = (...assets: string[]): Promise<Json> =>
    stage.operator.ok('POST', '/v1/admin/services', {
      body: {
        ...{ name: 'On chain', credit_cost: 30, executor: { endpoint: 'https://executor.example.com/' } },
        payment: { rails: assets.map((asset) => ({ rail: 'evm', asset, price_per_credit: '1000' })) },
      },
    });

  // REQ V10
  test('exactly the missing credits are bought, by a DID of the account, and pay it', async () => {
    const { chain } = stage;
    const payer = await newPayer(stage);
    const asset = dollarsOf(chain);
    const service = await sellFor(asset);
    const workflow = await workflowOf(payer.client, service);
    const refused = await payer.client.post(`/v1/workflows/${workflow.id}/runs`, upfront);
    const [way] = refused.body.pay_with;
    expect(way).toMatchObject({ rail: 'evm', amount: '30000', asset });
    const opened = await payer.client.post(way.href, way.body);
    expect(opened.status, opened.text).toBe(202);
    const purchase = await payer.client.ok('GET', `/v1/purchases/${opened.body.purchase_id}`);
    const request = { id: purchase.payment_request_id };
    await agree(stage, payer, request);
    await submit(payer, request, await payDollars(payer.wallet, chain, 30_000n));
    await standing(stage, payer.client, request, 'completed');
    const run = await eventually(
      () => runOf(payer.client, { id: refused.body.run_id }),
      ({ payment }) => payment.state === 'paid',
    );
    expect(run.payment).toMatchObject({ paid: 30, due: 0 });
    const other = await payer.client.post(way.href, { rail: 'evm', asset: `${asset}0` });
    expect(other.body.state).toBe('paid');
  });

  test('seen after its end, when another payment of the ask is under way: it counts, and pays it', async () => {
    const { operator, chain, root } = stage;
    const payer = await newPayer(stage);
    const evm = { rail: 'evm', asset: dollarsOf(chain) };
    const service = await operator.ok('POST', '/v1/admin/services', {
      body: {
        ...{ name: 'Either way', credit_cost: 30, executor: { endpoint: 'https://executor.example.com/' } },
        payment: { quote_ttl_s: 86_400, rails: [{ ...evm, price_per_credit: '1000' }, ...rails] },
      },
    });
    const workflow = await workflowOf(payer.client, service);
    const ask = askOf(await payer.client.post(`/v1/workflows/${workflow.id}/runs`, upfront));
    const opened = await pay(payer.client, ask, evm);
    const purchase = await payer.client.ok('GET', `/v1/purchases/${opened.body.purchase_id}`);
    const request = { id: purchase.payment_request_id };
    await agree(stage, payer, request);
    const ends = (inS: number) =>
      root.begin(async (tx) => {
        await tx`alter table payments.payment_requests disable trigger payment_requests_frozen`;
        await tx`update payments.payment_requests set expires_at = now() + make_interval(secs => ${inS})
          where id = ${fromWire('paymentRequest', request.id)}`;
        await tx`alter table payments.payment_requests enable trigger payment_requests_frozen`;
      });
    await ends(0);
    await standing(stage, payer.client, request, 'expired');
    const other = await pay(payer.client, ask, { rail: 'omise' });
    expect(other.status, other.text).toBe(202);
    await ends(60);
    await submit(payer, request, await payDollars(payer.wallet, chain, 30_000n));
    await standing(stage, payer.client, request, 'completed');
    const paid = await eventually(
      () => payer.client.ok('GET', `/v1/asks/${ask.id}`),
      ({ state }) => state === 'paid',
    );
    expect(paid.settlements).toMatchObject([{ rail: 'evm', taken: 30 }]);
    expect((await payer.client.ok('GET', `/v1/purchases/${purchase.id}`)).status).toBe('completed');
  });

  test('in another asset, or by another DID, than a payment that is under way: that one is named', async () => {
    const { chain } = stage;
    const payer = await newPayer(stage);
    const [dollars, coin] = [dollarsOf(chain), etherOf(chain)];
    const service = await sellFor(dollars, coin);
    const workflow = await workflowOf(payer.client, service);
    const ask = askOf(await payer.client.post(`/v1/workflows/${workflow.id}/runs`, upfront));
    const opened = await pay(payer.client, ask, { rail: 'evm', asset: dollars });
    expect((await pay(payer.client, ask, { rail: 'evm', asset: dollars })).body.purchase_id).toBe(
      opened.body.purchase_id,
    );
    const other = await pay(payer.client, ask, { rail: 'evm', asset: coin });
    expect([other.status, other.body.purchase_id]).toEqual([409, opened.body.purchase_id]);
  });

  test("a payer that is not the account's is refused where it stands", async () => {
    const { chain } = stage;
    const [payer, stranger] = [await newPayer(stage), await newPayer(stage)];
    const asset = dollarsOf(chain);
    const service = await sellFor(asset);
    const workflow = await workflowOf(payer.client, service);
    const ask = askOf(await payer.client.post(`/v1/workflows/${workflow.id}/runs`, upfront));
    const refused = await pay(payer.client, ask, { rail: 'evm', asset, payer: stranger.did });
    expect(refused.body).toMatchObject({ status: 422, code: 'did_required', errors: [{ pointer: '/payer' }] });
  });
});
