import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from '../harness/client.ts';
import { keyHolder, keyTypes, signIn, walletHolder } from '../harness/dids.ts';
import { type Shop, shopOf } from '../payments/shop.ts';
import { accepted, available, ended, openStage, type Stage, workflowOf } from '../workflows/stage.ts';

let stage: Stage;
let shop: Shop;
beforeAll(async () => {
  stage = await openStage();
  shop = await shopOf(stage.farebox);
});
afterAll(async () => {
  await shop.stop();
  await stage.close();
});

const holders = [...keyTypes.map((type) => keyHolder(type)), walletHolder()];

// REQ E1.3, E2.1, E4.2
test.each(holders.map((holder) => [holder.did.slice(0, 12), holder] as const))(
  'an account that %s… opened buys credits, runs a workflow and makes API keys, like any other',
  async (_did, holder) => {
    const customer = await signIn(stage.farebox, holder);
    const purchase = await shop.buy(customer);
    shop.omise.pay(shop.chargeOf(purchase));
    await eventually(
      () => customer.ok('GET', `/v1/purchases/${purchase.id}`),
      ({ status }) => status === 'completed',
    );
    const workflow = await workflowOf(customer, await stage.offer('/echo', { credit_cost: 120 }));
    const run = await ended(customer, await accepted(customer, workflow));
    expect([run.state, await available(customer)]).toEqual(['succeeded', 380]);
    const { key } = await customer.ok('POST', '/v1/api-keys', { body: { name: 'k', scopes: ['read'] } });
    const again = await signIn(stage.farebox, holder);
    for (const token of [key, again.token])
      expect((await customer.ok('GET', '/v1/runs', { token })).data[0].id).toBe(run.id);
  },
);
