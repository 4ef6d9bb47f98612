import {
  type Address,
  createTestClient,
  encodeFunctionData,
  getContractAddress,
  type Hex,
  http,
  publicActions,
  walletActions,
} from 'viem';
import { foundry } from 'viem/chains';
import { type AnvilOptions, startAnvil } from './anvil.ts';
import compiled from './contracts/compiled.json' with { type: 'json' };

/** The first account of anvil; it signs whatever it is asked to. */
const DEPLOYER: Address = '0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266';
/** The last one: takes the payments, and never signs. */
const TREASURY: Address = '0xa0ee7a142d267c1f36714e4a8f75612f20a79720';
const addressOf = (nonce: bigint) => getContractAddress({ from: DEPLOYER, nonce }).toLowerCase() as Address;

/** Where the contracts lie: the same place on every new chain. */
const places = { token: addressOf(0n), fakeToken: addressOf(1n), forwarder: addressOf(2n) };
const ETHER = 10n ** 18n;

export interface Chain {
  url: string;
  chainId: number;
  treasury: Address;
  token: Address;
  fakeToken: Address;
  forwarder: Address;
  /** What Farebox is told of this chain in EVM_CHAINS. */
  setting: ChainSetting;
  /** Gives an account ether for gas, and test dollars. */
  fund(account: Address, amounts?: { ether?: bigint; dollars?: bigint }): Promise<void>;
  control: Control;
  stop(): Promise<void>;
}

export interface ChainSetting {
  chain_id: number;
  name: string;
  rpc_urls: string[];
  treasury: string;
  stale_after_s: number;
  finality: { usual: number | 'safe' | 'finalized'; large?: number | 'safe' | 'finalized' };
  native?: { symbol: string; large_from?: string };
  tokens: { symbol: string; address: string; decimals: number; large_from?: string }[];
}

export interface Control {
  mine(blocks?: number): Promise<void>;
  automine(on: boolean): Promise<void>;
  snapshot(): Promise<Hex>;
  revert(snapshot: Hex): Promise<void>;
  /** Replaces the last blocks by others, without their transactions. */
  reorg(depth: number): Promise<void>;
}

/** A chain of its own with a test token (6 decimals), a look-alike and a forwarder of ether. */
export async function startChain(options: Partial<AnvilOptions> = {}): Promise<Chain> {
  const chainId = options.chainId ?? foundry.id;
  const anvil = await startAnvil({ ...options, chainId });
  const client = clientOf(anvil.url);
  await deploy(client);
  const { token } = places;
  return {
    url: anvil.url,
    chainId,
    treasury: TREASURY,
    ...places,
    setting: {
      chain_id: chainId,
      name: 'Anvil',
      rpc_urls: [anvil.url],
      treasury: TREASURY,
      finality: { usual: 1 },
      stale_after_s: 86_400, // no block is made while nobody sends
      native: { symbol: 'ETH' },
      tokens: [{ symbol: 'TUSD', address: token, decimals: 6 }],
    },
    fund: async (account, { ether = 10n * ETHER, dollars = 1_000_000_000n } = {}) => {
      await client.setBalance({ address: account, value: ether });
      const { abi } = compiled.TestToken;
      const data = encodeFunctionData({ abi, functionName: 'mint', args: [account, dollars] });
      const hash = await client.sendTransaction({ account: DEPLOYER, to: token, data });
      await client.mine({ blocks: 1 }); // it may be told not to mine by itself
      await client.waitForTransactionReceipt({ hash });
    },
    control: controlOf(client),
    stop: anvil.stop,
  };
}

const clientOf = (url: string) =>
  createTestClient({ mode: 'anvil', chain: foundry, transport: http(url, { retryCount: 0 }), pollingInterval: 10 })
    .extend(publicActions)
    .extend(walletActions);
type Client = ReturnType<typeof clientOf>;

/** A chain that was kept has them already, and only needs a block of today. */
async function deploy(client: Client): Promise<void> {
  const isKept = (await client.getCode({ address: places.forwarder })) !== undefined;
  const hashes: Hex[] = [];
  for (const { bytecode } of isKept ? [] : [compiled.TestToken, compiled.FakeEmitter, compiled.EtherForwarder]) {
    hashes.push(await client.sendTransaction({ account: DEPLOYER, data: bytecode as Hex, gas: 3_000_000n }));
  }
  await client.mine({ blocks: 1 });
  for (const hash of hashes) await client.waitForTransactionReceipt({ hash });
}

const controlOf = (client: Client): Control => ({
  mine: (blocks = 1) => client.mine({ blocks }),
  automine: (on) => client.setAutomine(on),
  snapshot: () => client.snapshot(),
  revert: (id) => client.revert({ id }),
  reorg: async (depth) => {
    await client.request({ method: 'anvil_reorg', params: [depth, []] } as never);
  },
});
