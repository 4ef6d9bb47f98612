import type { ServerResponse } from 'node:http';
import type { Hex } from 'viem';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import {
  type Chain,
  describeOnChain,
  newWallet,
  payDollars,
  railOn,
  startChain,
  termsOn,
  type Wallet,
} from '../harness/chain.ts';
import { startLyingRpc } from '../harness/lying-rpc.ts';
import { startProxy, type TcpProxy } from '../harness/tcp-proxy.ts';

/** Trouble with an endpoint is our trouble: `unknown`, never a failed payment, and never a credit. */

const DEADLINE_MS = 150;

describeOnChain('an endpoint', () => {
  let chain: Chain;
  let wallet: Wallet;
  let paid: Hex;
  beforeAll(async () => {
    chain = await startChain();
    wallet = await newWallet(chain);
    paid = await payDollars(wallet, chain, 10n);
    await chain.control.mine(2);
  });
  afterAll(() => chain.stop());

  const terms = () => termsOn(chain, 10n);
  const throughProxy = async (): Promise<{ proxy: TcpProxy; url: string }> => {
    const proxy = await startProxy({ target: { port: Number(new URL(chain.url).port) } });
    onTestFinished(() => proxy.close());
    return { proxy, url: `http://127.0.0.1:${proxy.port}` };
  };
  const railAt = (rpc_urls: string[], deadlineMs = 5_000) => railOn(chain, { rpc_urls }, { deadlineMs });

  test('that is dead is unknown', async () => {
    const { proxy, url } = await throughProxy();
    proxy.refuse();
    expect(await railAt([url]).verify(terms(), paid)).toEqual({ outcome: 'unknown', reason: 'unreachable' });
  });

  test('that accepts and says nothing is unknown once the deadline is over', async () => {
    const { proxy, url } = await throughProxy();
    proxy.blackHole();
    const found = await railAt([url], DEADLINE_MS).verify(terms(), paid);
    expect(found).toEqual({ outcome: 'unknown', reason: 'timeout' });
  });

  test('that trickles its answer is unknown: the deadline is for the whole of it', async () => {
    const liar = await startLyingRpc(chain.url);
    liar.say((response) => {
      const drip = setInterval(() => response.write(' '), DEADLINE_MS / 10);
      response.once('close', () => clearInterval(drip));
    });
    expect(await railAt([liar.url], DEADLINE_MS).verify(terms(), paid)).toEqual({
      outcome: 'unknown',
      reason: 'timeout',
    });
  });

  test('that is cut off in the middle of an answer is unknown', async () => {
    const { proxy, url } = await throughProxy();
    proxy.cutAfter(100, 'to-client');
    expect(await railAt([url]).verify(terms(), paid)).toEqual({ outcome: 'unknown', reason: 'unreachable' });
    expect(await railAt([url]).verify(terms(), paid)).toMatchObject({ outcome: 'matched' });
  });

  const page = (response: ServerResponse) =>
    response.setHeader('content-type', 'text/html').end('<h1>Too many customers</h1>');
  const reply =
    (body: object, status = 200) =>
    (response: ServerResponse) => {
      response.statusCode = status;
      response.end(JSON.stringify({ jsonrpc: '2.0', ...body }));
    };
  test.each<[string, string, (response: ServerResponse) => void]>([
    ['HTML', 'unreadable', page],
    ['ten megabytes', 'too_large', (response) => response.end(' '.repeat(10 * 1024 * 1024))],
    ['an error of JSON-RPC', 'refused', reply({ id: 1, error: { code: -32_005, message: 'limit exceeded' } })],
    ['too many requests', 'http_429', reply({ id: 1, result: '0x7a69' }, 429)],
    ['an error of its gateway', 'http_502', page],
    ['a redirect', 'http_302', (response) => response.writeHead(302, { location: '/' }).end()],
    ['another’s answer', 'unreadable', reply({ id: 99, result: '0x7a69' })],
    ['no result', 'unreadable', reply({ id: 1 })],
    ['a result of another shape', 'unreadable', reply({ id: 1, result: { chain: '0x7a69' } })],
  ])('that answers %s is unknown: %s', async (_name, reason, say) => {
    const liar = await startLyingRpc(chain.url);
    liar.say((response) => {
      if (reason === 'http_502') response.statusCode = 502;
      say(response);
    });
    expect(await railAt([liar.url]).verify(terms(), paid)).toEqual({ outcome: 'unknown', reason });
    expect([...liar.asked.keys()]).toEqual(['eth_chainId']);
  });

  test('of another chain is a fault of the configuration: unknown, and loud', async () => {
    const liar = await startLyingRpc(chain.url);
    liar.lie((method) => (method === 'eth_chainId' ? '0x1' : undefined));
    const rail = railAt([liar.url]);
    expect(await rail.verify(terms(), paid)).toEqual({ outcome: 'unknown', reason: 'wrong_chain' });
    expect(rail.lines.join()).toContain('EVM_CHAINS is wrong');
  });

  test('whose head is old is unknown, even if it knows the payment', async () => {
    const liar = await startLyingRpc(chain.url);
    liar.lie((method, result, [at]) => {
      if (method !== 'eth_getBlockByNumber' || at !== 'latest') return undefined;
      return { ...result, timestamp: `0x${(Math.floor(Date.now() / 1_000) - 601).toString(16)}` };
    });
    const rail = railOn(chain, { rpc_urls: [liar.url], stale_after_s: 600 });
    expect(await rail.verify(terms(), paid)).toEqual({ outcome: 'unknown', reason: 'stale' });
  });

  test('that names another block at that height is reorganising', async () => {
    const liar = await startLyingRpc(chain.url);
    liar.lie((method, result, [at]) =>
      method === 'eth_getBlockByNumber' && at !== 'latest' ? { ...result, hash: `0x${'ab'.repeat(32)}` } : undefined,
    );
    expect(await railAt([liar.url]).verify(terms(), paid)).toEqual({ outcome: 'reorging' });
  });

  test('that answers for another transaction is not believed', async () => {
    const liar = await startLyingRpc(chain.url);
    const transactionHash = `0x${'cd'.repeat(32)}`;
    liar.lie((method, result) => (method === 'eth_getTransactionReceipt' ? { ...result, transactionHash } : undefined));
    expect(await railAt([liar.url]).verify(terms(), paid)).toEqual({ outcome: 'unknown', reason: 'unreadable' });
  });

  test('in trouble is passed over for the next one, and asked last for a while', async () => {
    const [first, second] = [await startLyingRpc(chain.url), await startLyingRpc(chain.url)];
    first.say(page);
    const rail = railAt([first.url, second.url]);
    expect(await rail.verify(terms(), paid)).toMatchObject({ outcome: 'matched' });
    expect(await rail.verify(terms(), paid)).toMatchObject({ outcome: 'matched' });
    expect(first.asked.get('eth_chainId')).toBe(1);
    second.say(page);
    first.honest();
    expect(await rail.verify(terms(), paid)).toMatchObject({ outcome: 'matched' });
  });

  test('keeps its URL to itself: with many providers that is the key', async () => {
    const liar = await startLyingRpc(chain.url);
    liar.say(page);
    const rail = railAt([`${liar.url}/v2/c4n4ry`]);
    await rail.verify(terms(), paid);
    await rail.confirm();
    expect(rail.lines.length).toBeGreaterThan(1);
    expect(rail.lines.join()).not.toMatch(/c4n4ry|127\.0\.0\.1/);
  });
});
