import type { Address, Hash } from 'viem';
import { hexToBigInt, parseAbi } from 'viem/utils';
import { z } from 'zod';

/** What nodes answer, read strictly where money depends on it: https://ethereum.github.io/execution-apis. Other members are fine. */

const hex = (pattern: RegExp) => z.string().regex(pattern);
const hash = hex(/^0x[0-9a-fA-F]{64}$/).transform((text) => text.toLowerCase() as Hash);
const address = hex(/^0x[0-9a-fA-F]{40}$/).transform((text) => text.toLowerCase() as Address);
export const quantity = hex(/^0x[0-9a-fA-F]{1,64}$/).transform((text) => hexToBigInt(text as Hash));
const data = hex(/^0x([0-9a-fA-F]{2})*$/).transform((text) => text.toLowerCase() as Hash);
const position = quantity.pipe(z.bigint().max(0xff_ffff_ffffn)).transform(Number);

export const Block = z.looseObject({
  number: quantity,
  hash,
  timestamp: quantity.pipe(z.bigint().max(0xff_ffff_ffffn)).transform((seconds) => new Date(Number(seconds) * 1_000)),
});
export type Block = z.output<typeof Block>;

export const Transaction = z.looseObject({
  hash,
  from: address,
  /** `null`: it makes a contract. */
  to: address.nullable(),
  value: quantity,
  /** `null`: it waits to be mined. */
  blockHash: hash.nullable(),
});
export type Transaction = z.output<typeof Transaction>;

export const Log = z.looseObject({
  address,
  topics: z.array(hash).max(4),
  data,
  logIndex: position,
  transactionHash: hash,
  blockNumber: quantity,
  blockHash: hash,
  /** Set on logs of blocks that were replaced. */
  removed: z.boolean().default(false),
});
export type Log = z.output<typeof Log>;

export const Receipt = z.looseObject({
  transactionHash: hash,
  blockHash: hash,
  blockNumber: quantity,
  status: z.enum(['0x0', '0x1']).transform((status) => status === '0x1'),
  logs: z.array(Log),
});
export type Receipt = z.output<typeof Receipt>;

/** ERC-20, as far as it is used. */
export const erc20 = parseAbi([
  'event Transfer(address indexed from, address indexed to, uint256 value)',
  'function decimals() view returns (uint8)',
]);

/** A word of the ABI, or nothing where no contract lives. */
export const word = z.union([z.literal('0x').transform(() => null), hash.transform((text) => hexToBigInt(text))]);
