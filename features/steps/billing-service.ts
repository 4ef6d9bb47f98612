import { Given, Then, When } from 'quickpickle';
import { expect } from 'vitest';
import { eventually, type Json } from '../../test/harness/client.ts';
import { dollars, type PaymentWorld } from './world.ts';

Given('a billing service that listens for events', (world: PaymentWorld) => world.listen());

Given(/^the billing service (?:asks|has asked) the payer for (\d+) dollars$/, (world: PaymentWorld, amount: string) =>
  world.ask(dollars(amount)),
);
Given(
  'the billing service has asked the payer for {int} dollars for the invoice {string}',
  (world: PaymentWorld, amount: number, reference: string) =>
    world.ask(dollars(amount), { purpose: { type: 'invoice', reference } }),
);
When('the billing service withdraws the request', (world: PaymentWorld) =>
  world.stage.merchant.ok('POST', `${world.path}/cancel`),
);

Then('the billing service receives a signed call that it is {string}', async (world: PaymentWorld, what: string) => {
  const type = `payments.payment_request_${what}`;
  const isIt = ({ body, text }: Json) => body.type === type && text.includes(world.request.id);
  const letters = await eventually(
    async () => world.letters().filter(isIt),
    (found) => found.length > 0,
  );
  expect(letters.every(({ verified }) => verified)).toBe(true);
});
