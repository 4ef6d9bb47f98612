import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import solc from 'solc';
import type { Abi, Hex } from 'viem';

/** `node sandbox/chain/compile.ts` writes contracts/compiled.json anew; a test holds it against the sources. */

const CONTRACTS = ['TestToken', 'FakeEmitter', 'EtherForwarder'] as const;
export type Compiled = Record<(typeof CONTRACTS)[number], { abi: Abi; bytecode: Hex }>;

const folder = new URL('./contracts/', import.meta.url);
export const compiledFile = fileURLToPath(new URL('compiled.json', folder));

/** The same sources always give the same bytes: no path and no hash of metadata gets in. */
export function compileContracts(): Compiled {
  const sources = Object.fromEntries(
    CONTRACTS.map((name) => [name, { content: readFileSync(new URL(`${name}.sol`, folder), 'utf8') }]),
  );
  const settings = {
    evmVersion: 'paris',
    optimizer: { enabled: true },
    metadata: { bytecodeHash: 'none', appendCBOR: false },
    outputSelection: { '*': { '*': ['abi', 'evm.bytecode.object'] } },
  };
  const output: Output = JSON.parse(solc.compile(JSON.stringify({ language: 'Solidity', sources, settings })));
  if (output.errors?.length) throw new Error(output.errors.map(({ formattedMessage }) => formattedMessage).join('\n'));
  const compiled = CONTRACTS.map((name) => {
    const contract = output.contracts[name]?.[name];
    if (!contract) throw new Error(`${name} was not compiled`);
    return [name, { abi: contract.abi, bytecode: `0x${contract.evm.bytecode.object}` }];
  });
  return Object.fromEntries(compiled);
}

interface Output {
  errors?: { formattedMessage: string }[];
  contracts: Record<string, Record<string, { abi: Abi; evm: { bytecode: { object: string } } }>>;
}

if (import.meta.main) writeFileSync(compiledFile, `${JSON.stringify(compileContracts(), null, 2)}\n`);
