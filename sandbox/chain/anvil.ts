import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';

/** Foundry's Ethereum node for development. Its binary comes by npm, one package per kind of machine. */

const ARCHITECTURES: Record<string, string> = { x64: 'amd64', arm64: 'arm64' };
const START_WITHIN_MS = 15_000; // 0.1 s when nothing else runs

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
    return require.resolve(`${name}/bin/anvil${process.platform === 'win32' ? '.exe' : ''}`);
  } catch {
    return undefined;
  }
}

/** Starts a node on loopback, which makes a block for each transaction; resolves when it listens. */
export async function startAnvil(options: AnvilOptions): Promise<Anvil> {
  const binary = findAnvil();
  if (!binary) throw new Error(`there is no anvil for ${process.platform} ${process.arch}`);
  const child = spawn(
    binary,
    [
      ...['--host', '127.0.0.1', '--port', String(options.port ?? 0), '--chain-id', String(options.chainId)],
      // A short epoch: `safe` is one block behind the head, `finalized` two.
      ...['--slots-in-an-epoch', '1', '--order', 'fifo'],
      ...(options.stateFile ? ['--state', options.stateFile] : []),
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const exited = once(child, 'exit');
  const kill = () => void child.kill();
  process.once('exit', kill); // it would go on without us
  void exited.then(() => process.off('exit', kill));
  const port = await listening(child.stdout, exited);
  child.stdout.resume();
  child.stderr.resume();
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    stop: async () => {
      child.kill('SIGINT'); // it writes its state, then ends
      await exited;
    },
  };
}

async function listening(stdout: NodeJS.ReadableStream, exited: Promise<unknown>): Promise<number> {
  let said = '';
  const found = Promise.withResolvers<number>();
  stdout.on('data', (chunk: Buffer) => {
    if (said.length < 16_384) said += chunk.toString('utf8');
    const port = /Listening on \S+:(\d+)/.exec(said)?.[1];
    if (port) found.resolve(Number(port));
  });
  void exited.then(() => found.reject(new Error(`anvil ended:\n${said}`)));
  const late = setTimeout(() => found.reject(new Error(`anvil did not start:\n${said}`)), START_WITHIN_MS);
  return found.promise.finally(() => clearTimeout(late));
}
