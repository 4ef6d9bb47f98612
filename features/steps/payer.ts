import { Given, Then, When } from 'quickpickle';
import { expect } from 'vitest';
import { newWallet, payDollars } from '../../test/harness/chain.ts';
import type { KeyType } from '../../test/harness/dids.ts';
import { agree, newPayer, submit } from '../../test/payments/request-stage.ts';
import { dollars, type PaymentWorld } from './world.ts';

Given(/^a payer who has signed in with (.+)$/, (world: PaymentWorld, identity: string) =>
  world.enter(identity === 'a wallet' ? 'pkh' : (identity as KeyType)),
);

const challengeTo = async (world: PaymentWorld, purpose: 'payment' | 'status') => {
  world.challenge = await world.anybody().ok('POST', `${world.path}/challenges`, { body: { purpose } });
};
When('the payer asks for a challenge to pay', (world: PaymentWorld) => challengeTo(world, 'payment'));
When('the payer asks for a challenge to see the status', (world: PaymentWorld) => challengeTo(world, 'status'));

const isStatus = ({ challenge }: PaymentWorld) => JSON.stringify(challenge).includes('Show the payment request');
const answer = async (world: PaymentWorld, proof: unknown, to = isStatus(world) ? 'status' : 'authorizations') => {
  const body = { challenge_id: world.challenge.challenge_id, proof };
  world.answer = await world.anybody().post(`${world.path}/${to}`, body);
};
When('the payer signs the challenge', async (world: PaymentWorld) =>
  answer(world, await world.payer.prove(world.challenge)),
);
When('the payer answers it as if it were the challenge to pay', async (world: PaymentWorld) =>
  answer(world, await world.payer.prove(world.challenge), 'authorizations'),
);
/** Of the right form, by the wrong wallet. */
const forged = async (world: PaymentWorld) => {
  const wallet = await newWallet(world.stage.chain);
  const message = String(world.challenge.siwe_message);
  return { type: 'siwe', signature: await wallet.signMessage({ account: wallet.account, message }) };
};
When('somebody else signs it', async (world: PaymentWorld) => answer(world, await forged(world)));
When('somebody else signs the challenge of the payer', async (world: PaymentWorld) => {
  await challengeTo(world, 'payment');
  await answer(world, await forged(world));
});
When('somebody else signs the challenge of the payer {int} times', async (world: PaymentWorld, times: number) => {
  await challengeTo(world, 'payment');
  for (let n = 0; n < times; n += 1) await answer(world, await forged(world));
});
When(/^the payer (?:agrees|has agreed)$/, (world: PaymentWorld) => agree(world.stage, world.payer, world.request));

Then('the challenge holds the terms and says {string}', ({ challenge, request }: PaymentWorld, sentence: string) => {
  const text = JSON.stringify(challenge.siwe_message ?? challenge.jwt_claims);
  expect(text).toContain(request.terms_hash);
  expect(text).toContain(sentence);
});
Then('the proof is refused', ({ answer: last }: PaymentWorld) => {
  expect([last?.status, last?.body.code]).toEqual([401, 'did_auth_failed']);
});
Then('the terms are still those that were signed', async (world: PaymentWorld) => {
  const { terms, terms_hash: hash } = await world.payer.client.ok('GET', world.path);
  expect([terms, hash]).toEqual([world.request.terms, world.request.terms_hash]);
});

const send = async (world: PaymentWorld, amount: bigint) => {
  world.hash = await payDollars(world.payer.wallet, world.stage.chain, amount);
};
const report = (world: PaymentWorld, hash = world.hash) => submit(world.payer, world.request, hash);
When('the payer sends {int} dollars', (world: PaymentWorld, amount: number) => send(world, dollars(amount)));
When('the payer reports the transaction', (world: PaymentWorld) => report(world));
When('the payer sends {int} dollars and reports the transaction', async (world: PaymentWorld, amount: number) => {
  await send(world, dollars(amount));
  await report(world);
});
When('the payer sends more dollars than there are and reports the transaction', async (world: PaymentWorld) => {
  await send(world, dollars('1000000000'));
  await report(world);
});
When('the payer reports a transaction that nobody has seen yet', (world: PaymentWorld) =>
  report(world, `0x${'c0'.repeat(32)}`),
);
When(
  'a stranger sends {int} dollars and the payer reports that transaction',
  async (world: PaymentWorld, amount: number) => {
    const stranger = await newPayer(world.stage);
    world.hash = await payDollars(stranger.wallet, world.stage.chain, dollars(amount));
    await report(world);
  },
);
Then('a transaction of the payer is refused', async (world: PaymentWorld) => {
  const body = { tx_hash: `0x${'c1'.repeat(32)}` };
  const { status, body: told } = await world.payer.client.post(`${world.path}/transactions`, body);
  expect([status, told.code]).toEqual([403, 'not_payer']);
});
