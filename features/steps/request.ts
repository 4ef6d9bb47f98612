import { verifyJWT } from 'did-jwt';
import { Resolver } from 'did-resolver';
import { getResolver } from 'key-did-resolver';
import { Given, Then, When } from 'quickpickle';
import { expect } from 'vitest';
import { eventually, type Json } from '../../test/harness/client.ts';
import { signIn } from '../../test/harness/dids.ts';
import { dollars, type PaymentWorld } from './world.ts';

const statusIs = (status: string) => (request: Json) => request.status === status;

Then('the request is {string}', (world: PaymentWorld, status: string) =>
  world.seen(world.stage.merchant, statusIs(status)),
);
Then('both see that the request is {string}', async (world: PaymentWorld, status: string) => {
  await world.seen(world.payer.client, statusIs(status));
  await world.seen(world.stage.merchant, statusIs(status));
});
Then('the payer is shown that the request is {string}', ({ answer }: PaymentWorld, status: string) => {
  expect([answer?.status, answer?.body.status]).toEqual([200, status]);
});
Then('the payer sees the request in the own session', async (world: PaymentWorld) => {
  const { data } = await world.payer.client.ok('GET', '/v1/payment-requests?as=payer');
  expect(data.map(({ id }: Json) => id)).toEqual([world.request.id]);
});
Then('the page of the request shows {string}', async ({ request }: PaymentWorld, text: string) => {
  expect(await (await fetch(request.page_url)).text()).toContain(text);
});
Then('a stranger who has signed in does not find the request', async (world: PaymentWorld) => {
  const stranger = await signIn(world.stage.farebox, world.stranger());
  expect((await stranger.get(world.path)).status).toBe(404);
});
Then('whoever has proved nothing is denied the status', async (world: PaymentWorld) => {
  expect((await world.anybody().get(world.path)).status).toBe(401);
});
Then('nothing tells the payer yet where to pay', async (world: PaymentWorld) => {
  expect((await world.payer.client.ok('GET', world.path)).payment_uri).toBeNull();
});
Then('the payer reads that the transaction was {string}', async (world: PaymentWorld, outcome: string) => {
  await world.seen(world.payer.client, ({ transactions }) =>
    transactions.some((one: Json) => one.tx_hash === world.hash && one.outcome === outcome),
  );
});
Then('the payer is told that it is {string}', async (world: PaymentWorld, what: string) => {
  const type = `payments.payment_request_${what}`;
  await eventually(
    async () => (await world.payer.client.ok('GET', `/v1/events?type=${type}`)).data,
    (events) => JSON.stringify(events).includes(world.request.id),
  );
});
Then('the payer has {int} credits', async (world: PaymentWorld, credits: number) => {
  expect((await world.payer.client.ok('GET', '/v1/credits/balance')).available).toBe(credits);
});
Then('{int} dollars are still to be paid', async (world: PaymentWorld, amount: number) => {
  expect((await world.payer.client.ok('GET', world.path)).remaining).toBe(dollars(amount).toString());
});
Then('{int} dollars are an excess', async (world: PaymentWorld, amount: number) => {
  expect((await world.payer.client.ok('GET', world.path)).excess).toBe(dollars(amount).toString());
});

When('the time to pay is over', (world: PaymentWorld) => world.endNow());
Given('the chain wants {int} confirmations', (world: PaymentWorld, confirmations: number) =>
  world.moveTo(confirmations),
);
When('{int} more blocks are made', (world: PaymentWorld, blocks: number) => world.stage.chain.control.mine(blocks));

Then('both have the same receipt, signed by the published DID of the service', async (world: PaymentWorld) => {
  const receipt = await world.payer.client.ok('GET', `${world.path}/receipt`);
  expect(await world.stage.merchant.ok('GET', `${world.path}/receipt`)).toEqual(receipt);
  const { issuer, payload } = await verifyJWT(receipt.jws, { resolver: new Resolver(getResolver()) });
  expect([issuer, payload['sub']]).toEqual([receipt.issuer, world.payer.did]);
  expect(JSON.stringify(payload)).toContain(world.hash);
  const { body: document } = await world.anybody().get('/.well-known/did.json');
  expect(document.alsoKnownAs).toContain(issuer);
});
