import { createHmac, randomUUID } from 'node:crypto';
import postgres from 'postgres';
import { linkProof } from '../dvm/link-proof.ts';
import type { Json } from '../harness/client.ts';
import { clientOf, eventually, PASSWORD } from '../harness/client.ts';
import {
  bothProofs,
  challengeFor,
  keyHolder,
  link,
  linkWallet,
  walletChallenge,
  walletHolder,
} from '../harness/dids.ts';
import { omiseKeys } from '../harness/farebox.ts';
import { zap } from '../lightning/zaps.ts';
import { newVisitor, operatorAt } from '../ops/visitor.ts';
import { newWallet as newOrderWallet, ordersOf } from '../orders/stage.ts';
import { euro, modern } from '../payments/fee-structures.ts';
import type { Caller } from './matrix.ts';
import { logInAgain, type World } from './world.ts';

/** A good request of one route, made anew for each caller: what one has used up the next one needs again. */
export interface Asked {
  path: string;
  body?: Json;
  /** Sent as it is, with its own type. */
  form?: URLSearchParams;
  headers?: Record<string, string>;
  /** Instead of the caller's. */
  token?: string;
  /** The reply has no end: its head is all that is looked at. */
  endless?: true;
  /** The caller's log-in is over afterwards, or has another address. */
  endsLogin?: true;
}
type Ask = (world: World, who: { caller: Caller }) => Asked | Promise<Asked>;

const at = (path: string, body?: Json): Asked => (body === undefined ? { path } : { path, body });
const tokenOf = (url: string) => new URL(url).pathname.split('/')[2] ?? '';
const reason = 'because of the test';
const admin = (path: string) => `/v1/admin/${path}`;

const resetToken = async ({ operator, other, farebox }: World) => {
  const path = admin(`accounts/${other.accountId}/password-resets`);
  const { url } = await operator.ok('POST', path, { body: { reason } });
  return { token: tokenOf(url), again: () => logInAgain(farebox, other.email) };
};
const checkout = async (world: World, method?: Json) => {
  const purchase = await world.buy(world.owner, method);
  return { purchase, path: `/checkout/${tokenOf(purchase.status_url)}` };
};
/** A purchase by Lightning, with the path of its page. */
const invoiced = async (world: World) => {
  const path = admin(`packages/${world.pack.id}/lightning-price`);
  await world.operator.ok('PUT', path, { body: { amount_msat: '21000' } });
  const purchase = await world.buy(world.owner, { type: 'lightning' });
  return { path: `/lightning/${tokenOf(purchase.status_url)}` };
};
/** Orders of the operator's, who is a shop, too; taken and paid by the owner's wallet. */
const orders = async (world: World) => {
  await link(world.owner, walletOwner);
  const shop = clientOf(world.farebox.url, world.operator);
  const anybody = clientOf(world.farebox.url);
  return { ...ordersOf(shop), wallet: newOrderWallet(anybody, walletOwner) };
};
const claimedOrder = async (world: World) => {
  const { order, wallet } = await orders(world);
  const made = await order({ amount: 'CREDITS:1', fulfillment_url: undefined, resource: 'r' });
  const { body } = await wallet.claim(made);
  return { made, wallet, hash: body.h_contract as string };
};
const session = 'a-session-of-mine';
/** The last step of a deed; its answer is signed by the owner's wallet. */
const deed =
  (to: string, isPaid = false): Ask =>
  async (world) => {
    const { made, wallet, hash } = await claimedOrder(world);
    if (isPaid) await wallet.pay(made, hash, null);
    const rail = to === 'pay' ? { rail: 'credits' } : {};
    const told = { h_contract: hash, ...(to === 'unclaim' ? {} : { session_id: session }), ...rail };
    const action = to === 'paid' ? 'prove' : to;
    const answered = await wallet.answer(made, { action, ...told });
    return at(`/orders/${made.id}/${to}`, { ...told, ...answered });
  };

/** A form of the work list, seen by somebody who is logged in there, or has only come to the door. */
const atOps = async (
  { farebox, operator }: World,
  isIn: boolean,
): Promise<{ headers: Asked['headers']; csrf: string }> => {
  const { visitor } = isIn ? await operatorAt(farebox, operator) : { visitor: newVisitor(farebox) };
  if (!isIn) await visitor.get('/ops/login');
  return { headers: { cookie: visitor.cookie }, csrf: visitor.csrf() };
};
const openDifference = async ({ farebox }: World): Promise<string> => {
  const root = postgres(farebox.database.superuserUrl, { max: 1 });
  const reference = `chrg_test_${randomUUID()}`;
  await root`insert into payments.differences (kind, reference) values ('paid_twice', ${reference})`;
  await root.end();
  return `/ops/differences/paid_twice~${reference}`;
};
const inOps =
  (pathOf: (world: World) => Promise<string>, form?: Record<string, string>): Ask =>
  async (world, { caller }) => {
    const { headers, csrf } = await atOps(world, caller === 'owner');
    return {
      ...{ path: await pathOf(world), headers: headers ?? {} },
      ...(form ? { form: new URLSearchParams({ ...form, csrf }) } : {}),
    };
  };
const report =
  (what: string, body: Json): Ask =>
  async (world, { caller }) => {
    const { run, callback } = await world.startRun();
    return { ...at(`/v1/executor/runs/${run.id}/${what}`, body), ...(caller === 'owner' ? { token: callback } : {}) };
  };
const event = (): string =>
  JSON.stringify({
    ...{ object: 'event', key: 'customer.update', livemode: false, data: { object: 'customer' } },
    id: `evnt_test_${randomUUID().replaceAll('-', '')}`,
  });

/** One DID of the owner's, for all that is asked about wallets and payment requests. */
const walletOwner = keyHolder();
const askedOfOwner = ({ coin }: World): Json => ({
  ...{ payer: walletOwner.did, asset: coin, amount: '1', description: 'D' },
  purpose: { type: 'invoice', reference: 'INV-1' },
});
const newRequest = async (world: World): Promise<Json> => {
  await link(world.owner, walletOwner);
  const merchant = clientOf(world.farebox.url, world.operator);
  return merchant.ok('POST', '/v1/payment-requests', { body: askedOfOwner(world) });
};
/** With the owner's answer to a challenge about it. */
const answered = async (world: World, purpose = 'payment') => {
  const request = await newRequest(world);
  const path = `/v1/payment-requests/${request.id}`;
  const asked = await world.owner.ok('POST', `${path}/challenges`, { body: { purpose } });
  return { path, body: { challenge_id: asked.challenge_id, proof: await walletOwner.prove(asked) } };
};
const agreed = async (world: World): Promise<string> => {
  const { path, body } = await answered(world);
  await world.owner.ok('POST', `${path}/authorizations`, { body });
  return path;
};
/** A run that the owner has cancelled after it began: its credits go back when they are asked for. */
const refundable = async (world: World): Promise<Json> => {
  const { run } = await world.startRun();
  await world.owner.ok('POST', `/v1/runs/${run.id}/cancel`);
  return { subject: { type: 'run', id: run.id }, reason };
};
const paidAsk = async ({ owner, workflow }: World): Promise<string> => {
  const body = { payment: 'upfront' };
  const { run } = await owner.ok('POST', `/v1/workflows/${workflow.id}/runs`, { body });
  return run.payment.ask_id;
};
const refunded = async (world: World): Promise<string> =>
  (await world.owner.ok('POST', '/v1/refunds', { body: await refundable(world) })).id;
const webhook = { url: 'https://hooks.example.com/', events: ['platform.*'] };

/** The former ones go: an account has but a few. */
const newEndpoint = async ({ owner }: World): Promise<Json> => {
  const { data } = await owner.ok('GET', '/v1/webhook-endpoints?limit=100');
  const former = data.filter(({ url }: Json) => url === webhook.url);
  await Promise.all(former.map(({ id }: Json) => owner.call('DELETE', `/v1/webhook-endpoints/${id}`)));
  return owner.ok('POST', '/v1/webhook-endpoints', { body: webhook });
};
const onEndpoint =
  (more: string, body?: Json): Ask =>
  async (world) =>
    at(`/v1/webhook-endpoints/${(await newEndpoint(world)).id}${more}`, body);
/** A delivery that is over. */
const delivered = async ({ owner, receiver, give }: World): Promise<Asked> => {
  const { data } = await owner.ok('GET', '/v1/webhook-endpoints?limit=100');
  const body = { url: receiver.url, events: ['credits.*'] };
  const { id } =
    data.find(({ url }: Json) => url === body.url) ?? (await owner.ok('POST', '/v1/webhook-endpoints', { body }));
  const path = `/v1/webhook-endpoints/${id}/deliveries`;
  if ((await owner.ok('GET', path)).data.length === 0) await give(owner, 1);
  const [delivery] = await eventually(
    async () => (await owner.ok('GET', path)).data,
    ([newest]) => newest?.state === 'delivered',
  );
  return at(`${path}/${delivery.id}`);
};

export const requests: Record<string, Ask> = {
  'POST /v1/auth/register': () => at('/v1/auth/register', { email: `${randomUUID()}@example.com`, password: PASSWORD }),
  'POST /v1/auth/login': ({ owner }) => at('/v1/auth/login', { email: owner.email, password: PASSWORD }),
  'POST /v1/auth/refresh': async ({ farebox, owner }) =>
    at('/v1/auth/refresh', { refresh_token: (await logInAgain(farebox, owner.email)).refresh_token }),
  'POST /v1/auth/password-reset': async (world) => ({
    ...at('/v1/auth/password-reset', { token: (await resetToken(world)).token, new_password: PASSWORD }),
    endsLogin: true,
  }),
  'POST /v1/auth/logout': () => ({ path: '/v1/auth/logout', endsLogin: true }),
  'GET /v1/me': () => at('/v1/me'),
  'PATCH /v1/me': () => ({
    ...at('/v1/me', { email: `${randomUUID()}@example.com`, current_password: PASSWORD }),
    endsLogin: true,
  }),
  'POST /v1/me/password': () => ({
    ...at('/v1/me/password', { current_password: PASSWORD, new_password: PASSWORD }),
    endsLogin: true,
  }),
  'GET /v1/api-keys': () => at('/v1/api-keys'),
  'POST /v1/api-keys': () => at('/v1/api-keys', { name: 'k', scopes: ['read'] }),
  'DELETE /v1/api-keys/:id': async ({ owner }) => {
    const { id } = await owner.ok('POST', '/v1/api-keys', { body: { name: 'k', scopes: ['read'] } });
    return at(`/v1/api-keys/${id}`);
  },
  'POST /v1/auth/did/challenges': () => at('/v1/auth/did/challenges', { did: keyHolder().did, purpose: 'login' }),
  'POST /v1/auth/did/tokens': async ({ farebox }) => {
    const holder = keyHolder();
    const challenge = await challengeFor(clientOf(farebox.url), holder.did);
    const body = { challenge_id: challenge.challenge_id, proof: await holder.prove(challenge) };
    return at('/v1/auth/did/tokens', body);
  },
  'GET /v1/me/dids': () => at('/v1/me/dids'),
  'POST /v1/me/dids': async ({ owner }) => {
    const holder = keyHolder();
    const challenge = await challengeFor(owner, holder.did, { purpose: 'link' });
    return at('/v1/me/dids', { challenge_id: challenge.challenge_id, proof: await holder.prove(challenge) });
  },
  'DELETE /v1/me/dids/:id': async ({ owner }) => ({
    ...at(`/v1/me/dids/${(await link(owner, keyHolder())).id}`),
    endsLogin: true,
  }),
  'GET /v1/wallets': () => at('/v1/wallets'),
  'POST /v1/wallets': async ({ owner }) => {
    await link(owner, walletOwner);
    const wallet = walletHolder();
    return at('/v1/wallets', await bothProofs(await walletChallenge(owner, walletOwner, wallet), walletOwner, wallet));
  },
  'DELETE /v1/wallets/:id': async ({ owner }) => {
    await link(owner, walletOwner);
    return at(`/v1/wallets/${(await linkWallet(owner, walletOwner, walletHolder())).id}`);
  },
  'GET /v1/credits/balance': () => at('/v1/credits/balance'),
  'GET /v1/credits/transfers': () => at('/v1/credits/transfers'),
  'GET /v1/packages': () => at('/v1/packages'),
  'GET /v1/packages/:id': ({ pack }) => at(`/v1/packages/${pack.id}`),
  'POST /v1/purchases': ({ pack }) => at('/v1/purchases', { package_id: pack.id, method: { type: 'promptpay' } }),
  'GET /v1/purchases': () => at('/v1/purchases'),
  'GET /v1/purchases/:id': async (world) => at(`/v1/purchases/${(await world.buy(world.owner)).id}`),
  'GET /v1/purchases/:id/qr': async (world) => at(`/v1/purchases/${(await world.buy(world.owner)).id}/qr`),
  'POST /v1/purchases/:id/cancel': async (world) => at(`/v1/purchases/${(await world.buy(world.owner)).id}/cancel`),
  'POST /v1/payment-requests': (world) => at('/v1/payment-requests', askedOfOwner(world)),
  'GET /v1/payment-requests': () => at('/v1/payment-requests'),
  'GET /v1/payment-requests/:id': async (world) => at(await agreed(world)),
  'POST /v1/payment-requests/:id/cancel': async (world) => at(`${await agreed(world)}/cancel`),
  'POST /v1/payment-requests/:id/challenges': async (world) =>
    at(`/v1/payment-requests/${(await newRequest(world)).id}/challenges`),
  'POST /v1/payment-requests/:id/authorizations': async (world) => {
    const { path, body } = await answered(world);
    return at(`${path}/authorizations`, body);
  },
  'POST /v1/payment-requests/:id/status': async (world) => {
    const { path, body } = await answered(world, 'status');
    return at(`${path}/status`, body);
  },
  'GET /v1/payment-requests/:id/receipt': async (world) => at(`${await agreed(world)}/receipt`),
  'POST /v1/payment-requests/:id/transactions': async (world) =>
    at(`${await agreed(world)}/transactions`, { tx_hash: `0x${randomUUID().replaceAll('-', '').repeat(2)}` }),
  'GET /pay/:token': async (world) => at(new URL((await newRequest(world)).page_url).pathname),
  'GET /pay/:token/events': async (world) => {
    const request = await newRequest(world);
    await clientOf(world.farebox.url, world.operator).ok('POST', `/v1/payment-requests/${request.id}/cancel`);
    return at(`${new URL(request.page_url).pathname}/events`);
  },
  'POST /v1/fee-structures/evaluate': () => at('/v1/fee-structures/evaluate', { keys: modern(euro) }),
  'POST /v1/receipts/verify': () => at('/v1/receipts/verify', { receipt: {} }),
  'POST /v1/receipts': () => at('/v1/receipts', { receipt: zap() }),
  'POST /v1/nostr/keys': ({ farebox, ...world }, { caller }) =>
    at('/v1/nostr/keys', { proof: linkProof(farebox.url, (world[caller as 'owner'] ?? world.owner).accountId) }),
  'POST /v1/quotes': ({ pack }) => at('/v1/quotes', { payment: { type: 'package', package_id: pack.id } }),
  'POST /v1/refunds': async (world) => at('/v1/refunds', await refundable(world)),
  'GET /v1/refunds': () => at('/v1/refunds'),
  'GET /v1/refunds/:id': async (world) => at(`/v1/refunds/${await refunded(world)}`),
  'POST /v1/refunds/challenges': async (world) => {
    const id = (await agreed(world)).split('/').at(-1);
    return at('/v1/refunds/challenges', { payment_request_id: id });
  },
  'GET /v1/services': () => at('/v1/services'),
  'GET /v1/services/:id': ({ service }) => at(`/v1/services/${service.id}`),
  'POST /v1/workflows': ({ service }) => at('/v1/workflows', { service_id: service.id, name: 'W' }),
  'GET /v1/workflows': () => at('/v1/workflows'),
  'GET /v1/workflows/:id': ({ workflow }) => at(`/v1/workflows/${workflow.id}`),
  'PATCH /v1/workflows/:id': ({ workflow }) => at(`/v1/workflows/${workflow.id}`, { name: 'renamed' }),
  'DELETE /v1/workflows/:id': async ({ owner, service }) => {
    const { id } = await owner.ok('POST', '/v1/workflows', { body: { service_id: service.id, name: 'short-lived' } });
    return at(`/v1/workflows/${id}`);
  },
  'POST /v1/workflows/:id/runs': ({ workflow }) => at(`/v1/workflows/${workflow.id}/runs`, {}),
  'GET /v1/runs': () => at('/v1/runs'),
  'GET /v1/runs/:id': async (world) => at(`/v1/runs/${(await world.startRun()).run.id}`),
  'POST /v1/runs/:id/cancel': async (world) => at(`/v1/runs/${(await world.startRun()).run.id}/cancel`),
  'GET /v1/runs/:id/parts': async (world) => at(`/v1/runs/${(await world.startRun()).run.id}/parts`),
  'GET /v1/runs/:id/parts/:number': async (world) => {
    const { run, callback } = await world.startRun();
    const body = { part: 1, content: 'x' };
    await world.owner.ok('POST', `/v1/executor/runs/${run.id}/parts`, { body, token: callback });
    return at(`/v1/runs/${run.id}/parts/1`);
  },
  'GET /v1/asks': () => at('/v1/asks'),
  'GET /v1/asks/:id': async (world) => at(`/v1/asks/${await paidAsk(world)}`),
  'POST /v1/asks/:id/pay': async (world) => at(`/v1/asks/${await paidAsk(world)}/pay`, { rail: 'credits' }),
  'GET /v1/runs/:id/events': async (world) => {
    const { run } = await world.startRun();
    await world.owner.ok('POST', `/v1/runs/${run.id}/cancel`); // so that the stream ends
    return at(`/v1/runs/${run.id}/events`);
  },
  'GET /v1/events': () => at('/v1/events'),
  'GET /v1/events/stream': () => ({ path: '/v1/events/stream', endless: true }),
  'POST /v1/webhook-endpoints': () => at('/v1/webhook-endpoints', webhook),
  'GET /v1/webhook-endpoints': () => at('/v1/webhook-endpoints'),
  'GET /v1/webhook-endpoints/:id': onEndpoint(''),
  'PATCH /v1/webhook-endpoints/:id': onEndpoint('', { description: 'renamed' }),
  'DELETE /v1/webhook-endpoints/:id': onEndpoint(''),
  'POST /v1/webhook-endpoints/:id/signing-secrets': onEndpoint('/signing-secrets'),
  'GET /v1/webhook-endpoints/:id/deliveries': onEndpoint('/deliveries'),
  'GET /v1/webhook-endpoints/:id/deliveries/:delivery_id': (world) => delivered(world),
  'POST /v1/webhook-endpoints/:id/deliveries/:delivery_id/redeliver': async (world) =>
    at(`${(await delivered(world)).path}/redeliver`),
  'POST /private/orders': () => at('/private/orders', { order: { amount: 'CREDITS:1', summary: 'S', resource: 'r' } }),
  'GET /private/orders/:id': async (world) => at(`/private/orders/${(await claimedOrder(world)).made.id}`),
  'POST /private/entitlements/check': () =>
    at('/private/entitlements/check', {
      ...{ session_id: session, resource: `r-${randomUUID()}` },
      order: { amount: 'CREDITS:1', summary: 'S' },
    }),
  'POST /private/orders/:id/refund': async (world) => {
    const { made, wallet, hash } = await claimedOrder(world);
    await wallet.pay(made, hash, null);
    return at(`/private/orders/${made.id}/refund`, { refund: 'CREDITS:1', reason });
  },
  'POST /orders/:id/refund': async (world) => {
    const { made, hash } = await claimedOrder(world);
    return at(`/orders/${made.id}/refund`, { h_contract: hash });
  },
  'GET /orders/:id': async (world) => {
    const { made } = await claimedOrder(world);
    return at(`/orders/${made.id}?token=${made.token}`);
  },
  'POST /orders/:id/challenges': async (world) => {
    const { made, hash } = await claimedOrder(world);
    return at(`/orders/${made.id}/challenges`, { action: 'pay', h_contract: hash, session_id: null, rail: 'credits' });
  },
  'POST /orders/:id/claim': async (world) => {
    const { order, wallet } = await orders(world);
    const made = await order({ amount: 'CREDITS:1', fulfillment_url: undefined, resource: 'r' });
    const told = { did: walletOwner.did, nonce: 'n'.repeat(32), token: made.token };
    return at(`/orders/${made.id}/claim`, { ...told, ...(await wallet.answer(made, { action: 'claim', ...told })) });
  },
  'POST /orders/:id/unclaim': deed('unclaim'),
  'POST /orders/:id/pay': deed('pay'),
  'POST /orders/:id/paid': deed('paid', true),
  'POST /v1/webhooks/omise': (_world, { caller }) => {
    const body = event();
    const timestamp = String(Math.floor(Date.now() / 1000));
    const secret = Buffer.from(omiseKeys.webhookSecret, 'base64');
    const signature = createHmac('sha256', secret).update(`${timestamp}.${body}`).digest('hex');
    const headers = { 'omise-signature': signature, 'omise-signature-timestamp': timestamp };
    return { ...at('/v1/webhooks/omise', JSON.parse(body)), ...(caller === 'owner' ? { headers } : {}) };
  },
  'POST /v1/executor/runs/:id/progress': report('progress', { percent: 10 }),
  'POST /v1/executor/runs/:id/parts': report('parts', { part: 1, content: 'x' }),
  'POST /v1/executor/runs/:id/complete': report('complete', { output: null }),
  'POST /v1/executor/runs/:id/fail': report('fail', { code: 'no_luck' }),
  'GET /reset-password/:token': async (world) => at(`/reset-password/${(await resetToken(world)).token}`),
  'POST /reset-password/:token': async (world) => ({
    path: `/reset-password/${(await resetToken(world)).token}`,
    form: new URLSearchParams({ new_password: PASSWORD }),
    endsLogin: true,
  }),
  'GET /ops/login': () => at('/ops/login'),
  'POST /ops/login': async (world) => {
    const { headers, csrf } = await atOps(world, false);
    const form = new URLSearchParams({ csrf, email: world.operator.email, password: PASSWORD });
    return { path: '/ops/login', headers: headers ?? {}, form };
  },
  'POST /ops/logout': inOps(async () => '/ops/logout', {}),
  'GET /ops': inOps(async () => '/ops'),
  'GET /ops/:panel/:id': inOps(async (world) => `/ops/refunds/${await refunded(world)}`),
  'GET /ops/:panel/:id/:action': inOps(async (world) => `${await openDifference(world)}/close`),
  'POST /ops/:panel/:id/:action': inOps(async (world) => `${await openDifference(world)}/close`, { reason }),
  'GET /lightning/:token': async (world) => at((await invoiced(world)).path),
  'GET /lightning/:token/events': async (world) => ({ path: `${(await invoiced(world)).path}/events`, endless: true }),
  'GET /checkout/:token': async (world) => at((await checkout(world)).path),
  'GET /checkout/:token/qr': async (world) => at(`${(await checkout(world)).path}/qr`),
  'GET /checkout/:token/events': async (world) => {
    const { purchase, path } = await checkout(world);
    await world.owner.ok('POST', `/v1/purchases/${purchase.id}/cancel`);
    return at(`${path}/events`);
  },
  'POST /checkout/:token/pay': async (world) => ({
    path: `${(await checkout(world, { type: 'payment_link' })).path}/pay`,
    form: new URLSearchParams({ method: 'promptpay' }),
  }),
  'GET /checkout/:token/return': async (world) => at(`${(await checkout(world)).path}/return`),
  ...Object.fromEntries(
    [
      '/.well-known/jwks.json',
      '/.well-known/did.json',
      '/openapi.json',
      '/docs/errors',
      '/docs',
      '/docs/',
      '/docs/js/scalar.js',
      '/livez',
      '/readyz',
      '/metrics',
    ].map((path) => [`GET ${path}`, () => at(path)]),
  ),

  'GET /v1/admin/accounts': () => at(admin('accounts')),
  'GET /v1/admin/accounts/:id': ({ owner }) => at(admin(`accounts/${owner.accountId}`)),
  'PATCH /v1/admin/accounts/:id': async ({ farebox }) => {
    const body = { email: `${randomUUID()}@example.com`, password: PASSWORD };
    const reply = await fetch(`${farebox.url}/v1/auth/register`, {
      ...{ method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) },
    });
    const { id } = (await reply.json()) as Json;
    return at(admin(`accounts/${id}`), { role: 'merchant', reason });
  },
  'POST /v1/admin/accounts/:id/password-resets': ({ owner }) =>
    at(admin(`accounts/${owner.accountId}/password-resets`), { reason }),
  'POST /v1/admin/accounts/:id/grants': ({ owner }) =>
    at(admin(`accounts/${owner.accountId}/grants`), { credits: 1, reason }),
  'POST /v1/admin/accounts/:id/adjustments': ({ owner }) =>
    at(admin(`accounts/${owner.accountId}/adjustments`), { credits: -1, reason }),
  'GET /v1/admin/accounts/:id/balance': ({ owner }) => at(admin(`accounts/${owner.accountId}/balance`)),
  'POST /v1/admin/packages': () => at(admin('packages'), { name: 'P', credits: 1, price: 5_000 }),
  'GET /v1/admin/packages': () => at(admin('packages')),
  'GET /v1/admin/packages/:id': ({ pack }) => at(admin(`packages/${pack.id}`)),
  'PATCH /v1/admin/packages/:id': ({ pack }) => at(admin(`packages/${pack.id}`), { description: 'more of it' }),
  'PUT /v1/admin/packages/:id/crypto-prices': ({ pack, coin }) =>
    at(admin(`packages/${pack.id}/crypto-prices`), { prices: [{ asset: coin, amount: '1' }] }),
  'PUT /v1/admin/packages/:id/lightning-price': ({ pack }) =>
    at(admin(`packages/${pack.id}/lightning-price`), { amount_msat: '21000' }),
  'GET /v1/admin/payment-requests': () => at(admin('payment-requests')),
  'GET /v1/admin/payment-requests/:id': async (world) => at(admin(`payment-requests/${(await newRequest(world)).id}`)),
  'GET /v1/admin/purchases': () => at(admin('purchases')),
  'GET /v1/admin/purchases/:id': async (world) => at(admin(`purchases/${(await world.buy(world.owner)).id}`)),
  'POST /v1/admin/purchases/:id/converge': async (world) =>
    at(admin(`purchases/${(await world.buy(world.owner)).id}/converge`)),
  'POST /v1/admin/purchases/:id/resolve': async (world) =>
    at(admin(`purchases/${(await world.buy(world.owner)).id}/resolve`), { outcome: 'reject', reason }),
  'POST /v1/admin/reconcile': () => at(admin('reconcile'), { days: 1 }),
  'GET /v1/admin/differences': () => at(admin('differences')),
  'POST /v1/admin/differences/resolve': () => at(admin('differences/resolve'), { kind: 'x', reference: 'y', reason }),
  'POST /v1/admin/services': ({ executor }) =>
    at(admin('services'), { name: 'S', credit_cost: 1, executor: { endpoint: `${executor.url}/echo` } }),
  'GET /v1/admin/services': () => at(admin('services')),
  'GET /v1/admin/services/:id': ({ service }) => at(admin(`services/${service.id}`)),
  'PATCH /v1/admin/services/:id': ({ service }) => at(admin(`services/${service.id}`), { description: 'better' }),
  'POST /v1/admin/services/:id/signing-secrets': async ({ operator, executor }) => {
    const { id } = await operator.ok('POST', admin('services'), {
      body: { name: 'S', credit_cost: 1, executor: { endpoint: `${executor.url}/echo` } },
    });
    return at(admin(`services/${id}/signing-secrets`));
  },
  'POST /v1/admin/services/:id/reprice-workflows': ({ service }) =>
    at(admin(`services/${service.id}/reprice-workflows`), { reason }),
  'GET /v1/admin/audit': () => at(admin('audit')),
  'POST /v1/admin/audit': () => at(admin('audit')),
  'POST /v1/admin/audit/clear': () => at(admin('audit/clear'), { reason }),
  'GET /v1/admin/refunds': () => at(admin('refunds')),
  'GET /v1/admin/refunds/:id': async (world) => at(admin(`refunds/${await refunded(world)}`)),
  'POST /v1/admin/refunds/:id/approve': async (world) =>
    at(admin(`refunds/${await refunded(world)}/approve`), { reason }),
  'POST /v1/admin/refunds/:id/reject': async (world) =>
    at(admin(`refunds/${await refunded(world)}/reject`), { reason }),
  'POST /v1/admin/refunds/:id/payouts': async (world) =>
    at(admin(`refunds/${await refunded(world)}/payouts`), { type: 'bank_transfer', reference: randomUUID() }),
  'GET /v1/admin/runs/:id': async (world) => at(admin(`runs/${(await world.startRun()).run.id}`)),
};
