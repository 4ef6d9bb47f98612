import { After, AfterAll, Before, BeforeAll, QuickPickleWorld, setWorldConstructor } from 'quickpickle';
import type { TestContext } from 'vitest';
import { findAnvil } from '../../sandbox/chain/anvil.ts';
import { fromWire } from '../../src/platform/ids.ts';
import { clientOf, eventually, type Json, type Reply } from '../../test/harness/client.ts';
import { type Holder, keyHolder } from '../../test/harness/dids.ts';
import {
  askFor,
  newPayer,
  openRequestStage,
  type Payer,
  type RequestStage,
} from '../../test/payments/request-stage.ts';
import { type Receiver, startReceiver } from '../../test/webhooks-out/receiver.ts';

/** What the steps of payment features know: one Farebox, chain and receiver for each file, everything else for each scenario. */

let stage: RequestStage | undefined;
let confirming: RequestStage | undefined;
let receiver: Receiver | undefined;
/** Where the billing service of each stage listens. */
const listening = new Map<RequestStage, string>();

const openStage = async (confirmations: number): Promise<RequestStage> => {
  receiver ??= await startReceiver();
  return openRequestStage({ usual: confirmations }, { WEBHOOK_ALLOW: receiver.target });
};

BeforeAll(async () => {
  if (findAnvil()) stage = await openStage(1);
});
AfterAll(async () => {
  await stage?.close();
  await confirming?.close();
  await receiver?.close();
});
Before(async ({ context }: { context: TestContext }) => {
  if (!stage) context.skip(`npm has no anvil for ${process.platform} ${process.arch}`);
});
After(async () => {
  await stage?.chain.control.automine(true);
});

const DOLLAR = 1_000_000n;
export const dollars = (whole: number | string): bigint => BigInt(whole) * DOLLAR;

export class PaymentWorld extends QuickPickleWorld {
  #stage: RequestStage | undefined = stage;
  #payer: Payer | undefined;
  #request: Json;
  challenge: Json;
  refund: Json;
  /** The last answer to a proof. */
  answer: Reply | undefined;
  /** The last transaction of the payer. */
  hash = '';

  get stage(): RequestStage {
    if (!this.#stage) throw new Error('there is no stage');
    return this.#stage;
  }

  get payer(): Payer {
    if (!this.#payer) throw new Error('there is no payer');
    return this.#payer;
  }

  get request(): Json {
    if (!this.#request) throw new Error('nothing was asked for');
    return this.#request;
  }

  get path(): string {
    return `/v1/payment-requests/${this.request.id}`;
  }

  get receiver(): Receiver {
    if (!receiver) throw new Error('nobody listens');
    return receiver;
  }

  /** What the billing service has received. */
  letters = () => this.receiver.at(listening.get(this.stage) ?? '');
  anybody = () => clientOf(this.stage.farebox.url);
  stranger = (): Holder => keyHolder();

  /** The billing service is told of everything, once it has asked to be. */
  async listen(): Promise<void> {
    if (listening.has(this.stage)) return;
    const path = `/${listening.size}`;
    listening.set(this.stage, path);
    const body = { url: this.receiver.url + path, events: ['payments.*'] };
    const endpoint = await this.stage.merchant.ok('POST', '/v1/webhook-endpoints', { body });
    this.receiver.expectSecret(path, endpoint.signing_secret);
  }

  async enter(identity: Parameters<typeof newPayer>[1]): Promise<void> {
    this.#payer = await newPayer(this.stage, identity);
  }

  async ask(amount: bigint, more: Json = {}): Promise<void> {
    this.#request = await askFor(this.stage, this.payer, { amount: amount.toString(), ...more });
  }

  /** The same payer and question on another installation, whose chain wants more. */
  async moveTo(confirmations: number): Promise<void> {
    confirming ??= await openStage(confirmations);
    this.#stage = confirming;
    await this.listen();
    await this.enter('pkh');
    await this.ask(dollars(10));
  }

  /** As if it had been made an hour ago and ended just now, after the last block. */
  async endNow(): Promise<void> {
    const id = fromWire('paymentRequest', this.request.id);
    await new Promise((resolve) => setTimeout(resolve, 1_100)); // blocks carry whole seconds
    await this.stage.root.begin(async (tx) => {
      await tx`alter table payments.payment_requests disable trigger payment_requests_frozen`;
      await tx`update payments.payment_requests set expires_at = now() where id = ${id}`;
      await tx`alter table payments.payment_requests enable trigger payment_requests_frozen`;
    });
    await new Promise((resolve) => setTimeout(resolve, 1_100));
  }

  /** The request once it is so; its transactions are looked at again at once meanwhile. */
  async seen(by: Json, isSo: (request: Json) => boolean): Promise<Json> {
    return eventually(async () => {
      await this.stage.root`update payments.request_transactions set next_check_at = least(next_check_at, now())`;
      return by.ok('GET', this.path);
    }, isSo);
  }
}

setWorldConstructor(PaymentWorld);
