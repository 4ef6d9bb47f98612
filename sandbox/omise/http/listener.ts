import { createServer as createHttp, type RequestListener } from 'node:http';
import { createServer as createHttps } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';

export interface Listener {
  host: string;
  port: number;
  close(): Promise<void>;
}

export interface ListenOptions {
  host: string;
  port: number;
  tls?: { key: string; cert: string };
}

export async function listen(options: ListenOptions, handle: RequestListener): Promise<Listener> {
  const server = options.tls === undefined ? createHttp(handle) : createHttps(options.tls, handle);
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.host, resolve);
  });
  return {
    host: options.host,
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        // closeAllConnections() leaves sockets in a TLS handshake, and hung requests would hold the process.
        for (const socket of sockets) socket.destroy();
      }),
  };
}
