import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type StandInWallet, startWallet } from '../../sandbox/lightning/wallet.ts';
import { type StandInRelay, startRelay } from '../../sandbox/nostr/relay.ts';
import { fromWire } from '../../src/platform/ids.ts';
import { eventually, type Json } from '../harness/client.ts';
import { inProcess } from '../harness/in-process.ts';
import { expectProblem } from '../harness/problems.ts';
import { faultsAtRest } from '../harness/whole-books.ts';
import { available, grant, runOf } from '../workflows/stage.ts';
import { type AskStage, askOf, becomes, expectSurplus, movesOf, openAskStage, owed, type Party, pay } from './stage.ts';

/** Asks that are paid by an invoice of the operator's wallet. */

const rails = [{ rail: 'credits' }, { rail: 'lightning', price_per_credit: 1000 }];
const byInvoice = { rail: 'lightning' };

describe('with a wallet', () => {
  let stage: AskStage;
  let relay: StandInRelay;
  let wallet: StandInWallet;
  beforeAll(async () => {
    relay = await startRelay();
    wallet = await startWallet({ relayUrl: relay.url });
    stage = await openAskStage({ env: { NWC_URL: wallet.connectionUrl } });
  });
  beforeEach(() => wallet.control.faults({}));
  afterEach(async () => {
    await stage.executor.idle();
    expect(await faultsAtRest(stage.farebox.database.superuserUrl)).toEqual([]);
  });
  afterAll(async () => {
    await stage.close();
    wallet.close();
    await relay.close();
  });

  async function asked(policy: Json = {}, credits = 0): Promise<{ party: Party; ask: Json; run: Json; refused: Json }> {
    const party = await stage.party({ rails, ...policy }, { credits });
    const refused = await party.start({ payment: 'upfront' });
    expect(refused.status, refused.text).toBe(402);
    return { party, ask: askOf(refused), run: { id: refused.body.run_id }, refused: refused.body };
  }
  const invoiced = async (party: Party, ask: Json, body: Json = byInvoice): Promise<Json> => {
    const opened = await pay(party.who, ask, body);
    expect(opened.status, opened.text).toBe(202);
    return opened.body;
  };

  /** Its key has had a 503: the wallet made no invoice. */
  async function askedInVain(): Promise<{ party: Party; ask: Json; key: string }> {
    const { party, ask } = await asked();
    const key = randomUUID();
    wallet.control.faults({ error: { code: 'INTERNAL', message: 'not now' } });
    expectProblem(await pay(party.who, ask, byInvoice, key), 'provider_unavailable');
    wallet.control.faults({});
    return { party, ask, key };
  }

  // REQ V3 V10
  test('the 402 says what it costs; own credits are set aside, the rest is an invoice, and paying it starts the run', async () => {
    const { party, ask, run, refused } = await asked({}, 12);
    expect(refused.pay_with).toContainEqual(expect.objectContaining({ rail: 'lightning', amount_msat: '30000' }));
    const opened = await invoiced(party, ask, refused.pay_with[1].body);
    expect(opened).toMatchObject({ state: 'part_paid', received: 12, due: 18, lightning: { amount_msat: '18000' } });
    const purchase = await party.who.ok('GET', `/v1/purchases/${opened.purchase_id}`);
    expect(purchase).toMatchObject({ method: 'lightning', credits: 18, lightning: opened.lightning, package_id: null });
    expect(purchase.status_url).toBe(opened.status_url);
    expect(await (await fetch(opened.status_url)).text()).toContain(opened.lightning.invoice);
    expect(await runOf(party.who, run)).toMatchObject({ state: 'awaiting_payment' });
    await wallet.control.pay(opened.lightning.invoice);
    await becomes(stage, party, ask, 'paid');
    expect(await (await fetch(opened.status_url)).text()).toContain('18 credits go to what asked for them.');
    expect(await movesOf(stage, run)).toEqual(['hold 12', 'hold 18', 'capture 12', 'capture 18']);
    const done = await eventually(
      () => runOf(party.who, run),
      ({ state }) => state === 'succeeded',
    );
    expect(done.payment).toMatchObject({ paid: 30, due: 0 });
  });

  test('again, with the same key or another, is the same invoice; when it is paid it is answered as it is', async () => {
    const { party, ask } = await asked();
    const key = randomUUID();
    const first = await pay(party.who, ask, byInvoice, key);
    expect((await pay(party.who, ask, byInvoice, key)).body).toEqual(first.body);
    expect((await invoiced(party, ask)).lightning).toEqual(first.body.lightning);
    await wallet.control.pay(first.body.lightning.invoice);
    await becomes(stage, party, ask, 'paid');
    expect(await pay(party.who, ask, byInvoice)).toMatchObject({ status: 200, body: { state: 'paid' } });
    expect((await pay(party.who, ask, byInvoice, key)).body.lightning).toBeUndefined();
  });

  test('six at once: one purchase, one invoice', async () => {
    const { party, ask } = await asked();
    const replies = await Promise.all(Array.from({ length: 6 }, () => pay(party.who, ask, byInvoice)));
    expect(replies.filter(({ status }) => status !== 202).every(({ body }) => body.code === 'request_in_flight')).toBe(
      true,
    );
    const { data } = await party.who.ok('GET', '/v1/purchases');
    expect(data).toHaveLength(1);
    const made = wallet.control.invoices().filter(({ description }) => description.includes(data[0].id));
    expect(made).toHaveLength(1);
  });

  test('a wallet that makes none: 503, and the same key asks it again', async () => {
    const { party, ask, key } = await askedInVain();
    const opened = await pay(party.who, ask, byInvoice, key);
    expect([opened.status, opened.body.lightning.amount_msat]).toEqual([202, '30000']);
    await wallet.control.pay(opened.body.lightning.invoice);
    await becomes(stage, party, ask, 'paid');
  });

  test('the ask was paid meanwhile: the same key makes no invoice for what nobody asks for any more', async () => {
    const { party, ask, key } = await askedInVain();
    await grant(stage.operator, party.who, 30);
    expect((await pay(party.who, ask)).body.state).toBe('paid');
    const made = wallet.control.invoices().length;
    const again = await pay(party.who, ask, byInvoice, key);
    expect([again.status, again.body.lightning, wallet.control.invoices().length]).toEqual([202, undefined, made]);
  });

  test('cancelled while the wallet is asked: nobody gets to see the invoice, so nobody pays it', async () => {
    const { party, ask } = await asked();
    wallet.control.faults({ slowMs: 1_500 });
    const opened = pay(party.who, ask, byInvoice);
    const { data } = await eventually(
      () => party.who.ok('GET', '/v1/purchases'),
      (now) => now.data.length === 1,
    );
    await party.who.ok('POST', `/v1/purchases/${data[0].id}/cancel`);
    expect([(await opened).status, (await opened).body.lightning]).toEqual([202, undefined]);
  });

  test('one that never comes: the purchase ends after its time, and does not count as unpaid for ever', async () => {
    const { party, ask } = await asked();
    wallet.control.faults({ error: { code: 'INTERNAL', message: 'not now' } });
    await pay(party.who, ask, byInvoice);
    await stage.root`update payments.purchases set expires_at = now() - interval '1 second' where for_id = ${fromWire('ask', ask.id)}`;
    await (await inProcess(stage.farebox)).work('purchase-expiry');
    const { data } = await party.who.ok('GET', '/v1/purchases');
    expect(data).toMatchObject([{ status: 'expired', failure: { code: 'not_paid' } }]);
  });

  // REQ V5
  test('paid with credits meanwhile, or over when the money comes: it is the credits of whoever paid', async () => {
    const [one, other] = [await asked(), await asked()];
    const first = await invoiced(one.party, one.ask);
    await grant(stage.operator, one.party.who, 30);
    expect((await pay(one.party.who, one.ask)).body.state).toBe('paid');
    const second = await invoiced(other.party, other.ask);
    await stage.age(other.ask, 700);
    await becomes(stage, other.party, other.ask, 'expired');
    for (const { lightning } of [first, second]) await wallet.control.pay(lightning.invoice);
    for (const { party, ask } of [one, other]) await expectSurplus(stage, party, ask, 'lightning');
  });

  test('what is bought in millisatoshi has no way back in money, and says so; a surplus stays credits', async () => {
    const { party, ask } = await asked({ surplus: 'refund' });
    const opened = await invoiced(party, ask);
    await grant(stage.operator, party.who, 30);
    await pay(party.who, ask);
    await wallet.control.pay(opened.lightning.invoice);
    await eventually(
      () => available(party.who),
      (credits) => credits === 30,
    );
    const order = { subject: { type: 'purchase', id: opened.purchase_id }, reason: 'not needed' };
    expectProblem(await party.who.post('/v1/refunds', order), 'not_refundable');
    expect((await party.who.ok('GET', '/v1/refunds')).data).toEqual([]);
    expect(await available(party.who)).toBe(30);
  });

  test('a debt that was written off can be paid by one, and its invoice lives as long as an invoice does', async () => {
    const { party, ask } = await owed(stage, { rails });
    const early = await invoiced(party, ask);
    const { expires_at } = await party.who.ok('GET', `/v1/purchases/${early.purchase_id}`);
    expect(Date.parse(expires_at) - Date.now()).toBeGreaterThan(80_000_000); // a day, as the grace
    await stage.age(ask, 90_000);
    await becomes(stage, party, ask, 'written_off');
    await wallet.control.pay((await invoiced(party, ask)).lightning.invoice);
    await becomes(stage, party, ask, 'paid');
    expect((await party.start()).body.run.payment.mode).toBe('after');
  });

  test('one that lived for a day and is paid after its end is found, though the wallet does not tell of it', async () => {
    const { party, ask } = await owed(stage, { rails, after: { grace_s: 1_000_000 } });
    const opened = await invoiced(party, ask);
    wallet.control.faults({ isDiscreet: true });
    const id = fromWire('purchase', opened.purchase_id);
    await stage.root.begin(async (tx) => {
      await tx`alter table payments.invoices disable trigger invoices_frozen`;
      await tx`update payments.invoices set created_at = now() - interval '24 hours 2 minutes',
        expires_at = now() - interval '2 minutes', next_check_at = now() where purchase_id = ${id}`;
      await tx`alter table payments.invoices enable trigger invoices_frozen`;
    });
    await eventually(
      () => party.who.ok('GET', `/v1/purchases/${opened.purchase_id}`),
      ({ status }) => status === 'expired',
    );
    await wallet.control.pay(opened.lightning.invoice);
    await (await inProcess(stage.farebox)).work('invoice-sweep');
    await becomes(stage, party, ask, 'paid');
  });

  test('it keeps nobody from another rail; paid by both, the second payment is credits', async () => {
    const omise = { rail: 'omise', currency: 'THB', price_per_credit: 150 };
    const { party, ask } = await asked({ rails: [...rails, omise] });
    const opened = await invoiced(party, ask);
    expect((await pay(party.who, ask, { rail: 'omise' })).status).toBe(202);
    expect((await pay(party.who, ask, byInvoice)).body.purchase_id).toBe(opened.purchase_id);
    await grant(stage.operator, party.who, 30);
    await pay(party.who, ask);
    await wallet.control.pay(opened.lightning.invoice);
    await eventually(
      () => available(party.who),
      (credits) => credits === 30,
    );
  });

  test('a quote says what a run would cost by it', async () => {
    const { who, workflow } = await stage.party({ rails, milestones: [10, 20] });
    const { ways } = await who.ok('POST', '/v1/quotes', {
      body: { payment: { type: 'run', workflow_id: workflow.id } },
    });
    expect(ways).toContainEqual(expect.objectContaining({ rail: 'lightning', amount_msat: '10000', credits: 10 }));
  });
});

test('without a wallet it is not offered, and not open', async () => {
  const stage = await openAskStage();
  const party = await stage.party({ rails });
  const refused = await party.start({ payment: 'upfront' });
  expect(refused.body.pay_with.map(({ rail }: Json) => rail)).not.toContain('lightning');
  expectProblem(await pay(party.who, askOf(refused), byInvoice), 'method_unavailable');
  expect((await party.who.ok('GET', '/v1/purchases')).data).toEqual([]);
  await stage.close();
});
