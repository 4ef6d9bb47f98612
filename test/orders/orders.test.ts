import { createHash, randomUUID } from 'node:crypto';
import { verifyJWT } from 'did-jwt';
import { Resolver } from 'did-resolver';
import { getResolver } from 'key-did-resolver';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { hashContract } from '../../src/payments/orders/contract.ts';
import { clientOf, type Json, newCustomer, newMerchant } from '../harness/client.ts';
import { keyHolder } from '../harness/dids.ts';
import { faultsAtRest } from '../harness/whole-books.ts';
import { expire } from './rail-stage.ts';
import { newSession, type OrderStage, openOrderStage, ordersOf, SHOP, seen, standing } from './stage.ts';

let stage: OrderStage;
beforeAll(async () => {
  stage = await openOrderStage();
});
afterEach(async () => {
  expect(await faultsAtRest(stage.farebox.database.superuserUrl)).toEqual([]);
});
afterAll(() => stage.close());

const availableOf = async (customer: ReturnType<typeof clientOf>) =>
  (await customer.ok('GET', '/v1/credits/balance')).available;
describe('an order', () => {
  test('of the same name and proposal is the same, of another proposal or shop is refused', async () => {
    const order_id = `inv-${randomUUID()}`;
    const body = { order: { amount: 'CREDITS:7', summary: 'S', resource: 'r', order_id } };
    const make = (shop = stage.shop, more: Json = {}) =>
      shop.call('POST', '/private/orders', { body: { ...body, ...more } });
    const first = await make();
    expect(first).toMatchObject({ status: 200, body: { order_id, token: expect.stringMatching(/^[\w-]{22}$/) } });
    const others = await Promise.all(Array.from({ length: 5 }, () => make()));
    for (const other of others) expect(other.body).toEqual(first.body);
    const dearer = await make(stage.shop, { order: { ...body.order, amount: 'CREDITS:8' } });
    expect([dearer.status, dearer.body.code]).toEqual([409, 'order_exists']);
    const foreign = await make(await newMerchant(stage.farebox));
    expect([foreign.status, foreign.body.code]).toEqual([409, 'order_exists']);
  });

  test('is made by a shop, seen by that shop, and by no other', async () => {
    const customer = await newCustomer(stage.farebox);
    const body = { order: { amount: 'CREDITS:7', summary: 'S', resource: 'r' } };
    expect((await customer.call('POST', '/private/orders', { body })).body.code).toBe('forbidden');
    const order = await stage.order();
    const other = await newMerchant(stage.farebox);
    expect((await other.get(`/private/orders/${order.id}`)).status).toBe(404);
    const made = await stage.shop.ok('POST', '/v1/api-keys', {
      body: { name: 'shop', scopes: ['orders:write', 'read'] },
    });
    const byKey = clientOf(stage.farebox.url, { token: made.key });
    expect((await byKey.call('POST', '/private/orders', { body })).status).toBe(200);
    expect((await byKey.get(`/private/orders/${order.id}`)).status).toBe(200);
  });

  // K04
  test.each([
    ['fulfillment_url', 'https://evil.example/x'],
    ['fulfillment_url', 'javascript:alert(1)'],
    ['fulfillment_url', `${SHOP}@evil.example/`],
    ['fulfillment_url', '//evil.example/'],
    ['fulfillment_url', `${SHOP}\\@evil.example`],
    ['public_reorder_url', 'https://evil.example/x'],
  ])('leads to no other place, so that nobody is redirected away: %s %s', async (name, url) => {
    const body = { order: { amount: 'CREDITS:7', summary: 'S', resource: 'r', [name]: url } };
    const reply = await stage.shop.call('POST', '/private/orders', { body });
    expect([reply.status, reply.body.errors?.[0]]).toMatchObject([
      422,
      { pointer: `/order/${name}`, code: 'return_uri_refused' },
    ]);
  });

  test.each([
    [{ amount: 'CREDITS:0' }, '/order/amount'],
    [{ amount: 'THB:5' }, '/order/amount'],
    [{ amount: 5 }, '/order/amount'],
    [{ summary: '' }, '/order/summary'],
    [{ order_id: '../x' }, '/order/order_id'],
    [{ max_sessions: 11 }, '/order/max_sessions'],
    [{ pay_deadline: { t_s: 1 } }, '/order/pay_deadline'],
    [{ resource: undefined }, '/order/resource'],
    [{ price: 1 }, '/order/price'],
    [{ extra: { weight: 1.5 } }, '/order/extra/weight'],
    [{ extra: { 'a/b': [1, { c: 2 ** 53 }] } }, '/order/extra/a~1b/1/c'],
  ])('that makes no sense is refused with a pointer: %j', async (more, pointer) => {
    const body = { order: { amount: 'CREDITS:7', summary: 'S', resource: 'r', ...more } };
    const reply = await stage.shop.call('POST', '/private/orders', { body });
    expect([reply.status, reply.body.errors?.[0].pointer]).toEqual([422, pointer]);
  });
});

test('A13: without a claim token the name of an order is what nobody must guess', async () => {
  const make = (more: Json, create_token = false) =>
    stage.shop.call('POST', '/private/orders', {
      body: { order: { amount: 'CREDITS:7', summary: 'S', resource: 'r', ...more }, create_token },
    });
  const short = await make({ order_id: 'inv-2026-0017' });
  expect([short.status, short.body.errors?.[0].pointer]).toEqual([422, '/order/order_id']);
  expect((await make({ order_id: `inv-${randomUUID()}` })).body).not.toHaveProperty('token');
  const [one, other] = [(await make({})).body, (await make({})).body];
  expect(one.order_id).toMatch(/^ord_[\w-]{22}$/);
  expect(one.order_id.slice(0, 8), 'no time is in it').not.toBe(other.order_id.slice(0, 8));
  expect((await stage.wallet().claim({ id: one.order_id, token: undefined, sessionId: undefined })).status).toBe(200);
});

describe('a claim', () => {
  test('freezes what is agreed to; its hash and our signature can be checked without us', async () => {
    const order = await stage.order({ public_reorder_url: `${SHOP}/again`, extra: { isbn: '978' } });
    const wallet = stage.wallet();
    const { body } = await wallet.claim(order);
    expect(body.contract_terms).toMatchObject({
      ...{ order_id: order.id, amount: 'CREDITS:40', wallet: wallet.holder.did, extra: { isbn: '978' } },
      ...{ merchant: { account: stage.shop.accountId }, max_sessions: 1, refund_policy: 'revoke_on_any' },
    });
    expect(hashContract(body.contract_terms)).toBe(body.h_contract);
    const { issuer, payload } = await verifyJWT(body.sig, {
      resolver: new Resolver(getResolver()) as never,
      policies: { aud: false },
    });
    expect(payload).toMatchObject({ order_id: order.id, h_contract: body.h_contract });
    const known = await stage.anybody.ok('GET', '/.well-known/did.json');
    expect(known.alsoKnownAs).toContain(issuer);
    expect(await standing(stage, order)).toMatchObject({
      order_status: 'claimed',
      contract_terms: body.contract_terms,
    });
  });

  test('again by the same wallet and nonce is the same; by another nonce or wallet it is refused', async () => {
    const [order, wallet] = [await stage.order(), stage.wallet()];
    const nonce = 'n'.repeat(32);
    const first = await wallet.claim(order, { nonce });
    expect((await wallet.claim(order, { nonce })).body).toMatchObject({ h_contract: first.body.h_contract });
    for (const reply of [await wallet.claim(order), await stage.wallet().claim(order, { nonce })])
      expect([reply.status, reply.body.code]).toEqual([409, 'order_claimed']);
  });

  test('needs the token; a wrong one is as good as no order', async () => {
    const order = await stage.order();
    for (const token of [undefined, 'AAAAAAAAAAAAAAAAAAAAAA', `${order.token}x`, '']) {
      const reply = await stage.wallet().claim(order, { token });
      expect([reply.status, reply.body.code], token).toEqual([404, 'not_found']);
    }
  });

  // M09
  test('A15: by many wallets at once: one has it', async () => {
    const order = await stage.order();
    const replies = await Promise.all(Array.from({ length: 12 }, () => stage.wallet().claim(order)));
    expect(replies.map(({ status }) => status).toSorted()).toEqual([200, ...Array.from({ length: 11 }, () => 409)]);
  });

  test('is given up by its wallet only, and another wallet can take and pay it', async () => {
    const [order, wrong, right] = [await stage.order(), stage.wallet(), await stage.richWallet()];
    const { body } = await wrong.claim(order);
    expect((await right.unclaim(order, body.h_contract)).body.code, 'of another DID').toBe('did_auth_failed');
    expect((await wrong.unclaim(order, body.h_contract)).status).toBe(204);
    expect(await standing(stage, order)).toMatchObject({ order_status: 'unpaid' });
    const hash = await right.buy(order);
    expect(hash).not.toBe(body.h_contract);
    expect((await right.unclaim(order, hash)).status, 'paid').toBe(409);
    expect((await wrong.pay(order, body.h_contract, null)).status, 'the old contract').toBe(403);
  });

  test('given up and paid at the same moment is the one or the other', async () => {
    const wallet = await stage.richWallet(1_000);
    const outcomes = await Promise.all(
      Array.from({ length: 8 }, async () => {
        const order = await stage.order();
        const hash = (await wallet.claim(order)).body.h_contract;
        const [given, paid] = await Promise.all([wallet.unclaim(order, hash), wallet.pay(order, hash, null)]);
        const { order_status } = await standing(stage, order);
        return [given.status === 204, paid.status === 200, order_status];
      }),
    );
    for (const outcome of outcomes)
      expect([
        [true, false, 'unpaid'],
        [false, true, 'paid'],
      ]).toContainEqual(outcome);
    const paid = outcomes.filter(([, isPaid]) => isPaid).length;
    expect(await availableOf(wallet.customer)).toBe(1_000 - paid * 40);
  });

  test('comes too late after the end', async () => {
    const order = await stage.order();
    await expire(stage, order);
    const reply = await stage.wallet().claim(order);
    expect([reply.status, reply.body.code]).toEqual([410, 'order_expired']);
  });
});

describe('a payment with credits', () => {
  test('takes them once, however often and at the same time it is asked for', async () => {
    const wallet = await stage.richWallet(100);
    const order = await stage.order();
    const { body } = await wallet.claim(order);
    const session = newSession();
    const replies = await Promise.all(Array.from({ length: 8 }, () => wallet.pay(order, body.h_contract, session)));
    expect(replies.map(({ status }) => status)).toEqual(Array.from({ length: 8 }, () => 200));
    expect(new Set(replies.map(({ body: told }) => told.sig)).size, 'one receipt').toBe(1);
    expect(await availableOf(wallet.customer)).toBe(60);
    const { data } = await stage.shop.ok('GET', '/v1/events?type=payments.order_paid');
    expect(data.filter((event: Json) => event.data.order_id === order.id)).toHaveLength(1);
  });

  test('is refused when they do not suffice, and changes nothing', async () => {
    const wallet = await stage.richWallet(39);
    const order = await stage.order();
    const { body } = await wallet.claim(order);
    const reply = await wallet.pay(order, body.h_contract, null);
    expect(reply).toMatchObject({
      status: 402,
      body: { code: 'insufficient_credits', required: 40, available: 39, shortfall: 1 },
    });
    expect(await availableOf(wallet.customer)).toBe(39);
    expect(await standing(stage, order)).toMatchObject({ order_status: 'claimed' });
  });

  test('comes from whoever is logged in, when the wallet’s DID opens no account', async () => {
    const rich = await stage.richWallet(50);
    const [order, wallet] = [await stage.order(), stage.wallet()];
    const { body } = await wallet.claim(order);
    const nobody = await wallet.pay(order, body.h_contract, null);
    expect([nobody.status, nobody.body.code]).toEqual([401, 'unauthenticated']);
    const key = (
      await rich.customer.ok('POST', '/v1/api-keys', { body: { name: 'k', scopes: ['read', 'runs:write'] } })
    ).key;
    const byKey = await wallet.pay(order, body.h_contract, null, clientOf(stage.farebox.url, { token: key }));
    expect([byKey.status, byKey.body.code]).toEqual([403, 'insufficient_scope']);
    expect((await wallet.pay(order, body.h_contract, null, rich.customer)).status).toBe(200);
    expect(await availableOf(rich.customer)).toBe(10);
  });

  test('is not taken from an account that was disabled, though its DID still signs', async () => {
    const [wallet, order] = [await stage.richWallet(100), await stage.order()];
    const { body } = await wallet.claim(order);
    const told = { disabled: true, reason: 'abuse' };
    await stage.operator.ok('PATCH', `/v1/admin/accounts/${wallet.customer.accountId}`, { body: told });
    const reply = await wallet.pay(order, body.h_contract, null);
    expect([reply.status, reply.body.code]).toEqual([403, 'account_disabled']);
    expect(await standing(stage, order)).toMatchObject({ order_status: 'claimed' });
  });

  test('is not taken for what the session can read already: whoever starts over with another wallet pays once', async () => {
    const [session, fulfillment_url] = [newSession(), `${SHOP}/${randomUUID()}`];
    const [left, right] = [await stage.richWallet(), await stage.richWallet()];
    const first = await stage.order({ fulfillment_url }, { session_id: session });
    const hash = (await left.claim(first)).body.h_contract;
    const second = await stage.order({ fulfillment_url }, { session_id: session });
    const other = (await right.claim(second)).body.h_contract;
    expect((await left.pay(first, hash, session)).status).toBe(200);
    for (const rail of ['credits', 'omise']) {
      const reply = await right.pay(second, other, session, undefined, rail);
      expect([reply.status, reply.body.code, reply.body.already_paid_order_id]).toEqual([409, 'conflict', first.id]);
    }
    expect(await availableOf(right.customer)).toBe(100);
    expect((await right.pay(second, other, newSession())).status, 'for another browser it is not the same').toBe(200);
  });

  test('of two orders with the credits of one: one is paid', async () => {
    const wallet = await stage.richWallet(60);
    const both = [await stage.order(), await stage.order()];
    const hashes: string[] = [];
    for (const order of both) hashes.push((await wallet.claim(order)).body.h_contract);
    const replies = await Promise.all(both.map((order, n) => wallet.pay(order, hashes[n] ?? '', null)));
    expect(replies.map(({ status }) => status).toSorted()).toEqual([200, 402]);
    expect(await availableOf(wallet.customer)).toBe(20);
  });

  test('A16: comes too late after the end', async () => {
    const [order, wallet] = [await stage.order(), await stage.richWallet()];
    const { body } = await wallet.claim(order);
    await expire(stage, order);
    expect((await wallet.pay(order, body.h_contract, null)).body.code).toBe('order_expired');
    expect(await availableOf(wallet.customer)).toBe(100);
  });
});

describe('a session', () => {
  test('A10: that is proved takes the place of the one before', async () => {
    const [S1, S2] = [newSession(), newSession()];
    const [order, wallet] = [await stage.order({}, { session_id: S1 }), await stage.richWallet()];
    const hash = await wallet.buy(order, S1);
    await wallet.prove(order, hash, S2);
    expect(await standing(stage, order, S2)).toMatchObject({ order_status: 'paid' });
    expect(await standing(stage, order, S1)).toMatchObject({ order_status: 'claimed' });
    await wallet.prove(order, hash, S1);
    expect(await standing(stage, order, S1)).toMatchObject({ order_status: 'paid' });
    expect(await standing(stage, order, S2)).toMatchObject({ order_status: 'claimed' });
  });

  test('A10: has as many beside it as the shop allows, the newest ones', async () => {
    const all = Array.from({ length: 5 }, newSession);
    const [order, wallet] = [await stage.order({ max_sessions: 3 }), await stage.richWallet()];
    const hash = await wallet.buy(order, null);
    for (const session of all) await wallet.prove(order, hash, session);
    const states = [];
    for (const session of all) states.push((await standing(stage, order, session)).order_status);
    expect(states).toEqual(['claimed', 'claimed', 'paid', 'paid', 'paid']);
  });

  test('A10: is not moved about for ever: whoever lends it out is told to wait', async () => {
    const [order, wallet] = [await stage.order(), await stage.richWallet()];
    const hash = await wallet.buy(order, null);
    const statuses = [];
    for (let n = 0; n < 12; n += 1) statuses.push((await wallet.prove(order, hash, newSession())).status);
    expect(statuses).toEqual([...Array.from({ length: 10 }, () => 200), 429, 429]);
  });

  test('A10: is not lent to and fro between two browsers, either', async () => {
    const [order, wallet] = [await stage.order(), await stage.richWallet()];
    const hash = await wallet.buy(order, null);
    const [mine, yours] = [newSession(), newSession()];
    const statuses = [];
    for (let n = 0; n < 12; n += 1) statuses.push((await wallet.prove(order, hash, n % 2 ? mine : yours)).status);
    expect(statuses, 'the last one asks for what is open already').toEqual([
      ...Array.from({ length: 10 }, () => 200),
      ...[429, 200],
    ]);
  });

  test('is opened by no replayed proof, nor by another order’s: it takes the wallet that paid, and its answer to this very challenge', async () => {
    const [S1, S2] = [newSession(), newSession()];
    const [A, B] = [await stage.order(), await stage.order()];
    const [wallet, thief] = [await stage.richWallet(), stage.wallet()];
    const [hashA, hashB] = [await wallet.buy(A, null), await wallet.buy(B, null)];
    expect((await thief.prove(A, hashA, S1)).body.code, 'another DID').toBe('did_auth_failed');
    expect((await wallet.prove(A, hashB, S1)).status, 'the hash of another order').toBe(403);
    const path = `/orders/${A.id}`;
    const wish = { action: 'prove', h_contract: hashA, session_id: S1 };
    const asked = await stage.anybody.ok('POST', `${path}/challenges`, { body: wish });
    const answer = { challenge_id: asked.challenge_id, proof: await wallet.holder.prove(asked) };
    const send = (to: string, body: Json) => stage.anybody.call('POST', to, { body: { ...body, ...answer } });
    const told = { h_contract: hashA, session_id: S1 };
    expect((await send(`${path}/paid`, { ...told, session_id: S2 })).body.code, 'another session').toBe(
      'did_auth_failed',
    );
    expect((await send(`/orders/${B.id}/paid`, { ...told, h_contract: hashB })).body.code, 'another order').toBe(
      'did_auth_failed',
    );
    expect((await send(`${path}/pay`, { ...told, rail: 'credits' })).body.code, 'another deed').toBe('did_auth_failed');
    expect((await send(`${path}/paid`, told)).status).toBe(200);
    expect((await send(`${path}/paid`, told)).body.code, 'replayed').toBe('did_auth_failed');
    expect(await standing(stage, A, S2)).toMatchObject({ order_status: 'claimed' });
  });

  test('of an order that is not paid is told to pay first', async () => {
    const [order, wallet] = [await stage.order(), stage.wallet()];
    const { body } = await wallet.claim(order);
    expect((await wallet.prove(order, body.h_contract, newSession())).body.code).toBe('order_not_paid');
  });
});

describe('the check of a shop', () => {
  const check = (session_id: string, resource: string, more: Json = {}) =>
    stage.shop.ok('POST', '/private/entitlements/check', {
      body: {
        session_id,
        resource,
        order: { amount: 'CREDITS:40', summary: 'On paying once', fulfillment_url: `${SHOP}/${resource}` },
        ...more,
      },
    });

  // REQ O4 O6
  test('opens for a session that has proved it, and gives everybody else the order to pay', async () => {
    const [session, resource] = [newSession(), randomUUID()];
    const first = await check(session, resource);
    expect(first).toMatchObject({
      entitled: false,
      refunded: false,
      order_status_url: expect.stringContaining('token='),
    });
    expect(await check(session, resource), 'the same order again').toEqual(first);
    const wallet = await stage.richWallet();
    const token = new URL(first.order_status_url).searchParams.get('token') ?? undefined;
    const order = { id: first.order_id, token, sessionId: session };
    await wallet.buy(order, session);
    expect(await check(session, resource)).toMatchObject({ entitled: true, order_id: order.id, taler_pay_uri: null });
    expect(await check(newSession(), resource)).toMatchObject({ entitled: false });
  });

  test('A15: by two tabs at once is about one order', async () => {
    const [session, resource] = [newSession(), randomUUID()];
    const replies = await Promise.all(Array.from({ length: 8 }, () => check(session, resource)));
    expect(new Set(replies.map(({ order_id }) => order_id)).size).toBe(1);
  });

  // Pay for the cheap article, and put its order on the dear one.
  test('A5: a resource swap opens nothing: an order is for what was paid, whatever order is named', async () => {
    const [session, cheap, dear] = [newSession(), randomUUID(), randomUUID()];
    const { order_id, order_status_url } = await check(session, cheap);
    const token = new URL(order_status_url).searchParams.get('token') ?? undefined;
    await (await stage.richWallet()).buy({ id: order_id, token, sessionId: session }, session);
    const swapped = await check(session, dear, { order_id });
    expect(swapped).toMatchObject({ entitled: false });
    expect(swapped.order_id).not.toBe(order_id);
  });

  test('A3: leads back to the order that a wallet has taken, until it has ended; another session gets its own', async () => {
    const [session, resource] = [newSession(), randomUUID()];
    const first = await check(session, resource);
    const token = new URL(first.order_status_url).searchParams.get('token') ?? undefined;
    await stage.wallet().claim({ id: first.order_id, token, sessionId: session });
    expect((await check(session, resource)).order_id, 'while its wallet asks the reader').toBe(first.order_id);
    expect((await check(newSession(), resource)).order_id).not.toBe(first.order_id);
    await expire(stage, { id: first.order_id });
    expect((await check(session, resource)).order_id).not.toBe(first.order_id);
  });

  test('A11: what was bought before is of this shop, this address and this session, and was not given back', async () => {
    const [session, address] = [newSession(), `${SHOP}/${randomUUID()}`];
    const wallet = await stage.richWallet(1_000);
    const buy = async (by: Pick<OrderStage, 'order'>, fulfillment_url: string, bound = session) => {
      const order = await by.order({ fulfillment_url }, { session_id: bound });
      await wallet.buy(order, bound);
      return order;
    };
    await buy(ordersOf(await newMerchant(stage.farebox)), address);
    await buy(stage, `${address}/other`);
    await buy(stage, address, newSession());
    const fresh = await stage.order({ fulfillment_url: address }, { session_id: session });
    expect(await standing(stage, fresh, session), 'none of these').not.toHaveProperty('already_paid_order_id');
    const bought = await buy(stage, address);
    const again = await stage.order({ fulfillment_url: address }, { session_id: session });
    expect(await standing(stage, again, session)).toMatchObject({
      ...{ already_paid_order_id: bought.id, already_paid_fulfillment_url: address },
    });
    const body = { refund: 'CREDITS:1', reason: 'a misprint' };
    await stage.shop.ok('POST', `/private/orders/${bought.id}/refund`, { body });
    expect(await standing(stage, again, session)).not.toHaveProperty('already_paid_order_id');
  });
});

describe('waiting', () => {
  test('A14: a long poll ends as soon as the order is paid, and with 304 when nothing happens', async () => {
    const session = newSession();
    const [order, wallet] = [await stage.order({}, { session_id: session }), await stage.richWallet()];
    const { body } = await wallet.claim(order);
    const query = { h_contract: body.h_contract, session_id: session };
    const first = await seen(stage, order, query);
    const etag = first.headers.get('etag') ?? '';
    const none = await seen(stage, order, { ...query, timeout_ms: '300' }, { 'if-none-match': etag });
    expect(none.status).toBe(304);
    const waiting = seen(stage, order, { ...query, timeout_ms: '60000' }, { 'if-none-match': etag });
    await wallet.pay(order, body.h_contract, session);
    expect((await waiting).status).toBe(200);
  });

  test('at the order for which nothing is to be paid any more', async () => {
    const [S1, S2] = [newSession(), newSession()];
    const terms = { fulfillment_url: `${SHOP}/${randomUUID()}` };
    const wallet = await stage.richWallet();
    const A = await stage.order(terms, { session_id: S1 });
    const hash = await wallet.buy(A, S1);
    const B = await stage.order(terms, { session_id: S2 });
    const first = await seen(stage, B, { token: B.token, session_id: S2 });
    const etag = first.headers.get('etag') ?? '';
    const waiting = seen(stage, B, { token: B.token, session_id: S2, timeout_ms: '60000' }, { 'if-none-match': etag });
    await wallet.prove(A, hash, S2);
    const { body } = await waiting;
    expect(body).toMatchObject({ already_paid_order_id: A.id });
    const there = await fetch(body.order_status_url, { headers: { accept: 'text/html' }, redirect: 'manual' });
    expect([there.status, there.headers.get('location')]).toEqual([302, terms.fulfillment_url]);
  });

  test('two hundred at once: the payment of one wakes that one, and the others go on waiting', async () => {
    const made = await Promise.all(Array.from({ length: 200 }, () => stage.order()));
    const [lucky] = made;
    if (!lucky) throw new Error('no order');
    const wallet = await stage.richWallet();
    const { body } = await wallet.claim(lucky);
    const over = new AbortController();
    let ended = 0;
    const waiting = made.map(({ id, token }) =>
      fetch(`${stage.farebox.url}/orders/${id}?token=${token}&timeout_ms=60000`, {
        ...{ headers: { accept: 'application/json' }, signal: over.signal },
      }).then(
        () => {
          ended += 1;
        },
        () => {},
      ),
    );
    const session = newSession();
    const mine = seen(stage, lucky, { h_contract: body.h_contract, session_id: session, timeout_ms: '60000' });
    expect((await stage.anybody.get('/v1/packages')).status, 'others are served meanwhile').toBe(200);
    await wallet.pay(lucky, body.h_contract, session);
    expect((await mine).status).toBe(200);
    expect(ended, 'the link with the token leads elsewhere now').toBeLessThanOrEqual(1);
    over.abort();
    await Promise.all(waiting);
  });
});

test('what opens an order is kept by nobody: the token is made from its id, and the log holds neither it nor the hash', async () => {
  const order = await stage.order();
  const rows = await stage.root`select to_jsonb(o)::text as text from payments.orders o where order_id = ${order.id}`;
  expect(rows[0]?.['text']).not.toContain(order.token);
  expect(rows[0]?.['text']).not.toContain(
    createHash('sha256')
      .update(order.token ?? '')
      .digest('hex'),
  );
});

test('a wallet of every key type takes an order', async () => {
  for (const type of ['Ed25519', 'secp256k1', 'P-256'] as const) {
    const order = await stage.order();
    expect((await stage.wallet(keyHolder(type)).claim(order)).status, type).toBe(200);
  }
});
