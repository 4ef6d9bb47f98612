import { type ChildProcess, spawn } from 'node:child_process';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import postgres from 'postgres';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { type Client, type Json, newCustomer, newOperator } from '../harness/client.ts';
import { keyHolder, link } from '../harness/dids.ts';
import { fareboxForFile, type TestFarebox } from '../harness/farebox.ts';
import { openRelay, type Relay, type Trouble } from '../harness/relay.ts';
import { faultsAtRest } from '../harness/whole-books.ts';
import { grant } from '../workflows/stage.ts';
import { newSession, type Order, orderStageOn, SHOP, standing } from './stage.ts';

/** `farebox wallet`, as a process of its own with a home of its own; Farebox is behind a relay that can lose answers. */

type Stage = Awaited<ReturnType<typeof orderStageOn>>;

let relay: Relay;
let farebox: TestFarebox;
let stage: Stage;
let operator: Client;
let root: postgres.Sql;
let folder: string;

beforeAll(async () => {
  relay = await openRelay();
  farebox = await fareboxForFile({ env: { PUBLIC_URL: relay.url, RETURN_ORIGINS: SHOP } });
  relay.leadTo(farebox.url);
  operator = await newOperator(farebox);
  stage = await orderStageOn(farebox, operator);
  root = postgres(farebox.database.superuserUrl, { max: 2, onnotice: () => {} });
  folder = await mkdtemp(join(tmpdir(), 'farebox-wallet-'));
});
afterEach(async () => {
  relay.meet();
  expect(await faultsAtRest(farebox.database.superuserUrl)).toEqual([]);
});
afterAll(async () => {
  await root.end();
  await farebox.stop();
  await relay.close();
  await rm(folder, { recursive: true, force: true });
});

const host = () => new URL(relay.url).host;
const payUri = ({ id, token, sessionId }: Order, session = sessionId) =>
  `farebox+http://pay/${host()}/${id}/${session ?? ''}${token === undefined ? '' : `?c=${token}`}`;

/** What `npm run farebox` starts. */
const CLI = 'src/cli.ts';
const article = () => `${SHOP}/articles/${randomUUID()}`;
const newOrder = (more: Json = {}) => stage.order(more, { session_id: newSession() });
const isOpen = async (order: Order, session = order.sessionId) =>
  (await standing(stage, order, session)).order_status === 'paid';

/** A terminal of somebody, with a wallet in a directory. */
function wallet(more: Record<string, string> = {}) {
  const home = join(folder, randomUUID());
  const start = (args: string[], input = '', entry = 'test/orders/wallet-main.ts'): ChildProcess => {
    const child = spawn(process.execPath, [entry, 'wallet', ...args], {
      env: {
        ...{ PATH: process.env['PATH'] ?? '', NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'] ?? '' },
        ...{ XDG_DATA_HOME: home, ...more },
      },
    });
    child.stdin?.on('error', () => {}); // it may end without having read
    child.stdin?.end(input);
    return child;
  };
  const run = async (args: string[], input = '', entry?: string) => {
    const child = start(args, input, entry);
    if (!child.stdout || !child.stderr) throw new Error('no output');
    const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
    return { out, err, code: Number(code), json: parse(out) };
  };
  return { start, run, home: join(home, 'farebox', 'wallet') };
}

function parse(out: string): Json {
  try {
    return JSON.parse(out);
  } catch {
    return null;
  }
}

/** An account with credits, and how the command line names it. */
async function rich(credits = 100) {
  const customer = await newCustomer(farebox);
  await grant(operator, customer, credits);
  const available = async () => (await customer.ok('GET', '/v1/credits/balance')).available;
  return { customer, available, args: ['--token', customer.token, '--host', host(), '--yes', '--json'] };
}

// REQ O1
describe('pay', () => {
  test('shows what is agreed to, asks, pays, and keeps the key and the receipt for its owner alone', async () => {
    const [own, account] = [wallet(), await rich()];
    const order = await newOrder({ fulfillment_url: article() });
    const { out, err, code } = await own.run(['pay', payUri(order), '--token', account.customer.token], 'y\n', CLI);
    expect([code, out.split('\n')[0]], err).toEqual([0, 'Paid.']);
    for (const told of [
      'On paying once',
      '40 credits',
      stage.shop.accountId,
      relay.url,
      SHOP,
      order.sessionId,
      'Pay 40 credits?',
    ])
      expect(err).toContain(told);
    expect(out + err, 'no colours where nobody looks').not.toContain('\x1b');
    expect([await account.available(), await isOpen(order)]).toEqual([60, true]);
    const [name = ''] = await readdir(join(own.home, 'purchases'));
    const file = join(own.home, 'purchases', name);
    expect([(await stat(file)).mode & 0o777, (await stat(join(own.home, 'purchases'))).mode & 0o777]).toEqual([
      0o600, 0o700,
    ]);
    const kept = JSON.parse(await readFile(file, 'utf8'));
    expect(kept).toMatchObject({ state: 'paid', orderId: order.id, receipt: expect.stringMatching(/^ey/) });
    expect(await standing(stage, order)).toMatchObject({ contract_terms: { wallet: kept.did } });
  });

  test('again charges nothing, and says so', async () => {
    const [own, account] = [wallet(), await rich()];
    const order = await newOrder();
    const first = await own.run(['pay', payUri(order), ...account.args]);
    expect(first.json).toMatchObject({ done: true, result: 'paid', order_id: order.id, amount: 'CREDITS:40' });
    const again = await own.run(['pay', payUri(order), ...account.args]);
    expect([again.code, again.json.result]).toEqual([0, 'already_paid']);
    expect(await account.available()).toBe(60);
  });

  // REQ O9
  test('for an article that it has bought shows the old order, and charges nothing', async () => {
    const [own, account, fulfillment_url] = [wallet(), await rich(), article()];
    const [first, second] = [await newOrder({ fulfillment_url }), await newOrder({ fulfillment_url })];
    await own.run(['pay', payUri(first), ...account.args]);
    const { code, json } = await own.run(['pay', payUri(second), ...account.args]);
    expect([code, json.result, json.order_id]).toEqual([0, 'already_paid', first.id]);
    expect([await account.available(), await isOpen(first, second.sessionId)]).toEqual([60, true]);
  });

  test('pays again what has gone back', async () => {
    const [own, account, fulfillment_url] = [wallet(), await rich(), article()];
    const [first, second] = [await newOrder({ fulfillment_url }), await newOrder({ fulfillment_url })];
    await own.run(['pay', payUri(first), ...account.args]);
    await root`update payments.orders set refunded_credits = 40 where order_id = ${first.id}`;
    const stale = await own.run(['pay', payUri(first), ...account.args]);
    expect([stale.code, stale.json.why]).toEqual([1, expect.stringContaining('went back')]);
    const { json } = await own.run(['pay', payUri(second), ...account.args]);
    expect(json).toMatchObject({ result: 'paid', order_id: second.id });
    expect(await account.available()).toBe(20);
    await root`update payments.orders set refunded_credits = 0 where order_id = ${first.id}`;
  });

  test('with a key of its owner pays from the account that its DID opens, and knows it again without a memory', async () => {
    const { privateKey } = generateKeyPairSync('ed25519');
    const key = join(folder, `${randomUUID()}.pem`);
    await writeFile(key, privateKey.export({ type: 'pkcs8', format: 'pem' }));
    const secret = Buffer.from(privateKey.export({ format: 'jwk' }).d ?? '', 'base64url');
    const account = await rich();
    await link(account.customer, keyHolder('Ed25519', secret));
    const fulfillment_url = article();
    const [first, second] = [await newOrder({ fulfillment_url }), await newOrder({ fulfillment_url })];
    const args = ['--key', key, '--yes', '--json'];
    expect((await wallet().run(['pay', payUri(first), ...args])).json).toMatchObject({ result: 'paid' });
    const again = await wallet().run(['pay', payUri(second), ...args]);
    expect(again.json).toMatchObject({ result: 'already_paid', order_id: first.id });
    expect([await account.available(), await isOpen(first, second.sessionId)]).toEqual([60, true]);
  });

  test('takes the address of the status page, too, and a password from standard input', async () => {
    const account = await rich();
    const [order, customer] = [await newOrder(), account.customer];
    const uri = `${relay.url}/orders/${order.id}?token=${order.token}&session_id=${order.sessionId}`;
    const args = ['pay', uri, '--login', customer.email];
    const wrong = await wallet().run(args, 'not the password at all\ny\n');
    expect([wrong.code, wrong.err]).toEqual([1, expect.stringContaining('E-mail address or password is wrong')]);
    const second = await newOrder();
    const good = await wallet().run(['pay', payUri(second), '--login', customer.email], `${customer.password}\ny\n`);
    expect([good.code, good.err.includes(customer.password)], good.err).toEqual([0, false]);
    expect(await account.available()).toBe(60);
  });

  test.each([
    ['n\n', 'no'],
    ['', 'nothing'],
  ])('does nothing when the answer is %j (%s), and gives the order free', async (input) => {
    const [own, account, order] = [wallet(), await rich(), await newOrder()];
    const { code, err } = await own.run(['pay', payUri(order), '--token', account.customer.token], input);
    expect([code, err]).toEqual([1, expect.stringContaining('Nothing was paid.\nYou did not say yes.\n')]);
    expect(await account.available()).toBe(100);
    expect(await standing(stage, order)).toMatchObject({ order_status: 'unpaid' });
    expect(await readdir(join(own.home, 'purchases'))).toEqual([]);
    const other = await wallet().run(['pay', payUri(order), ...account.args]);
    expect(other.code, 'by another wallet').toBe(0);
  });

  test('twice at the same time charges once', async () => {
    const [own, account, order] = [wallet(), await rich(), await newOrder()];
    const both = await Promise.all([1, 2].map(() => own.run(['pay', payUri(order), ...account.args])));
    expect(both.map(({ code, out }) => [code, parse(out).order_id])).toEqual([
      [0, order.id],
      [0, order.id],
    ]);
    expect(await account.available()).toBe(60);
  });
});

describe('pay is refused', () => {
  test('when there are too few credits, and works once there are enough', async () => {
    const [own, account, order] = [wallet(), await rich(39), await newOrder()];
    const short = await own.run(['pay', payUri(order), ...account.args]);
    expect(short.code).toBe(1);
    expect(short.json).toMatchObject({
      done: false,
      why: expect.stringContaining('costs 40 credits, 39 are available'),
    });
    await grant(operator, account.customer, 1);
    expect((await own.run(['pay', payUri(order), ...account.args])).json).toMatchObject({ result: 'paid' });
    expect(await account.available()).toBe(0);
  });

  test('when nobody’s credits are named', async () => {
    const { code, json } = await wallet().run(['pay', payUri(await newOrder()), '--yes', '--json']);
    expect([code, json.todo]).toEqual([1, expect.stringContaining('--login')]);
  });

  test('when another wallet has the order, and when its token is wrong', async () => {
    const [account, order] = [await rich(), await newOrder()];
    await stage.wallet().claim(order);
    const taken = await wallet().run(['pay', payUri(order), ...account.args]);
    expect([taken.code, taken.json.why]).toEqual([1, 'Another wallet has taken this order.']);
    const wrong = await wallet().run([
      'pay',
      payUri({ ...(await newOrder()), token: 'A'.repeat(22) }),
      ...account.args,
    ]);
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
    const { code, err } = await wallet().run(['pay', uri, '--yes']);
    expect([code, err.split('\n').length, err]).toEqual([
      2,
      4,
      expect.stringContaining('This is not the address of an order.'),
    ]);
  });

  test('when the person has named another host, or none for a password that nobody looks after', async () => {
    const [account, order] = [await rich(), await newOrder()];
    const before = relay.calls.length;
    const { token } = account.customer;
    const other = await wallet().run(['pay', payUri(order), '--host', 'pay.example.com', '--token', token, '--yes']);
    expect([other.code, other.err]).toEqual([2, expect.stringContaining('and not at pay.example.com')]);
    const none = await wallet().run(['pay', payUri(order), '--token', token, '--yes']);
    expect([none.code, none.err]).toEqual([2, expect.stringContaining(`--host ${host()}`)]);
    const open = payUri(order).replace(host(), 'shop.example.com');
    const plain = await wallet().run(['pay', open, '--token', token, '--host', 'shop.example.com', '--yes']);
    expect([plain.code, plain.err]).toEqual([2, expect.stringContaining('without encryption')]);
    expect(relay.calls.length, 'nothing was sent').toBe(before);
  });

  // The host of the address is another name of ours: what is agreed to there would not be about it.
  test('when Farebox says that it is somebody else', async () => {
    const order = await newOrder();
    const uri = payUri(order).replace('127.0.0.1', 'localhost');
    const { code, json } = await wallet().run(['pay', uri, '--yes', '--json']);
    expect([code, json.why]).toEqual([1, expect.stringContaining('asked for a signature under something else')]);
    expect(await standing(stage, order)).toMatchObject({ order_status: 'unpaid' });
  });

  test('when nobody is there', async () => {
    const dead = await openRelay();
    await dead.close();
    const uri = `farebox+http://pay/${new URL(dead.url).host}/ord_1/${newSession()}?c=t`;
    const { code, err } = await wallet().run(['pay', uri, '--yes']);
    expect([code, err]).toEqual([2, expect.stringContaining('ECONNREFUSED')]);
    expect(err).toContain('Run the same again');
  });
});

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
    const [account, order] = [await rich(), await newOrder()];
    relay.meet(trouble);
    const { code, json } = await wallet().run(['pay', payUri(order), ...account.args]);
    expect([code, json?.why]).toEqual([1, expect.stringContaining(why)]);
    expect(await account.available()).toBe(100);
  });

  test.each<[what: string, trouble: Trouble, why: string]>([
    ['the answer is a page', ({ reply }) => Boolean(reply.end('<h1>Hello</h1>')), 'not from a Farebox'],
    ['the answer is endless', ({ reply }) => Boolean(reply.end(`"${'x'.repeat(2_000_000)}"`)), 'too long'],
    ['the connection breaks', ({ reply }) => Boolean(reply.destroy()), 'The connection failed'],
  ])('%s', async (_what, trouble, why) => {
    const [account, order] = [await rich(), await newOrder()];
    relay.meet(trouble);
    const { code, json } = await wallet().run(['pay', payUri(order), ...account.args]);
    expect([code, json?.why]).toEqual([2, expect.stringContaining(why)]);
    expect(await account.available()).toBe(100);
  });

  test('it is led elsewhere', async () => {
    const other = await openRelay();
    onTestFinished(other.close);
    relay.meet(({ reply }) => Boolean(reply.writeHead(307, { location: other.url }).end('{}')));
    const [account, order] = [await rich(), await newOrder()];
    expect((await wallet().run(['pay', payUri(order), ...account.args])).code).toBe(1);
    expect(other.calls).toEqual([]);
  });
});

test('text from a shop moves no cursor and turns no line around', async () => {
  const order = await newOrder({ summary: 'Nice \u202eecirp\u202c article' });
  const account = await rich();
  const { out, err } = await wallet().run(['pay', payUri(order), '--token', account.customer.token], 'y\n');
  expect(out).toContain('Nice ?ecirp? article');
  expect(out + err).not.toMatch(/[\u202a-\u202e]/);
});

/** Where a wallet can be cut off: before or after Farebox has done what it was asked for. */
describe('cut off, and run again, it charges once and opens:', () => {
  const cuts = [
    ['before it has the challenge for the claim', '/challenges', false],
    ['when the claim is done and the answer lost', '/claim', true],
    ['before the signature of the contract was checked', '/did.json', false],
    ['before the payment', '/pay', false],
    ['when the payment is done and the answer lost', '/pay', true],
  ] as const;

  test.each(cuts)('killed %s', async (_what, part, isDone) => {
    const [own, account, order] = [wallet(), await rich(), await newOrder({ fulfillment_url: article() })];
    const killed = Promise.withResolvers<void>();
    const args = ['pay', payUri(order), ...account.args];
    let child: ChildProcess | undefined;
    relay.meet(async ({ what, reply, pass }) => {
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
    relay.meet();
    expect(await account.available()).toBe(part === '/pay' && isDone ? 60 : 100);
    const again = await own.run(args);
    expect(again.code, again.out).toBe(0);
    expect([await account.available(), await isOpen(order)]).toEqual([60, true]);
  });

  test.each(cuts)('its answer lost %s', async (_what, part, isDone) => {
    const [own, account, order] = [wallet(), await rich(), await newOrder()];
    relay.meet(async ({ what, reply, pass }) => {
      if (!what.includes(part)) return false;
      if (isDone) await pass();
      return Boolean(reply.destroy());
    });
    const args = ['pay', payUri(order), ...account.args];
    expect((await own.run(args)).code).toBe(2);
    relay.meet();
    expect((await own.run(args)).code).toBe(0);
    expect([await account.available(), await isOpen(order)]).toEqual([60, true]);
  });
});

describe('prove', () => {
  async function bought(more: Json = {}) {
    const [own, account, fulfillment_url] = [wallet(), await rich(), article()];
    const order = await newOrder({ fulfillment_url, ...more });
    await own.run(['pay', payUri(order), ...account.args]);
    return { own, account, order, fulfillment_url };
  }

  // REQ O9
  test('opens in another browser, by the new order that it shows or the old one, and charges nothing', async () => {
    const { own, account, order, fulfillment_url } = await bought();
    const fresh = await newOrder({ fulfillment_url });
    const { code, out } = await own.run(['prove', payUri(fresh), '--yes']);
    expect([code, out.split('\n')[0]]).toEqual([0, 'Shown: the browser can read it now. Nothing was charged.']);
    expect([await isOpen(order, fresh.sessionId), await isOpen(order)]).toEqual([true, false]);
    const back = await own.run(['prove', payUri({ ...order, token: undefined }), '--yes', '--json']);
    expect(back.json).toMatchObject({ done: true, result: 'proved', order_id: order.id, session_id: order.sessionId });
    expect([await isOpen(order), await account.available()]).toEqual([true, 60]);
  });

  // A17: somebody shows their own code to whoever has paid.
  test('asks whether another browser is to be unlocked, and takes nothing but yes', async () => {
    const { own, order } = await bought();
    const stranger = newSession();
    for (const input of ['', 'n\n', 'what\n']) {
      const { code, err } = await own.run(['prove', payUri(order, stranger)], input);
      expect([code, await isOpen(order, stranger)], input).toEqual([1, false]);
      expect(err).toContain('Unlock on another browser?');
      expect(err).toContain(stranger);
    }
    expect((await own.run(['prove', payUri(order, stranger)], 'yes\n')).code).toBe(0);
    expect(await isOpen(order, stranger)).toBe(true);
  });

  test('says what is missing: the purchase, the browser, the money', async () => {
    const { own, order } = await bought();
    const never = await own.run(['prove', payUri(await newOrder()), '--yes']);
    expect([never.code, never.err]).toEqual([1, expect.stringContaining('has not paid')]);
    const nowhere = await own.run(['prove', payUri({ ...order, sessionId: undefined }), '--yes']);
    expect([nowhere.code, nowhere.err]).toEqual([2, expect.stringContaining('No browser is named')]);
    await root`update payments.orders set refunded_credits = 1 where order_id = ${order.id}`;
    const back = await own.run(['prove', payUri(order, newSession()), '--yes', '--json']);
    expect([back.code, back.json.why]).toEqual([1, expect.stringContaining('went back')]);
    await root`update payments.orders set refunded_credits = 0 where order_id = ${order.id}`;
  });
});

// REQ O11
test('refund tells where the money is, and that there is nothing to fetch', async () => {
  const [own, account, order] = [wallet(), await rich(), await newOrder()];
  const ask = () => own.run(['refund', payUri(order), '--json']);
  expect((await ask()).json.why).toContain('has not paid');
  await own.run(['pay', payUri(order), ...account.args]);
  const none = await ask();
  expect([none.code, none.json.what]).toEqual([1, 'Nothing has gone back.']);
  await root`update payments.orders set refunded_credits = 40 where order_id = ${order.id}`;
  const done = await ask();
  expect([done.code, done.json.what]).toEqual([1, 'CREDITS:40 have gone back already.']);
  relay.meet(({ reply }) =>
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
  await root`update payments.orders set refunded_credits = 0 where order_id = ${order.id}`;
});

describe('what the wallet keeps', () => {
  test('lies where it is told, and a damaged file stops it before anything is paid', async () => {
    const [own, account, order] = [wallet(), await rich(), await newOrder()];
    const home = join(folder, 'elsewhere');
    const args = [...account.args, '--home', home];
    expect((await own.run(['pay', payUri(order), ...args])).code).toBe(0);
    const [name = ''] = await readdir(join(home, 'purchases'));
    await writeFile(join(home, 'purchases', name), '{"half');
    for (const one of [order, await newOrder()]) {
      const { code, json } = await own.run(['pay', payUri(one), ...args]);
      expect([code, json.why]).toEqual([2, expect.stringContaining('damaged')]);
    }
    expect(await account.available()).toBe(60);
  });

  test('is never half there: runs that were killed leave no purchase that cannot be read', async () => {
    const own = wallet();
    await own.run(['pay', payUri(await newOrder()), '--yes']);
    const names = await readdir(join(own.home, 'purchases'));
    expect(names.filter((name) => !/^[0-9a-f]{32}\.json$/.test(name))).toEqual([]);
  });

  test('a directory that cannot be made, and a key that is none, are told', async () => {
    const file = join(folder, 'a-file');
    await writeFile(file, 'not a key');
    await chmod(file, 0o600);
    const uri = payUri(await newOrder());
    const home = await wallet().run(['pay', uri, '--yes', '--home', join(file, 'x')]);
    expect([home.code, home.err]).toEqual([2, expect.stringContaining('(ENOTDIR)')]);
    const key = await wallet().run(['pay', uri, '--yes', '--key', file]);
    expect([key.code, key.err]).toEqual([2, expect.stringContaining('openssl genpkey')]);
  });
});
