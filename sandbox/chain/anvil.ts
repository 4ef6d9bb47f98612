import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import type { Readable, Writable } from 'node:stream';

/** Foundry's Ethereum node for development. Its binary comes by npm, one package per kind of machine. */

const ARCHITECTURES: Record<string, string> = { x64: 'amd64', arm64: 'arm64' };
const START_WITHIN_MS = 30_000; // 0.1 s when nothing else runs
const MAX_SAID = 16_384; // it tells its keys, and then of every request

export interface AnvilOptions {
  /** Default: one that is free. */
  port?: number;
  chainId: number;
  /** Where the chain outlives the process. */
  stateFile?: string;
}

export interface Anvil {
  port: number;
  url: string;
  stop(): Promise<void>;
}

/** Where the binary lies; `undefined` on a kind of machine that has none. */
export function findAnvil(): string | undefined {
  const name = `@foundry-rs/anvil-${process.platform}-${ARCHITECTURES[process.arch]}`;
  try {
    const require = createRequire(createRequire(import.meta.url).resolve('@foundry-rs/anvil/package.json'));
    return require.resolve(`${name}/bin/anvil`);
  } catch {
    return undefined;
  }
}

/** Ends with its parent, however that ends: the pipe at 3 is closed then, and anvil writes its state when interrupted. */
const WITH_PARENT = '(cat; kill -INT $$) <&3 >/dev/null 2>&1 & exec "$0" "$@" 3<&-';

/** Starts a node on loopback, which makes a block for each transaction; resolves when it listens. */
export async function startAnvil(options: AnvilOptions): Promise<Anvil> {
  const binary = findAnvil();
  if (!binary) throw new Error(`there is no anvil for ${process.platform} ${process.arch}`);
  const args = [
    ...['--host', '127.0.0.1', '--port', String(options.port ?? 0), '--chain-id', String(options.chainId)],
    // A short epoch: `safe` is one block behind the head, `finalized` two.
    ...['--slots-in-an-epoch', '1', '--order', 'fifo'],
    ...(options.stateFile ? ['--state', options.stateFile] : []),
  ];
  const child = spawn('sh', ['-c', WITH_PARENT, binary, ...args], { stdio: ['ignore', 'pipe', 'pipe', 'pipe'] });
  const exited = once(child, 'exit');
  const [, stdout, stderr, leash] = child.stdio as [null, Readable, Readable, Writable, undefined];
  leash.on('error', () => {}); // it ended by itself, and `exited` tells
  const port = await listening([stdout, stderr], exited);
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    stop: async () => {
      leash.end();
      await exited;
    },
  };
}

async function listening(outputs: Readable[], exited: Promise<unknown>): Promise<number> {
  let said = '';
  const found = Promise.withResolvers<number>();
  for (const output of outputs) {
    output.on('data', (chunk: Buffer) => {
      if (said.length < MAX_SAID) said += chunk.toString('utf8');
      const port = /Listening on \S+:(\d+)/.exec(said)?.[1];
      if (port) found.resolve(Number(port));
    });
  }
  void exited.then(() => found.reject(new Error(`anvil ended:\n${said}`)));
  const late = setTimeout(() => found.reject(new Error(`anvil did not start:\n${said}`)), START_WITHIN_MS);
  return found.promise.finally(() => clearTimeout(late));
}
