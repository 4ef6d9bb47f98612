import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { commitReply, startProxy, type TcpProxy } from '../harness/tcp-proxy.ts';

const COMPLETE = (tag: string) => {
  const text = Buffer.from(`${tag}\0`);
  const head = Buffer.from([0x43, 0, 0, 0, text.length + 4]);
  return Buffer.concat([head, text]);
};

let server: Awaited<ReturnType<typeof startEcho>>;
let proxy: TcpProxy;
let clients: Client[];

beforeEach(async () => {
  server = await startEcho();
  proxy = await startProxy({ target: { port: server.port } });
  clients = [];
});
afterEach(async () => {
  for (const { socket } of clients) socket.destroy();
  await proxy.close();
  await server.close();
});

/** Says back what it hears, but answers a COMMIT as PostgreSQL does, and knows what it committed. */
async function startEcho() {
  const sockets = new Set<Socket>();
  const seen = { heard: '', commits: 0, ends: 0, closes: 0, sockets };
  const listener = createServer((socket) => {
    sockets.add(socket);
    socket.on('data', (chunk: Buffer) => {
      seen.heard += chunk.toString();
      if (!chunk.includes('COMMIT')) return socket.write(chunk);
      seen.commits += 1;
      return socket.write(COMPLETE('COMMIT'));
    });
    socket.on('error', () => {});
    socket.on('end', () => {
      seen.ends += 1;
    });
    socket.on('close', () => {
      sockets.delete(socket);
      seen.closes += 1;
    });
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const address = listener.address();
  if (address === null || typeof address === 'string') throw new Error('no address');
  const close = async () => {
    for (const socket of sockets) socket.destroy();
    if (listener.listening) await new Promise((done) => listener.close(done));
  };
  return Object.assign(seen, { port: address.port, close });
}

interface Client {
  socket: Socket;
  heard: string;
  fate: 'open' | 'ended' | 'reset' | 'refused';
}

function open(port = proxy.port): Client {
  const client: Client = { socket: connect(port, '127.0.0.1'), heard: '', fate: 'open' };
  client.socket.on('data', (chunk) => {
    client.heard += chunk.toString('latin1');
  });
  client.socket.on('end', () => {
    client.fate = 'ended';
  });
  client.socket.on('error', (error: NodeJS.ErrnoException) => {
    client.fate = error.code === 'ECONNREFUSED' ? 'refused' : 'reset';
  });
  clients.push(client);
  return client;
}

async function openAndGreet(): Promise<Client> {
  const client = open();
  client.socket.write('hello ');
  await soon(() => client.heard).toBe('hello ');
  return client;
}

const soon = (look: () => unknown) => expect.poll(look, { interval: 5, timeout: 5_000 });
/** Long enough for a loopback connection to have said what it had to say. */
const quiet = () => sleep(50);

describe('a proxy that only passes', () => {
  it('carries a megabyte both ways, unchanged, and both ends', async () => {
    const client = open();
    const megabytes = 'abcdefghijklmnop'.repeat(200_000);
    client.socket.end(megabytes);
    await soon(() => client.fate).toBe('ended');
    expect(client.heard === megabytes && server.heard === megabytes).toBe(true);
    await soon(() => [proxy.connections, proxy.accepted, server.closes]).toEqual([0, 1, 1]);
  });

  it('names itself in a URL', () => {
    expect(proxy.url('postgres://me:pw@db.example:5432/app?x=1')).toBe(
      `postgres://me:pw@127.0.0.1:${proxy.port}/app?x=1`,
    );
    expect(proxy.url('http://127.0.0.1/path')).toBe(`http://127.0.0.1:${proxy.port}/path`);
  });

  it('a server that is away looks like a connection that is lost', async () => {
    await server.close();
    const client = open();
    await soon(() => client.fate).toBe('reset');
    expect(proxy.connections).toBe(0);
  });
});

describe('latency', () => {
  it('delays each way, keeps the order, and does not slow a stream down', async () => {
    const client = await openAndGreet();
    proxy.latency(100);
    const start = performance.now();
    for (const word of ['one ', 'two ', 'three ']) {
      client.socket.write(word);
      await sleep(10);
    }
    await soon(() => client.heard).toBe('hello one two three ');
    const took = performance.now() - start;
    expect(took).toBeGreaterThan(198);
    expect(took).toBeLessThan(550); // and not 3 × 200
    await proxy.pass();
    const again = performance.now();
    client.socket.write('four');
    await soon(() => client.heard).toContain('four');
    expect(performance.now() - again).toBeLessThan(190);
  });
});

describe('a black hole', () => {
  it('swallows open and new connections, and gives everything back when it heals', async () => {
    const old = await openAndGreet();
    proxy.blackHole();
    const fresh = open();
    old.socket.write('anybody?');
    fresh.socket.write('there?');
    await soon(() => proxy.accepted).toBe(2);
    await quiet();
    expect([old.heard, fresh.heard, fresh.fate, server.heard]).toEqual(['hello ', '', 'open', 'hello ']);
    proxy.blackHole(); // twice is the same
    await proxy.pass();
    await soon(() => [old.heard, fresh.heard]).toEqual(['hello anybody?', 'there?']);
  });

  it('hides from the server that the client is gone, until it heals', async () => {
    const client = await openAndGreet();
    proxy.blackHole();
    client.socket.resetAndDestroy();
    await quiet();
    expect([server.closes, server.sockets.size]).toEqual([0, 1]);
    await proxy.pass();
    await soon(() => server.closes).toBe(1);
  });

  it('is a full window for a sender who goes on, not a full memory for us', async () => {
    const client = await openAndGreet();
    proxy.blackHole();
    client.socket.write(Buffer.alloc(64 * 1024 * 1024));
    await sleep(150);
    expect(client.socket.writableLength).toBeGreaterThan(32 * 1024 * 1024);
  });
});

describe('refusing, resetting, losing one side', () => {
  it('refuses new connections, leaves open ones, and listens again at the same port', async () => {
    const old = await openAndGreet();
    proxy.refuse();
    const fresh = open();
    await soon(() => fresh.fate).toBe('refused');
    old.socket.write('still here');
    await soon(() => old.heard).toBe('hello still here');
    await proxy.pass();
    await openAndGreet();
  });

  it('resets every open connection on both sides, also one that is in a black hole', async () => {
    const old = await openAndGreet();
    proxy.blackHole();
    const fresh = open();
    await soon(() => proxy.connections).toBe(2);
    proxy.resetAll();
    await soon(() => [old.fate, fresh.fate, server.sockets.size, proxy.connections]).toEqual(['reset', 'reset', 0, 0]);
    expect(server.ends).toBe(0);
    await proxy.pass();
    await openAndGreet();
  });

  it('a client does not notice that its server is gone', async () => {
    const client = await openAndGreet();
    proxy.halfOpen('server');
    await soon(() => server.sockets.size).toBe(0);
    client.socket.write('into the void');
    await quiet();
    expect([client.fate, client.heard, proxy.connections]).toEqual(['open', 'hello ', 1]);
    client.socket.end();
    await soon(() => proxy.connections).toBe(0);
    await openAndGreet(); // a new connection is whole
  });

  it('a server does not notice that its client is gone', async () => {
    const client = await openAndGreet();
    proxy.halfOpen('client');
    await soon(() => client.fate).toBe('ended');
    for (const socket of server.sockets) socket.write('hello?');
    await quiet();
    expect([server.sockets.size, server.ends, server.closes]).toEqual([1, 0, 0]);
  });
});

describe('cuts', () => {
  it('after so many bytes from the server, once', async () => {
    const trap = proxy.cutAfter(10, 'to-client');
    const client = open();
    client.socket.write('0123');
    await soon(() => client.heard).toBe('0123');
    client.socket.write('456789abcdef');
    await soon(() => client.fate).not.toBe('open');
    expect([client.heard, trap.cuts]).toEqual(['0123456789', 1]);
    await soon(() => [server.sockets.size, proxy.connections]).toEqual([0, 0]);
    const next = await openAndGreet();
    next.socket.write('0123456789abcdef');
    await soon(() => next.heard).toBe('hello 0123456789abcdef');
  });

  it('after so many bytes to the server, counted for each connection, on two of them', async () => {
    const trap = proxy.cutAfter(4, 'to-server', { times: 2 });
    for (const [index, word] of ['first', 'second', 'third'].entries()) {
      const client = open();
      client.socket.write(word);
      await soon(() => (index < 2 ? client.fate !== 'open' : client.heard === word)).toBe(true);
    }
    expect([server.heard, trap.cuts]).toEqual(['firssecothird', 2]);
  });

  it('loses the reply of a COMMIT that was done, as often as asked, and no other', async () => {
    const trap = proxy.cutOn(commitReply);
    const client = await openAndGreet();
    client.socket.write('COMMIT');
    await trap.sprung;
    await soon(() => client.fate).not.toBe('open');
    expect([client.heard, server.commits, trap.cuts]).toEqual(['hello ', 1, 1]);
    const retry = await openAndGreet();
    retry.socket.write('COMMIT');
    await soon(() => retry.heard).toBe(`hello ${COMPLETE('COMMIT').toString('latin1')}`);
    expect([server.commits, trap.cuts]).toEqual([2, 1]);
  });

  it('can also lose the request, so that it is never done', async () => {
    const trap = proxy.cutOn((chunk, direction) => direction === 'to-server' && chunk.includes('COMMIT'));
    const client = await openAndGreet();
    client.socket.write('COMMIT');
    await soon(() => client.fate).not.toBe('open');
    await soon(() => server.sockets.size).toBe(0);
    expect([server.commits, trap.cuts]).toEqual([0, 1]);
  });

  it('a trap that is disarmed, or healed away, lets pass', async () => {
    const client = await openAndGreet();
    proxy.cutOn(() => true).disarm();
    client.socket.write('a');
    await soon(() => client.heard).toBe('hello a');
    const trap = proxy.cutOn(() => true);
    await proxy.pass();
    client.socket.write('b');
    await soon(() => client.heard).toBe('hello ab');
    expect(trap.cuts).toBe(0);
  });

  it('a test that throws cuts, too, and the fault is not lost', async () => {
    const client = await openAndGreet();
    const trap = proxy.cutOn(() => {
      throw new Error('the test is wrong');
    });
    client.socket.write('a');
    await expect(trap.sprung).rejects.toThrow('the test is wrong');
    await soon(() => client.fate).not.toBe('open');
  });
});

describe('what commitReply finds', () => {
  const reply = COMPLETE('COMMIT');
  const nothing = Buffer.alloc(0);

  it('the reply alone, among others, or shared by two chunks', () => {
    expect(commitReply(reply, 'to-client', nothing)).toBe(true);
    expect(
      commitReply(Buffer.concat([COMPLETE('INSERT 0 1'), reply, Buffer.from('Z\0\0\0\x05I')]), 'to-client', nothing),
    ).toBe(true);
    for (let at = 1; at < reply.length; at += 1) {
      const before = Buffer.concat([COMPLETE('SELECT 1'), reply.subarray(0, at)]);
      expect(commitReply(reply.subarray(at), 'to-client', before), `split at ${at}`).toBe(true);
    }
  });

  it('not the request, not another tag, not one that has already passed', () => {
    expect(commitReply(reply, 'to-server', nothing)).toBe(false);
    expect(commitReply(COMPLETE('ROLLBACK'), 'to-client', nothing)).toBe(false);
    expect(commitReply(COMPLETE('SELECT 1'), 'to-client', reply)).toBe(false);
  });
});

it('closes with everything that hangs, and takes no more', async () => {
  const hanging = await openAndGreet();
  proxy.blackHole();
  const fresh = open();
  hanging.socket.write('x');
  await soon(() => proxy.connections).toBe(2);
  await proxy.close();
  expect(proxy.connections).toBe(0);
  await soon(() => [hanging.fate, fresh.fate]).not.toContain('open');
  await soon(() => server.sockets.size).toBe(0);
  const late = open();
  await soon(() => late.fate).toBe('refused');
});
