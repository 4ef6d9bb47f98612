import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { chmod, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Json } from '../harness/client.ts';
import { keyHolder, link } from '../harness/dids.ts';
import { openRelay } from '../harness/relay.ts';
import { faultsAtRest } from '../harness/whole-books.ts';
import { grant } from '../workflows/stage.ts';
import { newSession, type Order, SHOP } from './stage.ts';
import { article, CLI, openWalletStage, type WalletStage } from './wallet-stage.ts';

/** `farebox wallet`, as a process of its own with a home of its own. */

let stage: WalletStage;
beforeAll(async () => {
  stage = await openWalletStage();
});
afterEach(async () => {
  stage.relay.meet();
  expect(await faultsAtRest(stage.databaseUrl)).toEqual([]);
});
afterAll(() => stage.close());

const refund = ({ id }: Order, credits: number) =>
  stage.shop.ok('POST', `/private/orders/${id}/refund`, {
    body: { refund: `CREDITS:${credits}`, reason: 'not needed' },
  });

// REQ O1
describe('pay', () => {
  test('shows what is agreed to, asks, pays, and keeps the key and the receipt for its owner alone', async () => {
    const [own, account] = [stage.wallet(), await stage.rich()];
    const order = await stage.newOrder({ fulfillment_url: article() });
    const { out, err, code } = await own.run(
      ['pay', stage.payUri(order), '--token', account.customer.token],
      'y\n',
      CLI,
    );
    expect([code, out.split('\n')[0]], err).toEqual([0, 'Paid.']);
    for (const told of [
      'On paying once',
      '40 credits',
      stage.shop.accountId,
      stage.relay.url,
      SHOP,
      order.sessionId,
      'Pay 40 credits?',
    ])
      expect(err).toContain(told);
    expect(out + err, 'no colours where nobody looks').not.toContain('\x1b');
    expect([await account.available(), await stage.isOpen(order)]).toEqual([60, true]);
    const [name = ''] = await readdir(join(own.home, 'purchases'));
    const file = join(own.home, 'purchases', name);
    expect([(await stat(file)).mode & 0o777, (await stat(join(own.home, 'purchases'))).mode & 0o777]).toEqual([
      0o600, 0o700,
    ]);
    const kept = JSON.parse(await readFile(file, 'utf8'));
    expect(kept).toMatchObject({ state: 'paid', orderId: order.id, receipt: expect.stringMatching(/^ey/) });
    expect(await stage.standing(order)).toMatchObject({ contract_terms: { wallet: kept.did } });
  });

  test('again charges nothing, and says so', async () => {
    const [own, account] = [stage.wallet(), await stage.rich()];
    const order = await stage.newOrder();
    const first = await own.run(['pay', stage.payUri(order), ...account.args]);
    expect(first.json).toMatchObject({ done: true, result: 'paid', order_id: order.id, amount: 'CREDITS:40' });
    const again = await own.run(['pay', stage.payUri(order), ...account.args]);
    expect([again.code, again.json.result]).toEqual([0, 'already_paid']);
    expect(await account.available()).toBe(60);
  });

  // REQ O9
  test('for an article that it has bought shows the old order, and charges nothing', async () => {
    const [own, account, fulfillment_url] = [stage.wallet(), await stage.rich(), article()];
    const [first, second] = [await stage.newOrder({ fulfillment_url }), await stage.newOrder({ fulfillment_url })];
    await own.run(['pay', stage.payUri(first), ...account.args]);
    const { code, json } = await own.run(['pay', stage.payUri(second), ...account.args]);
    expect([code, json.result, json.order_id]).toEqual([0, 'already_paid', first.id]);
    expect([await account.available(), await stage.isOpen(first, second.sessionId)]).toEqual([60, true]);
  });

  test('pays again what has gone back', async () => {
    const [own, account, fulfillment_url] = [stage.wallet(), await stage.rich(), article()];
    const [first, second] = [await stage.newOrder({ fulfillment_url }), await stage.newOrder({ fulfillment_url })];
    await own.run(['pay', stage.payUri(first), ...account.args]);
    await refund(first, 40);
    const stale = await own.run(['pay', stage.payUri(first), ...account.args]);
    expect([stale.code, stale.json.why]).toEqual([1, expect.stringContaining('went back')]);
    const byMail = await own.run(['pay', stage.payUri({ ...first, sessionId: undefined }), ...account.args]);
    expect([byMail.code, byMail.json.why], 'without a browser').toEqual([1, expect.stringContaining('went back')]);
    const { json } = await own.run(['pay', stage.payUri(second), ...account.args]);
    expect(json).toMatchObject({ result: 'paid', order_id: second.id });
    expect(await account.available()).toBe(60); // 100 - 40 + 40 - 40
  });

  test('with a key of its owner pays from the account that its DID opens, and knows it again without a memory', async () => {
    const { privateKey } = generateKeyPairSync('ed25519');
    const key = join(stage.folder, `${randomUUID()}.pem`);
    await writeFile(key, privateKey.export({ type: 'pkcs8', format: 'pem' }));
    const secret = Buffer.from(privateKey.export({ format: 'jwk' }).d ?? '', 'base64url');
    const account = await stage.rich();
    await link(account.customer, keyHolder('Ed25519', secret));
    const fulfillment_url = article();
    const [first, second] = [await stage.newOrder({ fulfillment_url }), await stage.newOrder({ fulfillment_url })];
    const args = ['--key', key, '--yes', '--json'];
    expect((await stage.wallet().run(['pay', stage.payUri(first), ...args])).json).toMatchObject({ result: 'paid' });
    const again = await stage.wallet().run(['pay', stage.payUri(second), ...args]);
    expect(again.json).toMatchObject({ result: 'already_paid', order_id: first.id });
    expect([await account.available(), await stage.isOpen(first, second.sessionId)]).toEqual([60, true]);
  });

  test('takes the address of the status page, too, and a password from standard input', async () => {
    const account = await stage.rich();
    const [order, customer] = [await stage.newOrder(), account.customer];
    const uri = `${stage.relay.url}/orders/${order.id}?token=${order.token}&session_id=${order.sessionId}`;
    const args = ['pay', uri, '--login', customer.email];
    const wrong = await stage.wallet().run(args, 'not the password at all\ny\n');
    expect([wrong.code, wrong.err]).toEqual([1, expect.stringContaining('E-mail address or password is wrong')]);
    const second = await stage.newOrder();
    const good = await stage
      .wallet()
      .run(['pay', stage.payUri(second), '--login', customer.email], `${customer.password}\ny\n`);
    expect([good.code, good.err.includes(customer.password)], good.err).toEqual([0, false]);
    expect(await account.available()).toBe(60);
  });

  test.each([
    ['n\n', 'no'],
    ['', 'nothing'],
  ])('does nothing when the answer is %j (%s), and gives the order free', async (input) => {
    const [own, account, order] = [stage.wallet(), await stage.rich(), await stage.newOrder()];
    const { code, err } = await own.run(['pay', stage.payUri(order), '--token', account.customer.token], input);
    expect([code, err]).toEqual([1, expect.stringContaining('Nothing was paid.\nYou did not say yes.\n')]);
    expect(await account.available()).toBe(100);
    expect(await stage.standing(order)).toMatchObject({ order_status: 'unpaid' });
    expect(await readdir(join(own.home, 'purchases'))).toEqual([]);
    const other = await stage.wallet().run(['pay', stage.payUri(order), ...account.args]);
    expect(other.code, 'by another wallet').toBe(0);
  });

  test('twice at the same time charges once', async () => {
    const [own, account, order] = [stage.wallet(), await stage.rich(), await stage.newOrder()];
    const both = await Promise.all([1, 2].map(() => own.run(['pay', stage.payUri(order), ...account.args])));
    expect(both.map(({ code, json }) => [code, json.order_id])).toEqual([
      [0, order.id],
      [0, order.id],
    ]);
    expect(await account.available()).toBe(60);
  });
});

describe('pay --rail', () => {
  const prices = [{ rail: 'omise', amount: 2_000, currency: 'THB' }];

  test('says where to pay, for programs, too, and waits unless it is told not to; Ctrl-C ends the waiting', async () => {
    const [own, order] = [stage.wallet(), await stage.newOrder({ prices })];
    const { code, json } = await own.run([
      'pay',
      stage.payUri(order),
      '--rail',
      'omise',
      '--no-wait',
      '--yes',
      '--json',
    ]);
    expect([code, json]).toMatchObject([
      0,
      { done: true, result: 'opened', rail: 'omise', price: '฿20.00 for 40 credits' },
    ]);
    const child = own.start(['pay', stage.payUri(order), '--rail', 'omise', '--yes', '--json']);
    let [out, err] = ['', ''];
    child.stdout?.on('data', (chunk) => {
      out += chunk;
    });
    child.stderr?.on('data', (chunk) => {
      err += chunk;
      if (err.includes('Waiting')) child.kill('SIGINT');
    });
    expect(await once(child, 'close')).toEqual([2, null]);
    expect(err).toContain(json.pay_at);
    expect(JSON.parse(out)).toMatchObject({ done: false, exit_code: 2, why: 'You did not want to wait any longer.' });
  });

  test.each([[['--rail', 'cash']], [['--wait', '0']], [['--wait', 'long']]])(
    'takes nothing but what there is: %j',
    async (more) => {
      const { code } = await stage.wallet().run(['pay', 'farebox://pay/h/o/', ...more]);
      expect(code).toBe(2);
    },
  );
});

describe('pay is refused', () => {
  test('when there are too few credits, and works once there are enough', async () => {
    const [own, account, order] = [stage.wallet(), await stage.rich(39), await stage.newOrder()];
    const short = await own.run(['pay', stage.payUri(order), ...account.args]);
    expect(short.code).toBe(1);
    expect(short.json).toMatchObject({
      done: false,
      why: expect.stringContaining('costs 40 credits, 39 are available'),
    });
    await grant(stage.operator, account.customer, 1);
    expect((await own.run(['pay', stage.payUri(order), ...account.args])).json).toMatchObject({ result: 'paid' });
    expect(await account.available()).toBe(0);
  });

  test('when nobody’s credits are named', async () => {
    const { code, json } = await stage.wallet().run(['pay', stage.payUri(await stage.newOrder()), '--yes', '--json']);
    expect([code, json.todo]).toEqual([1, expect.stringContaining('--login')]);
  });

  test('when another wallet has the order, and when its token is wrong', async () => {
    const [account, order] = [await stage.rich(), await stage.newOrder()];
    await stage.otherWallet().claim(order);
    const taken = await stage.wallet().run(['pay', stage.payUri(order), ...account.args]);
    expect([taken.code, taken.json.why]).toEqual([1, 'Another wallet has taken this order.']);
    const wrong = await stage
      .wallet()
      .run(['pay', stage.payUri({ ...(await stage.newOrder()), token: 'A'.repeat(22) }), ...account.args]);
    expect([wrong.code, wrong.json.what]).toEqual([1, 'The order was not taken.']);
    expect(await account.available()).toBe(100);
  });
});

describe('an address is not taken', () => {
  test.each([
    ['nothing of the kind', 'hello'],
    ['of another scheme', 'taler://pay/host/ord_1/s'],
    ['without the slash before an empty session', 'farebox+http://pay/127.0.0.1:9/ord_1'],
    ['without encryption', 'http://shop.example.com/orders/ord_1?token=t'],
    ['with a user', 'https://a:b@127.0.0.1/orders/ord_1'],
    ['with a session that is none', 'farebox+http://pay/127.0.0.1:9/ord_1/~~~'],
    ['of something else', 'https://127.0.0.1/v1/orders'],
    ['endless', `farebox+http://pay/127.0.0.1:9/ord_1/${'s'.repeat(3000)}`],
  ])('%s', async (_what, uri) => {
    const { code, err } = await stage.wallet().run(['pay', uri, '--yes']);
    expect([code, err.split('\n').length, err]).toEqual([
      2,
      4,
      expect.stringContaining('This is not the address of an order.'),
    ]);
  });

  test('when the person has named another host, or none for a password that nobody looks after', async () => {
    const [account, order] = [await stage.rich(), await stage.newOrder()];
    const before = stage.relay.calls.length;
    const { token } = account.customer;
    const other = await stage
      .wallet()
      .run(['pay', stage.payUri(order), '--host', 'pay.example.com', '--token', token, '--yes']);
    expect([other.code, other.err]).toEqual([2, expect.stringContaining('and not at pay.example.com')]);
    const none = await stage.wallet().run(['pay', stage.payUri(order), '--token', token, '--yes']);
    expect([none.code, none.err]).toEqual([2, expect.stringContaining(`--host ${stage.host}`)]);
    const open = stage.payUri(order).replace(stage.host, 'shop.example.com');
    const plain = await stage.wallet().run(['pay', open, '--token', token, '--host', 'shop.example.com', '--yes']);
    expect([plain.code, plain.err]).toEqual([2, expect.stringContaining('without encryption')]);
    expect(stage.relay.calls.length, 'nothing was sent').toBe(before);
  });

  // The host of the address is another name of ours: what is agreed to there would not be about it.
  test('when Farebox says that it is somebody else', async () => {
    const order = await stage.newOrder();
    const uri = stage.payUri(order).replace('127.0.0.1', 'localhost');
    const { code, json } = await stage.wallet().run(['pay', uri, '--yes', '--json']);
    expect([code, json.why]).toEqual([1, expect.stringContaining('asked for a signature under something else')]);
    expect(await stage.standing(order)).toMatchObject({ order_status: 'unpaid' });
  });

  test('when nobody is there', async () => {
    const dead = await openRelay();
    await dead.close();
    const uri = `farebox+http://pay/${new URL(dead.url).host}/ord_1/${newSession()}?c=t`;
    const { code, err } = await stage.wallet().run(['pay', uri, '--yes']);
    expect([code, err]).toEqual([2, expect.stringContaining('ECONNREFUSED')]);
    expect(err).toContain('Run the same again');
  });
});

test('text from a shop moves no cursor and turns no line around', async () => {
  const order = await stage.newOrder({ summary: 'Nice \u202eecirp\u202c article' });
  const account = await stage.rich();
  const { out, err } = await stage.wallet().run(['pay', stage.payUri(order), '--token', account.customer.token], 'y\n');
  expect(out).toContain('Nice ?ecirp? article');
  expect(out + err).not.toMatch(/[\u202a-\u202e]/);
});

describe('prove', () => {
  async function bought(more: Json = {}) {
    const [own, account, fulfillment_url] = [stage.wallet(), await stage.rich(), article()];
    const order = await stage.newOrder({ fulfillment_url, ...more });
    await own.run(['pay', stage.payUri(order), ...account.args]);
    return { own, account, order, fulfillment_url };
  }

  // REQ O9
  test('opens in another browser, by the new order that it shows or the old one, and charges nothing', async () => {
    const { own, account, order, fulfillment_url } = await bought();
    const fresh = await stage.newOrder({ fulfillment_url });
    const { code, out } = await own.run(['prove', stage.payUri(fresh), '--yes']);
    expect([code, out.split('\n')[0]]).toEqual([0, 'Shown: the browser can read it now. Nothing was charged.']);
    expect([await stage.isOpen(order, fresh.sessionId), await stage.isOpen(order)]).toEqual([true, false]);
    const back = await own.run(['prove', stage.payUri({ ...order, token: undefined }), '--yes', '--json']);
    expect(back.json).toMatchObject({ done: true, result: 'proved', order_id: order.id, session_id: order.sessionId });
    expect([await stage.isOpen(order), await account.available()]).toEqual([true, 60]);
  });

  // Somebody shows their own code to whoever has paid.
  test('A17: asks whether another browser is to be unlocked, and takes nothing but yes', async () => {
    const { own, order } = await bought();
    const stranger = newSession();
    for (const input of ['', 'n\n', 'what\n']) {
      const { code, err } = await own.run(['prove', stage.payUri(order, stranger)], input);
      expect([code, await stage.isOpen(order, stranger)], input).toEqual([1, false]);
      expect(err).toContain('Unlock on another browser?');
      expect(err).toContain(stranger);
    }
    expect((await own.run(['prove', stage.payUri(order, stranger)], 'yes\n')).code).toBe(0);
    expect(await stage.isOpen(order, stranger)).toBe(true);
  });

  test('says what is missing: the purchase, the browser, the money', async () => {
    const { own, order } = await bought();
    const never = await own.run(['prove', stage.payUri(await stage.newOrder()), '--yes']);
    expect([never.code, never.err]).toEqual([1, expect.stringContaining('has not paid')]);
    const unpaid = await stage.newOrder();
    await own.run(['pay', stage.payUri(unpaid), '--yes']);
    const claimed = await own.run(['prove', stage.payUri(unpaid)]);
    expect([claimed.code, claimed.err], 'taken, and not paid').toEqual([1, expect.stringContaining('has not paid')]);
    const nowhere = await own.run(['prove', stage.payUri({ ...order, sessionId: undefined }), '--yes']);
    expect([nowhere.code, nowhere.err]).toEqual([2, expect.stringContaining('No browser is named')]);
    await refund(order, 1);
    const back = await own.run(['prove', stage.payUri(order, newSession()), '--yes', '--json']);
    expect([back.code, back.json.why]).toEqual([1, expect.stringContaining('went back')]);
  });
});

// REQ O11
test('refund tells where the money is, and that there is nothing to fetch', async () => {
  const [own, account, order] = [stage.wallet(), await stage.rich(), await stage.newOrder()];
  const ask = () => own.run(['refund', stage.payUri(order), '--json']);
  expect((await ask()).json.why).toContain('has not paid');
  await own.run(['pay', stage.payUri(order), ...account.args]);
  const none = await ask();
  expect([none.code, none.json.what]).toEqual([1, 'Nothing has gone back.']);
  await refund(order, 40);
  const done = await ask();
  expect([done.code, done.json.what]).toEqual([1, 'CREDITS:40 have gone back already.']);
  stage.relay.meet(({ reply }) =>
    Boolean(
      reply.writeHead(200, { 'content-type': 'application/json' }).end(
        JSON.stringify({
          refunded: true,
          refund_pending: true,
          refund_amount: 'CREDITS:40',
          refund_taken: 'CREDITS:0',
        }),
      ),
    ),
  );
  const waiting = await ask();
  expect([waiting.code, waiting.json.why]).toEqual([2, expect.stringContaining('no way for that yet')]);
});

describe('what the wallet keeps', () => {
  test('lies where it is told, and a damaged file stops it before anything is paid', async () => {
    const [own, account, order] = [stage.wallet(), await stage.rich(), await stage.newOrder()];
    const home = join(stage.folder, 'elsewhere');
    const args = [...account.args, '--home', home];
    expect((await own.run(['pay', stage.payUri(order), ...args])).code).toBe(0);
    const [name = ''] = await readdir(join(home, 'purchases'));
    await writeFile(join(home, 'purchases', name), '{"half');
    for (const one of [order, await stage.newOrder()]) {
      const { code, json } = await own.run(['pay', stage.payUri(one), ...args]);
      expect([code, json.why]).toEqual([2, expect.stringContaining('damaged')]);
    }
    expect(await account.available()).toBe(60);
  });

  test('is never half there: runs that were killed leave no purchase that cannot be read', async () => {
    const own = stage.wallet();
    await own.run(['pay', stage.payUri(await stage.newOrder()), '--yes']);
    const names = await readdir(join(own.home, 'purchases'));
    expect(names.filter((name) => !/^[0-9a-f]{32}\.json$/.test(name))).toEqual([]);
  });

  test('a directory that cannot be made, and a key that is none, are told', async () => {
    const file = join(stage.folder, 'a-file');
    await writeFile(file, 'not a key');
    await chmod(file, 0o600);
    const uri = stage.payUri(await stage.newOrder());
    const home = await stage.wallet().run(['pay', uri, '--yes', '--home', join(file, 'x')]);
    expect([home.code, home.err]).toEqual([2, expect.stringContaining('(ENOTDIR)')]);
    const key = await stage.wallet().run(['pay', uri, '--yes', '--key', file]);
    expect([key.code, key.err]).toEqual([2, expect.stringContaining('openssl genpkey')]);
  });
});
