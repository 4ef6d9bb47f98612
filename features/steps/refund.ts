import { randomUUID } from 'node:crypto';
import { Given, Then, When } from 'quickpickle';
import { expect } from 'vitest';
import { newWallet, payDollars } from '../../test/harness/chain.ts';
import { eventually, type Json } from '../../test/harness/client.ts';
import { newPayer, submit } from '../../test/payments/request-stage.ts';
import { dollars, type PaymentWorld } from './world.ts';

Given('the payer has paid {int} dollars', async (world: PaymentWorld, amount: number) => {
  const { payer, request, stage } = world;
  await submit(payer, request, await payDollars(payer.wallet, stage.chain, dollars(amount)));
  await world.seen(payer.client, ({ status }) => status === 'completed');
});

const proofOf = async ({ payer, request }: PaymentWorld, by = payer): Promise<Json> => {
  const body = { payment_request_id: request.id };
  const asked = await payer.client.ok('POST', '/v1/refunds/challenges', { body });
  return { challenge_id: asked.challenge_id, answer: await by.prove(asked) };
};
const askBack = async (world: PaymentWorld, part: 'excess' | 'whole', more: Json): Promise<void> => {
  const subject = { type: 'payment_request', id: world.request.id, part };
  world.answer = await world.payer.client.post('/v1/refunds', { subject, reason: 'not needed', ...more });
  if (world.answer.status === 201) world.refund = world.answer.body;
};

When('the payer proves the DID and asks the excess back as credits', async (world: PaymentWorld) =>
  askBack(world, 'excess', { target: 'credits', proof: await proofOf(world) }),
);
When('the payer asks the excess back without a proof', (world: PaymentWorld) => askBack(world, 'excess', {}));
When('somebody else proves another DID and asks the excess back', async (world: PaymentWorld) =>
  askBack(world, 'excess', { proof: await proofOf(world, await newPayer(world.stage)) }),
);
When(
  'the payer proves the DID and asks {int} credits back to the wallet',
  async (world: PaymentWorld, amount: number) =>
    askBack(world, 'whole', { amount, target: 'original', proof: await proofOf(world) }),
);

const decide = ({ stage, refund }: PaymentWorld, what: string, body: Json) =>
  stage.operator.ok('POST', `/v1/admin/refunds/${refund.id}/${what}`, { key: randomUUID(), body });
When('an operator approves the refund', (world: PaymentWorld) => decide(world, 'approve', { reason: 'fair' }));
When('an operator rejects the refund', (world: PaymentWorld) => decide(world, 'reject', { reason: 'it was used' }));
When(
  'an operator pays {int} dollars to the wallet of the payer and says by which transaction',
  async (world: PaymentWorld, amount: number) => {
    const cold = await newWallet(world.stage.chain);
    const to = world.payer.wallet.account.address;
    const tx_hash = await payDollars(cold, world.stage.chain, dollars(amount), to);
    await decide(world, 'payouts', { type: 'transaction', tx_hash });
  },
);

Then('the refund is {string}', async (world: PaymentWorld, status: string) => {
  await eventually(
    async () => {
      await world.stage
        .root`update refunds.refunds set next_step_at = least(next_step_at, now()) where next_step_at is not null`;
      return world.payer.client.ok('GET', `/v1/refunds/${world.refund.id}`);
    },
    (now) => now.status === status,
  );
});
Then('the payer is told that the refund is {string}', async (world: PaymentWorld, what: string) => {
  await eventually(
    async () => (await world.payer.client.ok('GET', `/v1/events?type=refunds.refund_${what}`)).data,
    (events) => JSON.stringify(events).includes(world.refund.id),
  );
});
Then('the operator reads that the payout was {string}', async (world: PaymentWorld, reason: string) => {
  await eventually(
    () => world.stage.operator.ok('GET', `/v1/admin/refunds/${world.refund.id}`),
    ({ history }) => history.some(({ what, detail }: Json) => what === 'payout_refused' && detail.reason === reason),
  );
});
Then('the refund is refused with {string}', ({ answer }: PaymentWorld, code: string) => {
  expect(answer?.body.code).toBe(code);
});
Then('the refund is not accepted, because of {string}', ({ answer }: PaymentWorld, pointer: string) => {
  expect([answer?.status, answer?.body.errors?.[0].pointer]).toEqual([422, pointer]);
});
