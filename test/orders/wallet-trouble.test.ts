import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { Json } from '../harness/client.ts';
import { openRelay, type Trouble } from '../harness/relay.ts';
import { faultsAtRest } from '../harness/whole-books.ts';
import { article, openWalletStage, type WalletStage } from './wallet-stage.ts';

/** A wallet that is lied to, and one that is cut off in the middle. */

let stage: WalletStage;
beforeAll(async () => {
  stage = await openWalletStage();
});
afterEach(async () => {
  stage.relay.meet();
  expect(await faultsAtRest(stage.databaseUrl)).toEqual([]);
});
afterAll(() => stage.close());

/** What a Farebox that lies could do to a wallet. */
describe('nothing is paid when', () => {
  const change =
    (part: string, work: (body: Json) => unknown): Trouble =>
    async ({ what, reply, pass }) => {
      if (!what.includes(part)) return false;
      const { status, body } = await pass();
      const told = work(JSON.parse(body.toString()));
      reply.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(told));
      return true;
    };
  const terms = (work: (terms: Json) => object): Trouble =>
    change('/claim', (body) => ({ ...body, contract_terms: { ...body.contract_terms, ...work(body.contract_terms) } }));
  const claims = (more: Json): Trouble =>
    change('/challenges', (body) => ({ ...body, jwt_claims: { ...body.jwt_claims, ...more } }));

  test.each<[what: string, trouble: Trouble, why: string]>([
    ['the price in the contract is another one', terms(() => ({ amount: 'CREDITS:39' })), 'The hash is not that'],
    ['the contract is about another order', terms(() => ({ order_id: 'other' })), 'not about this order'],
    [
      'the contract is another wallet’s',
      terms(() => ({ wallet: 'did:key:z6Mk' })),
      'not about this order and this wallet',
    ],
    [
      'the contract is of another host',
      terms(() => ({ merchant_base_url: 'https://evil.example/' })),
      'is of https://evil',
    ],
    ['the contract has fractions', terms(() => ({ extra: 0.5 })), 'The hash is not that'],
    ['the contract is not there', change('/claim', ({ contract_terms: _, ...rest }) => rest), 'not about this order'],
    ['the hash is another one', change('/claim', (body) => ({ ...body, h_contract: 'X' })), 'The hash is not that'],
    [
      'the signature is cut',
      change('/claim', (body) => ({ ...body, sig: body.sig.slice(0, -4) })),
      'signature is not one',
    ],
    [
      'the signature is somebody else’s',
      change('/did.json', (body) => ({ ...body, alsoKnownAs: [] })),
      'signature is not one',
    ],
    ['what is to be signed is a log-in', claims({ purpose: 'login' }), 'under something else'],
    ['what is to be signed is for elsewhere', claims({ aud: 'https://evil.example' }), 'under something else'],
    ['what is to be signed is another deed', claims({ terms_hash: 'f'.repeat(64) }), 'under something else'],
  ])('%s', async (_what, trouble, why) => {
    const [account, order] = [await stage.rich(), await stage.newOrder()];
    stage.relay.meet(trouble);
    const { code, json } = await stage.wallet().run(['pay', stage.payUri(order), ...account.args]);
    expect([code, json?.why]).toEqual([1, expect.stringContaining(why)]);
    expect(await account.available()).toBe(100);
  });

  test.each<[what: string, trouble: Trouble, why: string]>([
    ['the answer is a page', ({ reply }) => Boolean(reply.end('<h1>Hello</h1>')), 'not from a Farebox'],
    ['the answer is endless', ({ reply }) => Boolean(reply.end(`"${'x'.repeat(2_000_000)}"`)), 'too long'],
    ['the connection breaks', ({ reply }) => Boolean(reply.destroy()), 'The connection failed'],
  ])('%s', async (_what, trouble, why) => {
    const [account, order] = [await stage.rich(), await stage.newOrder()];
    stage.relay.meet(trouble);
    const { code, json } = await stage.wallet().run(['pay', stage.payUri(order), ...account.args]);
    expect([code, json?.why]).toEqual([2, expect.stringContaining(why)]);
    expect(await account.available()).toBe(100);
  });

  test('it is led elsewhere', async () => {
    const other = await openRelay();
    onTestFinished(other.close);
    stage.relay.meet(({ reply }) => Boolean(reply.writeHead(307, { location: other.url }).end('{}')));
    const [account, order] = [await stage.rich(), await stage.newOrder()];
    expect((await stage.wallet().run(['pay', stage.payUri(order), ...account.args])).code).toBe(1);
    expect(other.calls).toEqual([]);
  });
});

/** Where a wallet can be cut off: before or after Farebox has done what it was asked for. */
test('a claim whose answer was lost is kept, whatever a later run is told', async () => {
  const [own, account, order] = [stage.wallet(), await stage.rich(), await stage.newOrder()];
  stage.relay.meet(async ({ what, reply, pass }) => {
    if (!what.endsWith('/claim')) return false;
    await pass();
    return Boolean(reply.destroy());
  });
  const args = ['pay', stage.payUri(order), ...account.args];
  expect((await own.run(args)).code).toBe(2);
  stage.relay.meet();
  const mistyped = await own.run(['pay', stage.payUri({ ...order, token: 'A'.repeat(22) }), ...account.args]);
  expect(mistyped.code).toBe(1);
  expect((await own.run(args)).json).toMatchObject({ done: true, result: 'paid' });
});

describe('cut off, and run again, it charges once and opens:', () => {
  const cuts = [
    ['before it has the challenge for the claim', '/challenges', false],
    ['when the claim is done and the answer lost', '/claim', true],
    ['before the signature of the contract was checked', '/did.json', false],
    ['before the payment', '/pay', false],
    ['when the payment is done and the answer lost', '/pay', true],
  ] as const;

  test.each(cuts)('killed %s', async (_what, part, isDone) => {
    const [own, account, order] = [
      stage.wallet(),
      await stage.rich(),
      await stage.newOrder({ fulfillment_url: article() }),
    ];
    const killed = Promise.withResolvers<void>();
    const args = ['pay', stage.payUri(order), ...account.args];
    let child: ChildProcess | undefined;
    stage.relay.meet(async ({ what, reply, pass }) => {
      if (!what.includes(part)) return false;
      if (isDone) await pass();
      child?.kill('SIGKILL');
      reply.destroy();
      killed.resolve();
      return true;
    });
    child = own.start(args);
    const gone = once(child, 'exit');
    await killed.promise;
    expect(await gone).toEqual([null, 'SIGKILL']);
    stage.relay.meet();
    expect(await account.available()).toBe(part === '/pay' && isDone ? 60 : 100);
    const again = await own.run(args);
    expect(again.code, again.out).toBe(0);
    expect([await account.available(), await stage.isOpen(order)]).toEqual([60, true]);
  });

  test.each(cuts)('its answer lost %s', async (_what, part, isDone) => {
    const [own, account, order] = [stage.wallet(), await stage.rich(), await stage.newOrder()];
    stage.relay.meet(async ({ what, reply, pass }) => {
      if (!what.includes(part)) return false;
      if (isDone) await pass();
      return Boolean(reply.destroy());
    });
    const args = ['pay', stage.payUri(order), ...account.args];
    expect((await own.run(args)).code).toBe(2);
    stage.relay.meet();
    expect((await own.run(args)).code).toBe(0);
    expect([await account.available(), await stage.isOpen(order)]).toEqual([60, true]);
  });
});
