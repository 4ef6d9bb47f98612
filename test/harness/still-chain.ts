import { once } from 'node:events';
import { createServer } from 'node:http';

/** A node of a chain on which nothing happens: enough to ask for its coin, where nobody pays. */
export async function startStillChain(): Promise<{ setting: string; asset: string; stop(): void }> {
  const chainId = 31_337;
  const answers: Record<string, () => unknown> = {
    eth_chainId: () => `0x${chainId.toString(16)}`,
    eth_getBlockByNumber: () => ({
      ...{ number: '0x1', hash: `0x${'1'.repeat(64)}` },
      timestamp: `0x${Math.floor(Date.now() / 1000).toString(16)}`,
    }),
  };
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    const { id, method } = JSON.parse(body);
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ jsonrpc: '2.0', id, result: answers[method]?.() ?? null }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = address !== null && typeof address === 'object' ? address.port : 0;
  const chain = {
    ...{ chain_id: chainId, name: 'Still', rpc_urls: [`http://127.0.0.1:${port}`], treasury: `0x${'a'.repeat(40)}` },
    ...{ finality: { usual: 1 }, native: { symbol: 'ETH' } },
  };
  return {
    setting: JSON.stringify([chain]),
    asset: `eip155:${chainId}/slip44:60`,
    stop: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
