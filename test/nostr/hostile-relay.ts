import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';

/** A relay that says whatever a test wants it to say. */
export async function hostileRelay(
  answer: (message: unknown[], say: (text: string | Buffer) => void, socket: WebSocket) => void,
): Promise<{ url: string; connections: () => number; heard: unknown[][] }> {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  await once(server, 'listening');
  let connections = 0;
  const heard: unknown[][] = [];
  server.on('connection', (socket) => {
    connections += 1;
    socket.on('error', () => {});
    socket.on('message', (data) => {
      const message: unknown[] = JSON.parse(String(data));
      heard.push(message);
      answer(message, (text) => socket.send(text), socket);
    });
  });
  onTestFinished(() => {
    for (const socket of server.clients) socket.terminate();
    server.close();
  });
  return { url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`, connections: () => connections, heard };
}
