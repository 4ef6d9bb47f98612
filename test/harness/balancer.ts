import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/** One address before several replicas, as a load balancer gives them: who does not answer is passed over. */
export interface Balancer {
  port: number;
  url: string;
  /** The replicas, in the order in which they are asked. */
  serve(ports: number[]): void;
  /** This one is asked first from now on; open connections to others are closed. */
  prefer(port: number): void;
  close(): Promise<void>;
}

export async function startBalancer(): Promise<Balancer> {
  let order: number[] = [];
  const open = new Map<Socket, number>();
  const carry = (client: Socket, left: number[]): void => {
    const [port, ...others] = left;
    if (port === undefined) {
      client.destroy();
      return;
    }
    const server = connect({ port, host: '127.0.0.1', noDelay: true });
    server.once('error', () => {
      server.destroy();
      if (server.bytesRead === 0 && !open.has(client)) carry(client, others);
      else client.destroy();
    });
    server.once('connect', () => {
      open.set(client, port);
      client.pipe(server).pipe(client);
      client.resume();
    });
    server.once('close', () => open.has(client) && client.destroy());
    client.once('close', () => server.destroy());
  };
  const listener = createServer({ noDelay: true, pauseOnConnect: true }, (client) => {
    client.on('error', () => {});
    client.once('close', () => open.delete(client));
    carry(client, order);
  }).listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const address = listener.address();
  if (address === null || typeof address === 'string') throw new Error('no address');
  const { port } = address;
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    serve: (ports) => {
      order = ports;
    },
    prefer: (first) => {
      order = [first, ...order.filter((one) => one !== first)];
      for (const [client, to] of open) if (to !== first) client.destroy();
    },
    close: async () => {
      const closed = once(listener, 'close');
      listener.close();
      for (const client of open.keys()) client.destroy();
      await closed;
    },
  };
}
