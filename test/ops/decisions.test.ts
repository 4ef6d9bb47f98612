import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { fromWire, toWire } from '../../src/platform/ids.ts';
import { type Client, clientOf, type Json, newCustomer, newOperator } from '../harness/client.ts';
import { inProcess } from '../harness/in-process.ts';
import { balanceOf, openRefundStage, type RefundStage, refundOf } from '../refunds/stage.ts';
import { operatorAt, type Page, type Visitor } from './visitor.ts';

let stage: RefundStage;
let visitor: Visitor;
let operator: Client;
beforeAll(async () => {
  stage = await openRefundStage({ env: { REFUND_AUTO_CREDITS: '1', OMISE_DEADLINE_MS: '1000' } });
  ({ visitor, operator } = await operatorAt(stage.shop.farebox));
});
afterEach(async () => {
  stage.shop.omise.clearFaults();
  await stage.isSound();
});
afterAll(() => stage.close());

const reason = 'they are right';
const at = (panel: string, id: string, action?: string) =>
  `/ops/${panel}/${encodeURIComponent(id)}${action === undefined ? '' : `/${action}`}`;
/** Opens the list, the case and the form, as a person does, and sends it. */
async function decide(panel: string, id: string, action: string, fields: Json = {}, by = visitor): Promise<Page> {
  expect((await by.get('/ops')).text, 'listed').toContain(at(panel, id));
  expect((await by.get(at(panel, id))).text, 'offered').toContain(at(panel, id, action));
  expect((await by.get(at(panel, id, action))).text, 'told before').toContain('What this does.');
  return by.submit(at(panel, id, action), { reason, ...fields });
}
const done = (panel: string, id: string) => ({ status: 303, location: at(panel, id) });
const isListed = async (panel: string, id: string) => (await visitor.get('/ops')).text.includes(at(panel, id));
const audited = async (subject: string): Promise<Json[]> => {
  const rows = await stage.shop.sql`
    select actor, action, detail from platform.audit_log where subject_id = ${subject} order by seq`;
  return rows.map((row) => ({ ...row, detail: JSON.parse(row['detail']) }));
};
const now = (customer: Client, { id }: Json) => customer.ok('GET', `/v1/refunds/${id}`);
const rest = async (refund: Json) => {
  const id = fromWire('refund', refund.id);
  await stage.shop.sql.begin(async (sql) => {
    await sql`alter table refunds.history disable trigger user`;
    await sql`update refunds.history set at = at - interval '16 min' where refund_id = ${id}`;
    await sql`alter table refunds.history enable trigger user`;
  });
};

describe('a refund to decide', () => {
  test('is approved: told before, done once, and the trail says who and why', async () => {
    const { customer, purchase, chargeId } = await stage.buyer();
    const refund = await refundOf(customer, purchase, { amount: 400 });
    const page = await visitor.get(at('refunds', refund.id, 'approve'));
    expect(page.text).toContain('Sets 400 credits aside');
    expect(page.text).toContain('฿400.00 go back');
    expect(stage.givenBack(chargeId), 'looking does nothing').toEqual([]);
    expect(await decide('refunds', refund.id, 'approve')).toMatchObject(done('refunds', refund.id));
    expect(await now(customer, refund)).toMatchObject({ status: 'completed', decision: reason });
    expect(stage.givenBack(chargeId)).toEqual([40_000]);
    expect(await balanceOf(customer)).toMatchObject({ available: 100, held: 0 });
    expect(await isListed('refunds', refund.id)).toBe(false);
    const after = await visitor.get(at('refunds', refund.id));
    expect(after.text).toContain('Nothing to decide');
    expect(after.text).toContain(`account:${operator.accountId}`);
    const approved = (await audited(fromWire('refund', refund.id))).filter(
      ({ action }) => action === 'refunds.approved',
    );
    expect(approved).toMatchObject([{ actor: fromWire('account', operator.accountId), detail: { reason } }]);
  });

  test('is rejected, with a reason that the customer sees', async () => {
    const { customer, purchase, chargeId } = await stage.buyer();
    const refund = await refundOf(customer, purchase);
    expect(await decide('refunds', refund.id, 'reject')).toMatchObject(done('refunds', refund.id));
    expect(await now(customer, refund)).toMatchObject({ status: 'rejected', decision: reason });
    expect(stage.givenBack(chargeId)).toEqual([]);
  });

  test('by two operators at once, and again by each: one decision', async () => {
    const { visitor: second } = await operatorAt(stage.shop.farebox);
    const { customer, purchase, chargeId } = await stage.buyer();
    const refund = await refundOf(customer, purchase);
    const [yes, no] = [at('refunds', refund.id, 'approve'), at('refunds', refund.id, 'reject')];
    await Promise.all([visitor.get(yes), second.get(no)]);
    const send = () => Promise.all([visitor.submit(yes, { reason }), second.submit(no, { reason })]);
    const first = await send();
    expect(first.map(({ status }) => status).toSorted()).toEqual([303, 409]);
    expect(first.find(({ status }) => status === 409)?.text).toContain('It has changed meanwhile');
    expect((await send()).map(({ status }) => status)).toEqual([409, 409]);
    const { status } = await now(customer, refund);
    expect(stage.givenBack(chargeId)).toEqual(status === 'completed' ? [50_000] : []);
  });

  test('is not decided by whoever gets it', async () => {
    const own = await newOperator(stage.shop.farebox);
    const asCustomer = { ...own, ...clientOf(stage.shop.farebox.url, own), accountId: own.accountId };
    const { purchase } = await stage.pay(asCustomer);
    const refund = await refundOf(asCustomer, purchase);
    const { visitor: greedy } = await operatorAt(stage.shop.farebox, own);
    expect((await decide('refunds', refund.id, 'approve', {}, greedy)).status).toBe(403);
    expect(await decide('refunds', refund.id, 'approve')).toMatchObject(done('refunds', refund.id));
  });

  test('needs a reason, in one line that is not too long', async () => {
    const { customer, purchase } = await stage.buyer();
    const refund = await refundOf(customer, purchase);
    for (const wrong of ['', 'two\nlines', 'x'.repeat(501)])
      expect((await decide('refunds', refund.id, 'approve', { reason: wrong })).status).toBe(422);
    expect(await now(customer, refund)).toMatchObject({ status: 'awaiting_approval' });
  });

  test('waits while refunds are off, and the page says so', async () => {
    const { customer, purchase } = await stage.buyer();
    const refund = await refundOf(customer, purchase);
    const { internal } = await inProcess({
      environment: { ...stage.shop.farebox.environment, REFUNDS: 'off' },
    });
    await visitor.get(at('refunds', refund.id, 'approve'));
    const reply = await internal.inject({
      ...{ method: 'POST', url: at('refunds', refund.id, 'approve') },
      headers: { cookie: visitor.cookie, 'content-type': 'application/x-www-form-urlencoded' },
      payload: new URLSearchParams({ csrf: visitor.csrf(), reason }).toString(),
    });
    expect(reply.statusCode).toBe(503);
    expect(reply.body).toContain('Not possible at the moment');
    expect(await now(customer, refund)).toMatchObject({ status: 'awaiting_approval' });
  });
});

describe('a refund to pay by hand', () => {
  // REQ P10
  test('is recorded with the reference of the bank, which the customer sees', async () => {
    const { customer, purchase } = await stage.scanner();
    const refund = await refundOf(customer, purchase);
    await decide('refunds', refund.id, 'approve');
    expect(await isListed('payouts', refund.id)).toBe(true);
    for (const value of ['', 'x'.repeat(101)])
      expect((await decide('payouts', refund.id, 'paid', { value })).status, value).toBe(422);
    const value = `KBANK ${randomUUID()}`;
    expect(await decide('payouts', refund.id, 'paid', { value })).toMatchObject(done('payouts', refund.id));
    expect(await now(customer, refund)).toMatchObject({ status: 'completed', rail: 'bank', reference: value });
    expect(await balanceOf(customer)).toMatchObject({ available: 0, held: 0 });
    const { detail } = (await audited(fromWire('refund', refund.id))).at(-1) ?? {};
    expect(detail).toMatchObject({ reference: value, reason });
  });

  test('that is given up returns its credits', async () => {
    const { customer, purchase } = await stage.scanner();
    const refund = await refundOf(customer, purchase);
    await decide('refunds', refund.id, 'approve');
    expect((await visitor.get(at('payouts', refund.id, 'reject'))).text).toContain(
      '500 credits that are set aside return',
    );
    expect(await decide('payouts', refund.id, 'reject')).toMatchObject({ status: 303 });
    expect(await now(customer, refund)).toMatchObject({ status: 'failed', failure: { code: 'rejected_by_operator' } });
    expect(await balanceOf(customer)).toMatchObject({ available: 500, held: 0 });
  });
});

test('a refund that stands still is listed after a while, and goes on when somebody says so', async () => {
  const { customer, purchase, chargeId } = await stage.buyer();
  const refund = await refundOf(customer, purchase);
  stage.shop.omise.fault({ api: 'reset_after_execution', method: 'POST', path: '/charges/*/refunds', times: 1 });
  await decide('refunds', refund.id, 'approve');
  expect(await now(customer, refund)).toMatchObject({ status: 'sending' });
  expect(await isListed('stuck', refund.id), 'not yet').toBe(false);
  await rest(refund);
  expect(await decide('stuck', refund.id, 'look')).toMatchObject(done('stuck', refund.id));
  expect(await now(customer, refund)).toMatchObject({ status: 'completed' });
  expect(stage.givenBack(chargeId)).toEqual([50_000]);
  expect(await isListed('stuck', refund.id)).toBe(false);
});

describe('a purchase in review', () => {
  async function inReview(): Promise<{ customer: Client; purchase: Json; chargeId: string }> {
    const customer = await newCustomer(stage.shop.farebox);
    const purchase = await stage.shop.buy(customer);
    const chargeId = stage.shop.chargeOf(purchase);
    stage.shop.omise.mutate(chargeId, { data: 'partial_capture' });
    await stage.shop.operator.ok('POST', `/v1/admin/purchases/${purchase.id}/converge`);
    return { customer, purchase, chargeId };
  }
  const statusOf = async (customer: Client, { id }: Json) => (await customer.ok('GET', `/v1/purchases/${id}`)).status;

  test('is completed: its credits are given once', async () => {
    const { customer, purchase, chargeId } = await inReview();
    expect((await visitor.get(at('reviews', purchase.id))).text).toContain(chargeId);
    expect(await decide('reviews', purchase.id, 'complete')).toMatchObject(done('reviews', purchase.id));
    expect((await visitor.submit(at('reviews', purchase.id, 'complete'), { reason })).status).toBe(409);
    expect(await statusOf(customer, purchase)).toBe('completed');
    expect(await balanceOf(customer)).toMatchObject({ available: 500 });
    expect(await audited(fromWire('purchase', purchase.id))).toMatchObject([
      { action: 'security.payment_review' },
      { action: 'payments.review_resolved', detail: { outcome: 'complete', reason } },
    ]);
  });

  test('is rejected: it gives none', async () => {
    const { customer, purchase } = await inReview();
    expect(await decide('reviews', purchase.id, 'reject')).toMatchObject({ status: 303 });
    expect(await statusOf(customer, purchase)).toBe('failed');
    expect(await balanceOf(customer)).toMatchObject({ available: 0 });
  });

  test('is looked at again: the provider is asked, and what it cannot say is told', async () => {
    const { customer, purchase, chargeId } = await inReview();
    const reads = stage.shop.countReads(chargeId);
    expect(await decide('reviews', purchase.id, 'look')).toMatchObject({ status: 303 });
    expect(reads()).toBe(1);
    stage.shop.omise.fault({ api: 'server_error', method: 'GET', path: '/charges/*' });
    await visitor.get(at('reviews', purchase.id, 'look'));
    const reply = await fetch(`${stage.shop.farebox.internalUrl}${at('reviews', purchase.id, 'look')}`, {
      ...{ method: 'POST', redirect: 'manual' },
      headers: { cookie: visitor.cookie, 'sec-fetch-site': 'same-origin' },
      body: new URLSearchParams({ csrf: visitor.csrf(), reason }),
    });
    expect(reply.status).toBe(503);
    expect(await statusOf(customer, purchase)).toBe('review');
  });

  test('leaves a difference, which is closed once', async () => {
    const { purchase } = await inReview();
    const { data } = await stage.shop.operator.ok('GET', '/v1/admin/differences');
    const found = data.find(({ purchase_id }: Json) => purchase_id === purchase.id);
    const id = `${found.kind}~${found.reference}`;
    expect(await decide('differences', id, 'close')).toMatchObject({ status: 303 });
    expect((await visitor.submit(at('differences', id, 'close'), { reason })).status).toBe(409);
    expect(await isListed('differences', id)).toBe(false);
    expect((await visitor.get(at('differences', id))).text).toContain('dealt with');
    expect(await audited(found.reference)).toMatchObject([
      { action: 'payments.difference_resolved', detail: { reason } },
    ]);
  });
});

test('a failed delivery is sent again, under its id; not while its endpoint is switched off', async () => {
  const customer = await newCustomer(stage.shop.farebox);
  const url = 'https://hooks.example.com/secret-path?key=1';
  const endpoint = await customer.ok('POST', '/v1/webhook-endpoints', { body: { url, events: ['credits.*'] } });
  await stage.shop.operator.ok('POST', `/v1/admin/accounts/${customer.accountId}/grants`, {
    body: { credits: 5, reason: 'to be told of' },
  });
  const endpointId = fromWire('webhookEndpoint', endpoint.id);
  const [made] = await stage.shop.sql`
    insert into platform.webhook_deliveries (endpoint_id, event_seq, event_at, subject_id, state, attempt, finished_at)
    select ${endpointId}, seq, created_at, subject_id, 'failed', 20, now() from platform.events
    where account_id = ${fromWire('account', customer.accountId)} and type = 'credits.granted' returning id`;
  const id = toWire('webhookDelivery', made?.['id']);
  const list = (await visitor.get('/ops')).text;
  expect(list).toContain('hooks.example.com');
  expect(list, 'an address may carry secrets').not.toContain('secret-path');
  expect(await decide('deliveries', id, 'deliver')).toMatchObject(done('deliveries', id));
  expect(await stage.shop.sql`select state from platform.webhook_deliveries where id = ${made?.['id']}`).toEqual([
    { state: 'pending' },
  ]);
  await stage.shop
    .sql`update platform.webhook_deliveries set state = 'failed', finished_at = now() where id = ${made?.['id']}`;
  await customer.ok('PATCH', `/v1/webhook-endpoints/${endpoint.id}`, { body: { enabled: false } });
  expect((await visitor.get(at('deliveries', id))).text).toContain('its endpoint is switched off');
  expect((await visitor.submit(at('deliveries', id, 'deliver'), { reason })).status).toBe(409);
});

describe('what was typed by others', () => {
  const script = '<script>alert(1)</script>"\'>';

  test('is shown as text', async () => {
    const { customer, purchase } = await stage.buyer();
    const refund = (
      await customer.call('POST', '/v1/refunds', {
        ...{ key: randomUUID(), body: { subject: { type: 'purchase', id: purchase.id }, reason: script } },
      })
    ).body;
    const reference = `chrg_${randomUUID()}`;
    await stage.shop.sql`insert into payments.differences (kind, reference, detail)
      values ('paid_twice', ${reference}, ${stage.shop.sql.json({ amount: script, [script]: script })})`;
    const pages = [
      ...['/ops', at('refunds', refund.id), at('refunds', refund.id, 'approve')],
      ...[at('differences', `paid_twice~${reference}`), at('differences', `paid_twice~${reference}`, 'close')],
    ];
    for (const path of pages) {
      const { status, text } = await visitor.get(path);
      expect(status, path).toBe(200);
      expect(text, path).not.toContain('<script>alert');
      expect(text, path).toContain('&#60;script&#62;alert(1)');
    }
    await decide('refunds', refund.id, 'reject', { reason: script });
    expect((await visitor.get(at('refunds', refund.id))).text).not.toContain('<script>alert');
  });

  test('in an address leads nowhere', async () => {
    const ids = [
      'rfd_1',
      'x',
      '%00',
      '%F0%9F%92%A3',
      '..%2F..%2Fetc',
      '%3Cscript%3E',
      'a~b',
      "'%3B--",
      'x'.repeat(199),
    ];
    const panels = ['refunds', 'payouts', 'stuck', 'reviews', 'differences', 'deliveries', 'none', '__proto__', '%27'];
    for (const panel of panels) {
      for (const id of [...ids, toWire('refund', randomUUID()), toWire('purchase', randomUUID())]) {
        for (const path of [`/ops/${panel}/${id}`, `/ops/${panel}/${id}/approve`]) {
          const { status, text } = await visitor.get(path);
          expect([400, 404, 422], path).toContain(status);
          expect(text).not.toContain('<script>');
        }
        expect([400, 404, 422]).toContain((await visitor.submit(`/ops/${panel}/${id}/close`, { reason })).status);
      }
    }
  });
});

describe('the day’s picture', () => {
  const figureOf = (text: string, label: string) =>
    new RegExp(`<span class="soft">${label}</span><strong>([^<]+)</strong>`).exec(text)?.[1] ?? '';
  const number = (text: string) => Number(text.replace(/[^\d.]/g, ''));

  test('counts what was paid, credited and given back', async () => {
    const before = (await visitor.get('/ops')).text;
    const { customer, purchase } = await stage.buyer();
    const refund = await refundOf(customer, purchase, { amount: 200 });
    await decide('refunds', refund.id, 'approve');
    const after = (await visitor.get('/ops')).text;
    const grown = ['Paid', 'Credited', 'Spent', 'Refunded'].map(
      (label) => number(figureOf(after, label)) - number(figureOf(before, label)),
    );
    expect(grown).toEqual([500, 500, 0, 200]);
    expect(after).toMatch(/aria-label="Paid by hour: most in the last hour"/);
  });

  test('does not wait for a ledger that does not answer, and says so', async () => {
    const lock = await stage.shop.sql.reserve();
    await lock`begin`;
    await lock`lock table credits.transfers in access exclusive mode`;
    const { status, text } = await visitor.get('/ops');
    await lock`rollback`;
    lock.release();
    expect(status).toBe(200);
    expect(['Credited', 'Spent'].map((label) => figureOf(text, label))).toEqual(['not counted', 'not counted']);
    expect(figureOf(text, 'Paid')).toMatch(/^฿/);
  });
});
