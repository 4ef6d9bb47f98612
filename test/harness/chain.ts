import { randomBytes } from 'node:crypto';
import {
  type Abi,
  type Account,
  type Address,
  createWalletClient,
  encodeFunctionData,
  type Hex,
  http,
  parseSignature,
  publicActions,
  toHex,
} from 'viem';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { foundry } from 'viem/chains';
import { describe, onTestFinished } from 'vitest';
import { findAnvil } from '../../sandbox/chain/anvil.ts';
import { type Chain, type ChainSetting, startChain } from '../../sandbox/chain/chain.ts';
import compiled from '../../sandbox/chain/contracts/compiled.json' with { type: 'json' };
import { createEvmRail, type EvmRail } from '../../src/payments/rails/evm/evm.ts';
import type { Terms } from '../../src/payments/rails/evm/terms.ts';
import { evmChains } from '../../src/platform/chain-settings.ts';
import { createLog } from '../../src/platform/log.ts';

/** A chain, payers with keys of their own, and the rail that reads it. */

const reason = findAnvil() ? '' : ` [skipped: npm has no anvil for ${process.platform} ${process.arch}]`;
export const describeOnChain = (name: string, tests: () => void): void => {
  describe.skipIf(reason !== '')(`${name}${reason}`, tests);
};

export type Wallet = ReturnType<typeof walletOf>;

const walletOf = (url: string, account: Account) =>
  createWalletClient({ account, chain: foundry, transport: http(url, { retryCount: 0 }), pollingInterval: 10 }).extend(
    publicActions,
  );

/** A payer with a new key, ten ether and a thousand test dollars. */
export async function newWallet(chain: Chain, secret: Hex = generatePrivateKey()): Promise<Wallet> {
  const account = privateKeyToAccount(secret);
  await chain.fund(account.address);
  return walletOf(chain.url, account);
}

const abis: Record<keyof typeof compiled, Abi> = {
  TestToken: compiled.TestToken.abi as Abi,
  FakeEmitter: compiled.FakeEmitter.abi as Abi,
  EtherForwarder: compiled.EtherForwarder.abi as Abi,
};

/** A call of one of the sandbox's contracts, as the data of a transaction. */
export const callOf = (contract: keyof typeof abis, functionName: string, ...args: unknown[]): Hex =>
  encodeFunctionData({ abi: abis[contract], functionName, args });

export interface Order {
  to: Address;
  data?: Hex;
  value?: bigint;
}

/** Not estimated: what will be reverted must get into a block, too. */
const GAS = { gas: 500_000n };

/** Resolves to the hash once the transaction is in a block, which anvil makes a moment later. */
export async function send(wallet: Wallet, order: Order): Promise<Hex> {
  const hash = await wallet.sendTransaction({ ...order, ...GAS });
  await wallet.waitForTransactionReceipt({ hash });
  return hash;
}

const dollars = (chain: Chain, amount: bigint, to: Address = chain.treasury): Order => ({
  to: chain.token,
  data: callOf('TestToken', 'transfer', to, amount),
});

/** A payment in test dollars, in a block. */
export const payDollars = (wallet: Wallet, chain: Chain, amount: bigint, to?: Address): Promise<Hex> =>
  send(wallet, dollars(chain, amount, to));

/** The same with automine off: in the pool. */
export const poolDollars = (wallet: Wallet, chain: Chain, amount: bigint): Promise<Hex> =>
  wallet.sendTransaction({ ...dollars(chain, amount), ...GAS });

/** Deploys one more token of the same making: on no list. */
export async function otherToken(wallet: Wallet): Promise<Address> {
  const hash = await wallet.deployContract({ abi: [], bytecode: compiled.TestToken.bytecode as Hex });
  const { contractAddress } = await wallet.waitForTransactionReceipt({ hash });
  if (!contractAddress) throw new Error('the token was not deployed');
  return contractAddress;
}

/** A signed `transferWithAuthorization` to the treasury, ready for anybody to send. */
export async function authorization(chain: Chain, wallet: Wallet, value: bigint): Promise<Hex> {
  const nonce: Hex = toHex(randomBytes(32));
  const message = {
    from: wallet.account.address,
    to: chain.treasury,
    value,
    validAfter: 0n,
    validBefore: 2n ** 48n,
    nonce,
  };
  const signature = await wallet.signTypedData({
    domain: { name: 'Test Dollar', version: '1', chainId: chain.chainId, verifyingContract: chain.token },
    types: {
      TransferWithAuthorization: [
        { name: 'from', type: 'address' },
        { name: 'to', type: 'address' },
        { name: 'value', type: 'uint256' },
        { name: 'validAfter', type: 'uint256' },
        { name: 'validBefore', type: 'uint256' },
        { name: 'nonce', type: 'bytes32' },
      ],
    },
    primaryType: 'TransferWithAuthorization',
    message,
  });
  const { r, s, v } = parseSignature(signature);
  return callOf('TestToken', 'transferWithAuthorization', ...Object.values(message), v, r, s);
}

export const dollarsOf = (chain: Chain) => `eip155:${chain.chainId}/erc20:${chain.token}`;
export const etherOf = (chain: Chain) => `eip155:${chain.chainId}/slip44:60`;

/** Terms as they are frozen, in test dollars unless another asset is named. */
export const termsOn = (chain: Chain, amount: bigint, asset = dollarsOf(chain)): Terms => ({
  chain: `eip155:${chain.chainId}`,
  asset,
  recipient: `eip155:${chain.chainId}:${chain.treasury}`,
  amount: String(amount),
});

/** The rail of the product on that chain, for one test; `lines` are what it has logged. */
export function railOn(
  chain: Chain,
  change: Partial<ChainSetting> = {},
  { deadlineMs = 5_000 } = {},
): EvmRail & { lines: string[] } {
  const lines: string[] = [];
  const rail = createEvmRail({
    chains: evmChains.parse(JSON.stringify([{ ...chain.setting, ...change }])),
    deadlineMs,
    log: createLog('info', { write: (line) => void lines.push(line) }),
    onCall: () => {},
  });
  onTestFinished(() => rail.close());
  return { ...rail, lines };
}

export { type Chain, startChain };
