import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ChainSetting } from '../../sandbox/chain/chain.ts';
import { ConfigFault, readConfig } from '../../src/platform/config.ts';
import {
  type Chain,
  describeOnChain,
  dollarsOf,
  etherOf,
  newWallet,
  otherToken,
  railOn,
  startChain,
} from '../harness/chain.ts';
import { eventually } from '../harness/client.ts';
import type { databaseForTest } from '../harness/database.ts';
import { fareboxForTest, testEnvironment } from '../harness/farebox.ts';
import { startProxy } from '../harness/tcp-proxy.ts';

/** EVM_CHAINS: what is written there, and whether the chains agree. */

const least = testEnvironment(
  { appUrl: 'postgres://app:secret@127.0.0.1/farebox' } as Awaited<ReturnType<typeof databaseForTest>>,
  { port: 1, omiseUrl: 'http://127.0.0.1:2' },
);
const base = {
  chain_id: 8453,
  name: 'Base',
  rpc_urls: ['https://one.example.com/key', 'https://two.example.com/key'],
  treasury: '0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045',
  finality: { usual: 'safe', large: 'finalized' },
  tokens: [
    { symbol: 'USDC', address: '0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913', decimals: 6, large_from: '1000000000' },
  ],
};
const read = (...chains: unknown[]) => readConfig({ ...least, EVM_CHAINS: JSON.stringify(chains) }).EVM_CHAINS;

function faultOf(text: string): string {
  try {
    readConfig({ ...least, EVM_CHAINS: text });
  } catch (fault) {
    if (fault instanceof ConfigFault) return fault.faults.map(({ name, message }) => `${name} ${message}`).join('\n');
    throw fault;
  }
  return '';
}

test('no chain is the default', () => {
  expect(readConfig(least).EVM_CHAINS).toEqual([]);
});

test('a chain is read with safe defaults, and its addresses in one spelling', () => {
  expect(read({ ...base, native: { symbol: 'ETH' } })).toEqual([
    {
      ...base,
      ...{ plain_http: false, stale_after_s: 600, native: { symbol: 'ETH', slip44: 60 } },
      treasury: base.treasury.toLowerCase(),
      tokens: [
        {
          ...{ symbol: 'USDC', decimals: 6, large_from: 1_000_000_000n },
          address: '0x833589fcd6edb6e08f4c7c32d4f71b54bda02913',
        },
      ],
    },
  ]);
});

test.each<[string, object, string]>([
  ['no endpoint', { rpc_urls: [] }, '[0].rpc_urls must hold at least one'],
  [
    'plain http to elsewhere',
    { rpc_urls: ['http://node.internal', 'https://a.example.com'] },
    '[0].rpc_urls[0] must be https',
  ],
  ['a password in the URL', { rpc_urls: ['https://me:secret@a.example.com'] }, '[0].rpc_urls[0] must not carry'],
  ['one host where two must agree', { rpc_urls: ['https://a.example.com/1', 'https://a.example.com/2'] }, 'two hosts'],
  [
    'a mistyped treasury',
    { treasury: '0xd8da6BF26964aF9D7eEd9e03E53415D37aA96045' },
    '[0].treasury must be an address',
  ],
  ['the treasury that burns', { treasury: `0x${'0'.repeat(40)}` }, '[0].treasury must be an address'],
  ['a URL that is none', { rpc_urls: ['nonsense', 'nonsense'] }, '[0].rpc_urls[0] must be an http(s) URL'],
  ['a finality of its own', { finality: { usual: 'soon' } }, 'must be "safe", "finalized" or a number'],
  ['no confirmations', { finality: { usual: 0 } }, '[0].finality.usual must be at least 1'],
  ['nothing to take', { tokens: [] }, '[0].tokens must hold a token'],
  ['a token twice', { tokens: [...base.tokens, ...base.tokens] }, '[0].tokens must name each token once'],
  ['a member that nobody knows', { tresury: '0x' }, '[0] has a member that is not known'],
])('a chain with %s is refused, with its place', (_name, change, message) => {
  expect(faultOf(JSON.stringify([{ ...base, ...change }]))).toContain(message);
});

test('all faults are told at once, and no value with them', () => {
  const told = faultOf(
    JSON.stringify([{ ...base, name: 'c4n4ry!', chain_id: 0, rpc_urls: ['ftp://c4n4ry'] }, 'c4n4ry']),
  );
  for (const place of ['[0].chain_id', '[0].name', '[0].rpc_urls[0]', '[1] must be an object'])
    expect(told).toContain(place);
  expect(told).not.toContain('c4n4ry');
  expect(faultOf('c4n4ry')).toBe('EVM_CHAINS must be a JSON array');
  expect(faultOf(JSON.stringify([base, base]))).toBe('EVM_CHAINS must name each chain once');
});

test('plain http is for a closed network, and said so', () => {
  const [chain] = read({ ...base, rpc_urls: ['http://a.internal:8545', 'http://b.internal:8545'], plain_http: true });
  expect(chain?.rpc_urls).toHaveLength(2);
});

describeOnChain('the chain', () => {
  let chain: Chain;
  beforeAll(async () => {
    chain = await startChain();
  });
  afterAll(() => chain.stop());

  const token = (change: object): Partial<ChainSetting> => ({
    tokens: [{ symbol: 'TUSD', address: chain.token, decimals: 6, ...change }],
  });

  test('confirms what is configured, and terms are frozen to the treasury', async () => {
    const rail = railOn(chain);
    expect(rail.assets.map(({ id, symbol, decimals }) => ({ id, symbol, decimals }))).toEqual([
      { id: dollarsOf(chain), symbol: 'TUSD', decimals: 6 },
      { id: etherOf(chain), symbol: 'ETH', decimals: 18 },
    ]);
    const terms = { chain: 'eip155:31337', asset: dollarsOf(chain), recipient: `eip155:31337:${chain.treasury}` };
    expect(await rail.freeze(dollarsOf(chain), '1500000')).toEqual({
      outcome: 'ok',
      value: { ...terms, amount: '1500000' },
    });
    expect(rail.lines).toEqual([]);
  });

  test('does not know an asset that is not configured, nor an amount of nothing', async () => {
    const rail = railOn(chain);
    expect(await rail.freeze('eip155:1/slip44:60', '1')).toMatchObject({ code: 'asset_unsupported' });
    expect(await rail.freeze(dollarsOf(chain), '0')).toMatchObject({ code: 'amount_invalid' });
  });

  test('refutes wrong decimals: nothing is asked for a million times too much', async () => {
    const rail = railOn(chain, token({ decimals: 18 }));
    expect(await rail.freeze(dollarsOf(chain), '1')).toMatchObject({ outcome: 'rejected', code: 'asset_unsupported' });
    expect(rail.lines.join()).toContain('"expected":18,"found":6');
  });

  test('refutes a token that is none', async () => {
    const rail = railOn(chain, token({ address: chain.treasury }));
    const asset = `eip155:31337/erc20:${chain.treasury}`;
    expect(await rail.freeze(asset, '1')).toMatchObject({ outcome: 'rejected', code: 'asset_unsupported' });
  });

  test('that is away confirms nothing, and is asked again when it matters', async () => {
    const proxy = await startProxy({ target: { port: Number(new URL(chain.url).port) } });
    const rail = railOn(chain, { rpc_urls: [`http://127.0.0.1:${proxy.port}`] });
    proxy.refuse();
    const asked = await Promise.all([rail.freeze(dollarsOf(chain), '1'), rail.freeze(dollarsOf(chain), '1')]);
    expect(asked).toEqual(Array(2).fill({ outcome: 'unavailable', reason: 'chain_unconfirmed' }));
    await proxy.pass();
    expect(await rail.freeze(dollarsOf(chain), '1')).toMatchObject({ outcome: 'ok' });
    await proxy.close();
  });

  test('that is wrong or away does not hold up the start, and the log tells of it', async () => {
    const dead = { ...chain.setting, chain_id: 5, name: 'Away', rpc_urls: ['http://127.0.0.1:9'] };
    const other = await otherToken(await newWallet(chain));
    const wrong = { ...chain.setting, chain_id: 6, name: 'Elsewhere' };
    const odd = { ...chain.setting, tokens: [{ symbol: 'ODD', address: other, decimals: 8 }] };
    const lines: string[] = [];
    const farebox = await fareboxForTest({
      env: { EVM_CHAINS: JSON.stringify([dead, wrong, odd]) },
      log: { write: (line) => void lines.push(line) },
    });
    expect((await fetch(`${farebox.internalUrl}/readyz`)).status).toBe(200);
    const told = await eventually(
      async () => lines.map((line) => JSON.parse(line)).filter(({ chain }) => chain),
      (found) => ['Away', 'Elsewhere', 'Anvil'].every((name) => found.some((one) => one.chain === name)),
    );
    expect(told).toContainEqual(expect.objectContaining({ chain: 'Away', endpoint: 1, reason: 'unreachable' }));
    expect(told).toContainEqual(expect.objectContaining({ chain: 'Elsewhere', level: 'error', reason: 'wrong_chain' }));
    expect(told).toContainEqual(expect.objectContaining({ chain: 'Anvil', asset: 'ODD', expected: 8, found: 6 }));
    const metrics = await (await fetch(`${farebox.internalUrl}/metrics`)).text();
    expect(metrics).toContain('operation="evm.eth_chainId",outcome="ok"');
  });
});
