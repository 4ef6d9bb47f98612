import { createPrivateKey, randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { secp256k1 } from '@noble/curves/secp256k1.js';
import { toHex } from 'viem';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { WalletFault } from '../../src/payments/wallet/fault.ts';
import { newKey, readKey } from '../../src/payments/wallet/keys.ts';
import { type Payer, pay } from '../../src/payments/wallet/pay.ts';
import { readPlace } from '../../src/payments/wallet/place.ts';
import { openPurse } from '../../src/payments/wallet/purse.ts';
import { tellRefund } from '../../src/payments/wallet/refund.ts';
import type { Told } from '../../src/payments/wallet/wallet.ts';
import { fromWire, toWire } from '../../src/platform/ids.ts';
import { type Chain, describeOnChain, dollarsOf, newWallet, payDollars } from '../harness/chain.ts';
import { type Client, eventually, type Json } from '../harness/client.ts';
import { keyHolder, signIn } from '../harness/dids.ts';
import { openRelay, type Relay } from '../harness/relay.ts';
import { faultsAtRest } from '../harness/whole-books.ts';
import { chargesOf, expire, openRailStage, pricesOf, type RailStage } from './rail-stage.ts';
import { newSession, type Order, standing } from './stage.ts';

/** `farebox wallet pay --rail …`, called as the command calls it: in this process, with a terminal that nobody sits at. */

let stage: RailStage;
let relay: Relay;
let folder: string;
beforeAll(async () => {
  relay = await openRelay();
  stage = await openRailStage({ PUBLIC_URL: relay.url });
  relay.leadTo(stage.farebox.url);
  folder = await mkdtemp(join(tmpdir(), 'farebox-rails-'));
});
afterEach(async () => {
  relay.meet();
  expect(await faultsAtRest(stage.farebox.database.superuserUrl)).toEqual([]);
});
afterAll(async () => {
  await stage.close();
  await relay.close();
  await rm(folder, { recursive: true });
});

interface Person {
  /** What was said while it waited. */
  said(): string;
  /** Presses Ctrl-C. */
  interrupt(): void;
  run(order: Order, payer: Payer, session?: string): Promise<Told>;
  /** `wallet refund`. */
  refund(order: Order): Promise<Told>;
  /** The account that its key of an order opens. */
  account(order: Order): Promise<Client>;
}

function person({ keyFile, answer }: { keyFile?: string; answer?: boolean } = {}): Person {
  const lines: string[] = [];
  const over = new AbortController();
  const terminal = {
    print: () => {},
    say: (line: string) => void lines.push(line),
    confirm: async (question: string) => {
      lines.push(question);
      return answer === true;
    },
    readSecret: async () => '',
    interruption: () => ({ signal: over.signal, release: () => {} }),
    close: () => {},
  };
  const purse = openPurse(join(folder, randomUUID()));
  const key = keyFile === undefined ? undefined : readKey(keyFile);
  const wallet = { purse, terminal, key, keyFile, isSure: answer === undefined };
  const placeOf = ({ id, token }: Order, session = '') =>
    readPlace(`farebox+http://pay/${new URL(relay.url).host}/${id}/${session}${token ? `?c=${token}` : ''}`);
  return {
    said: () => lines.join('\n'),
    interrupt: () => over.abort(),
    account: ({ id }) => {
      const { secret = '' } = purse.find({ base: relay.url, orderId: id }) ?? {};
      return signIn(stage.farebox, keyHolder('Ed25519', Buffer.from(secret, 'base64url')));
    },
    run: (order, payer, session = order.sessionId) => pay(wallet, placeOf(order, session), payer),
    refund: (order) => tellRefund(wallet, placeOf(order, order.sessionId)),
  };
}

const newOrder = (more: Json = {}) => stage.order({ prices: pricesOf(stage), ...more }, { session_id: newSession() });
const isOpen = async (order: Order, session = order.sessionId) =>
  (await standing(stage, order, session)).order_status === 'paid';
const faultOf = (running: Promise<Told>): Promise<WalletFault> =>
  running.then(
    (told) => Promise.reject(new Error(`it was ${told.result}`)),
    (fault: unknown) => (fault instanceof WalletFault ? fault : Promise.reject(fault)),
  );
const asking = async (someone: Person) =>
  eventually(
    async () => /at +(http\S+\/checkout\/\S+)/.exec(someone.said())?.[1],
    (address) => address !== undefined,
  );
/** By whoever reads in the terminal where it is to be paid. */
const payAt = async (status_url: string | undefined, purchase_id: string) =>
  stage.farebox.omise.control.pay(await stage.choosePromptPay({ status_url, purchase_id }));
const purchaseFor = async ({ id }: Order): Promise<string> => {
  const [row] = await stage.root`select p.id from payments.purchases p join payments.orders o on o.id = p.order_id
    where o.order_id = ${id} and p.state = 'pending'`;
  return toWire('purchase', String(row?.['id']));
};

// REQ O1
describe('pay --rail omise', () => {
  test('says where to pay and how much, waits, and ends when the money is there; again it charges nothing', async () => {
    const [order, someone] = [await newOrder(), person({ answer: true })];
    const running = someone.run(order, { rail: 'omise', waitS: 60 });
    const address = await asking(someone);
    expect(address).toMatch(new RegExp(`^${relay.url}/checkout/`));
    for (const told of ['฿20.00 for 40 credits', 'Pay ฿20.00 for 40 credits?', 'Ctrl-C'])
      expect(someone.said()).toContain(told);
    await payAt(address, await purchaseFor(order));
    expect(await running).toMatchObject({ result: 'paid', order_id: order.id, rail: 'omise', pay_at: address });
    expect(await isOpen(order)).toBe(true);
    expect(await someone.run(order, { rail: 'omise', waitS: 60 })).toMatchObject({ result: 'already_paid' });
    expect(await someone.run(order, { rail: 'credits' })).toMatchObject({ result: 'already_paid' });
  });

  test('does not wait when nobody is to: run again it is the same payment, and then it is paid', async () => {
    const [order, someone] = [await newOrder(), person()];
    const first = await someone.run(order, { rail: 'omise', waitS: 0 });
    expect(first).toMatchObject({ result: 'opened', payment_uri: null, expires_at: expect.stringMatching(/Z$/) });
    const again = await someone.run(order, { rail: 'omise', waitS: 0 });
    expect([again['purchase_id'], again['pay_at']]).toEqual([first['purchase_id'], first['pay_at']]);
    await payAt(String(first['pay_at']), String(first['purchase_id']));
    await stage.becomes(order, order.sessionId, 'paid');
    const last = newSession();
    expect(await someone.run(order, { rail: 'omise', waitS: 0 }, last)).toMatchObject({ result: 'already_paid' });
    expect(await isOpen(order, last), 'in the browser of the last address').toBe(true);
  });

  test('opens the browser of the run that waits, though another run has opened the payment', async () => {
    const [order, someone, other] = [await newOrder(), person(), newSession()];
    const { purchase_id } = await someone.run(order, { rail: 'omise', waitS: 0 });
    const running = someone.run(order, { rail: 'omise', waitS: 60 }, other);
    await payAt(await asking(someone), String(purchase_id));
    expect(await running).toMatchObject({ result: 'paid', session_id: other });
    expect(await isOpen(order, other)).toBe(true);
  });

  test('ends by Ctrl-C and after its time, says that nothing is lost, and goes on when it is run again', async () => {
    const [order, someone] = [await newOrder(), person()];
    const late = await faultOf(someone.run(order, { rail: 'omise', waitS: 0.2 }));
    expect([late.exitCode, late.why]).toEqual([2, 'Nobody has paid as long as I was to wait.']);
    const running = faultOf(someone.run(order, { rail: 'omise', waitS: 60 }));
    const address = await asking(someone);
    someone.interrupt();
    const stopped = await running;
    expect([stopped.exitCode, stopped.why]).toEqual([2, 'You did not want to wait any longer.']);
    expect(stopped.todo).toContain(address);
    await payAt(address, await purchaseFor(order));
    await stage.becomes(order, order.sessionId, 'paid');
    expect(await someone.run(order, { rail: 'omise', waitS: 60 })).toMatchObject({ result: 'already_paid' });
  });

  test.each<[what: string, end: (order: Order, someone: Person) => Promise<unknown>, why: string]>([
    [
      'was cancelled',
      async (order, someone) => {
        const holder = await someone.account(order);
        await holder.ok('POST', `/v1/purchases/${await purchaseFor(order)}/cancel`);
      },
      'was cancelled',
    ],
    ['is for an order whose time is over', (order) => expire(stage, order), 'time is over'],
  ])('that %s ends the waiting, and says so', async (_what, end, why) => {
    const [order, someone] = [await newOrder(), person()];
    const running = faultOf(someone.run(order, { rail: 'omise', waitS: 60 }));
    await asking(someone);
    await end(order, someone);
    const fault = await running;
    expect([fault.exitCode, fault.why]).toEqual([1, expect.stringContaining(why)]);
  });

  test('whose money came too late says what became of it', async () => {
    const [order, someone] = [await newOrder(), person()];
    const running = faultOf(someone.run(order, { rail: 'omise', waitS: 60 }));
    const address = await asking(someone);
    relay.meet(({ what, reply }) => what.startsWith('GET /v1/purchases') && Boolean(reply.destroy()));
    await expire(stage, order);
    const purchaseId = await purchaseFor(order);
    await payAt(address, purchaseId);
    await eventually(
      async () =>
        stage.root`select from payments.purchases where id = ${fromWire('purchase', purchaseId)} and state = 'completed'`,
      (rows) => rows.length === 1,
    );
    relay.meet();
    expect((await running).why).toContain('it has bought credits instead');
    const asked = await someone.refund(order);
    expect(asked).toMatchObject({ result: 'asked_back', refund_amount: '2000' });
    const { refund_id, refund_status } = await someone.refund(order);
    expect([refund_id, refund_status], 'the same again').toEqual([asked['refund_id'], expect.any(String)]);
    const account = await someone.account(order);
    expect(await account.ok('GET', '/v1/credits/balance'), 'set aside for it').toMatchObject({ available: 0 });
  });

  test('whose money has not come gives nothing back', async () => {
    const [order, someone] = [await newOrder(), person()];
    await someone.run(order, { rail: 'omise', waitS: 0 });
    const fault = await faultOf(someone.refund(order));
    expect([fault.exitCode, fault.message]).toEqual([1, 'There is nothing to give back.']);
  });

  test('is refused without a price, and with somebody’s password', async () => {
    const order = await newOrder({ prices: [] });
    const none = await faultOf(person().run(order, { rail: 'omise', waitS: 0 }));
    expect([none.exitCode, none.why]).toEqual([1, 'The order has no price by omise.']);
    const told = await faultOf(person().run(await newOrder(), { rail: 'omise', waitS: 0, token: 'x' }));
    expect([told.exitCode, told.why]).toEqual([2, '--token and --login are for credits.']);
  });
});

/** Every request that the run makes is lost once, before or after Farebox has done what it was asked for. */
describe('cut off at any step and run again, it opens one payment:', () => {
  const cuts = ['/challenges', '/claim', '/did.json', '/pay'].flatMap((part) =>
    [false, true].map((isDone) => ({ part, isDone, when: isDone ? 'after' : 'before' })),
  );

  test.each(cuts)('$when $part', async ({ part, isDone }) => {
    const [order, someone] = [await newOrder(), person()];
    let isCut = false;
    relay.meet(async ({ what, reply, pass }) => {
      if (isCut || !what.includes(part)) return false;
      isCut = true;
      if (isDone) await pass();
      return Boolean(reply.destroy());
    });
    expect((await faultOf(someone.run(order, { rail: 'omise', waitS: 0 }))).exitCode).toBe(2);
    const { purchase_id } = await someone.run(order, { rail: 'omise', waitS: 0 });
    const made = await stage.root`select p.id from payments.purchases p join payments.orders o on o.id = p.order_id
      where o.order_id = ${order.id}`;
    expect(made.map(({ id }) => toWire('purchase', id))).toEqual([purchase_id]);
    expect(chargesOf(stage, String(purchase_id)), 'nothing is charged by asking').toEqual([]);
  });

  test('what is lost while it waits is asked for again', async () => {
    const [order, someone] = [await newOrder(), person()];
    const running = someone.run(order, { rail: 'omise', waitS: 60 });
    const address = await asking(someone);
    let lost = 0;
    relay.meet(({ what, reply }) => {
      if (!/^GET \/orders\/.*timeout_ms/.test(what) || lost >= 2) return false;
      lost += 1;
      return Boolean(reply.destroy());
    });
    await payAt(address, await purchaseFor(order));
    expect(await running).toMatchObject({ result: 'paid' });
  });
});

describeOnChain('pay --rail evm', () => {
  /** A key of secp256k1 in PEM, which is a wallet with dollars, too. */
  async function chainKey() {
    const { secret } = keyHolder('secp256k1');
    const point = Buffer.from(secp256k1.getPublicKey(secret, false));
    const jwk = {
      ...{ kty: 'EC', crv: 'secp256k1', d: Buffer.from(secret).toString('base64url') },
      ...{ x: point.subarray(1, 33).toString('base64url'), y: point.subarray(33).toString('base64url') },
    };
    const keyFile = join(folder, `${randomUUID()}.pem`);
    const pem = createPrivateKey({ format: 'jwk', key: jwk }).export({ type: 'pkcs8', format: 'pem' });
    await writeFile(keyFile, pem);
    const wallet = await newWallet(stage.chain as Chain, toHex(secret));
    const account = await signIn(stage.farebox, keyHolder('secp256k1', secret));
    /** Pays, and reports it, so that nobody has to watch the chain for it. */
    const send = async (amount: bigint): Promise<Json> => {
      const tx_hash = await payDollars(wallet, stage.chain as Chain, amount);
      const { data } = await account.ok('GET', '/v1/payment-requests?as=payer');
      return account.ok('POST', `/v1/payment-requests/${data[0].id}/transactions`, { body: { tx_hash } });
    };
    const becomes = async ({ id }: Json, wanted: string) => {
      await eventually(
        async () => {
          await stage.root`update payments.request_transactions set next_check_at = least(next_check_at, now())`;
          return account.ok('GET', `/v1/payment-requests/${id}`);
        },
        ({ status }) => status === wanted,
      );
    };
    return { keyFile, send, becomes };
  }
  const chain = () => stage.chain as Chain;

  test('agrees to the price of the contract, says what to pay and from where, and waits until it is final', async () => {
    const { keyFile, send } = await chainKey();
    const [order, someone] = [await newOrder(), person({ keyFile })];
    const running = someone.run(order, { rail: 'evm', waitS: 60 });
    const uri = await eventually(
      async () => /by +(ethereum:\S+)/.exec(someone.said())?.[1],
      (address) => address !== undefined,
    );
    expect(uri?.toLowerCase()).toBe(
      `ethereum:${chain().token}@${chain().chainId}/transfer?address=${chain().treasury}&uint256=2000000`.toLowerCase(),
    );
    for (const told of [`2000000 base units of ${dollarsOf(chain())}`, `${relay.url}/pay/`, 'until'])
      expect(someone.said()).toContain(told);
    await send(2_000_000n);
    await chain().control.mine(3);
    await stage.becomes(order, order.sessionId, 'paid');
    expect(await running).toMatchObject({ result: 'paid', rail: 'evm', payment_uri: uri });
    expect(await someone.run(order, { rail: 'evm', waitS: 60 })).toMatchObject({ result: 'already_paid' });
  });

  test('run again it asks for the rest; and for nothing while the transfer is on its way', async () => {
    const { keyFile, send, becomes } = await chainKey();
    const [order, someone] = [await newOrder(), person({ keyFile })];
    const first = await someone.run(order, { rail: 'evm', waitS: 0 });
    const request = await send(1_500_000n);
    await chain().control.mine(3);
    await becomes(request, 'underpaid');
    const rest = await someone.run(order, { rail: 'evm', waitS: 0 });
    expect(rest).toMatchObject({
      purchase_id: first['purchase_id'],
      payment_uri: expect.stringMatching(/uint256=500000$/),
    });
    await send(500_000n);
    await becomes(request, 'confirming');
    expect(await someone.run(order, { rail: 'evm', waitS: 0 })).toMatchObject({ result: 'opened', payment_uri: null });
    await chain().control.mine(3);
    await stage.becomes(order, order.sessionId, 'paid');
  });

  test('asks back what came when the order did not wait any more, with a proof of its key', async () => {
    const { keyFile, send, becomes } = await chainKey();
    const [order, someone] = [await newOrder(), person({ keyFile })];
    await someone.run(order, { rail: 'evm', waitS: 0 });
    await expire(stage, order);
    const request = await send(2_000_000n);
    await chain().control.mine(3);
    await becomes(request, 'completed');
    const asked = await someone.refund(order);
    expect(asked).toMatchObject({ result: 'asked_back', refund_status: 'awaiting_approval', refund_amount: '2000000' });
    expect(await someone.refund(order)).toMatchObject({ refund_id: asked['refund_id'] });
  });

  test('takes a key that the chain can know: a fresh one has no wallet', async () => {
    const order = await newOrder();
    const fault = await faultOf(person().run(order, { rail: 'evm', waitS: 0 }));
    expect([fault.exitCode, fault.todo]).toEqual([2, expect.stringContaining('--key')]);
    expect(await standing(stage, order), 'and takes no order with it').toMatchObject({ order_status: 'unpaid' });
  });

  test.each<[what: string, change: (body: Json) => Json]>([
    ['another amount', (body) => ({ ...body, terms: { ...body.terms, amount: '2000001' } })],
    ['another asset', (body) => ({ ...body, terms: { ...body.terms, asset: 'eip155:1/slip44:60' } })],
    ['another payer', (body) => ({ ...body, terms: { ...body.terms, payer: newKey().did } })],
    ['another service', (body) => ({ ...body, terms: { ...body.terms, service: 'https://evil.example' } })],
    ['another request', (body) => ({ ...body, id: body.id.replace(/.{3}$/, '000') })],
    [
      'another recipient than is signed for',
      (body) => ({ ...body, terms: { ...body.terms, recipient: `eip155:31337:0x${'1'.repeat(40)}` } }),
    ],
    ['no terms', ({ id }) => ({ id })],
  ])('signs nothing when the service asks for %s', async (_what, change) => {
    const { keyFile } = await chainKey();
    const order = await newOrder();
    const before = relay.calls.length;
    relay.meet(async ({ what, reply, pass }) => {
      if (!what.endsWith('/pay')) return false;
      const { status, body } = await pass();
      const told = JSON.parse(body.toString());
      const changed = { ...told, payment_request: change(told.payment_request) };
      reply.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(changed));
      return true;
    });
    const fault = await faultOf(person({ keyFile }).run(order, { rail: 'evm', waitS: 0 }));
    expect([fault.exitCode, fault.todo]).toEqual([1, expect.stringContaining('Nothing was signed')]);
    expect(relay.calls.slice(before).filter((call) => call.endsWith('/authorizations'))).toEqual([]);
  });
});
