import { createServer as createPlainServer, type RequestListener } from 'node:http';
import { createServer as createTlsServer, type ServerOptions } from 'node:https';
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createEgress, type Egress, EgressFault } from '../../src/platform/egress.ts';

/** A call as such: how long, how large, over which TLS, and what happens to it at shutdown. */

// Made for this file alone by `openssl req -x509 -newkey ec … -days 36500`, for localhost.
const CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBqjCCAU+gAwIBAgIUGANXtr696UBBYd3AE0uv5zVbopowCgYIKoZIzj0EAwIw
HjEcMBoGA1UEAwwTRXhlY3V0b3IsIHRlc3Qgb25seTAgFw0yNjExMjIwNTQ4Mjha
GA8yMTI2MTAyOTA1NDgyOFowHjEcMBoGA1UEAwwTRXhlY3V0b3IsIHRlc3Qgb25s
eTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABBXBQl5UECNTMyIWetnpn1YvF1XX
14S16RVXfffWF1EukRgWYjlK0J/p6HQsmraA2W4zZDChR+CvMf4U0+vnYJajaTBn
MB0GA1UdDgQWBBS9jC4TFZavWZHv3Hpd8s6JiatA7DAfBgNVHSMEGDAWgBS9jC4T
FZavWZHv3Hpd8s6JiatA7DAPBgNVHRMBAf8EBTADAQH/MBQGA1UdEQQNMAuCCWxv
Y2FsaG9zdDAKBggqhkjOPQQDAgNJADBGAiEAmfNt+xlzL8ds1J1e9YBHZlU7w+mE
A+9T/JUd2tbmwJkCIQCtFY+jwMu2DKxe3xA/hKJI7rUYZ1fT2MaWDiwX/hzfAg==
-----END CERTIFICATE-----`;
const PRIVATE_KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgMCmXEq2zsUNL8icM
Z8tCGlOCXp5tJ/hQoIY2tIuJEQChRANCAAQVwUJeVBAjUzMiFnrZ6Z9WLxdV19eE
tekVV3331hdRLpEYFmI5StCf6eh0LJq2gNluM2QwoUfgrzH+FNPr52CW
-----END PRIVATE KEY-----`;

async function portOf(server: Server): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => sockets.add(socket));
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return (server.address() as AddressInfo).port;
}
function egressFor(port: number, options: { closeWithinMs?: number } = {}): Egress {
  const egress = createEgress([`127.0.0.1:${port}`, `localhost:${port}`], options);
  onTestFinished(() => egress.close());
  return egress;
}
const post = (egress: Egress, url: string, timeoutMs = 2_000) =>
  egress.post(url, { headers: { 'content-type': 'application/json' }, body: '{}', timeoutMs }).then(
    (reply) => ({ status: reply.status, size: reply.body.length, kind: 'answered', message: '' }),
    (fault: unknown) => {
      if (!(fault instanceof EgressFault)) throw fault;
      return { status: 0, size: 0, kind: fault.kind, message: fault.message };
    },
  );
const plain = async (listener: RequestListener) => {
  const port = await portOf(createPlainServer(listener));
  return { port, url: `http://127.0.0.1:${port}/`, egress: egressFor(port) };
};
const raw = async (serve: (socket: Socket) => void) => {
  const port = await portOf(
    createTcpServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', () => serve(socket));
    }),
  );
  return { port, url: `http://127.0.0.1:${port}/`, egress: egressFor(port) };
};

describe('size', () => {
  test('an answer of a mebibyte is read, one byte more is not, whatever it announces', async () => {
    const { egress, url } = await plain((request, response) => {
      const bytes = Number(new URL(request.url ?? '/', 'http://x').searchParams.get('n'));
      if (request.url?.includes('declared')) response.setHeader('content-length', bytes);
      response.end('a'.repeat(bytes));
    });
    expect(await post(egress, `${url}?n=${1024 * 1024}`)).toMatchObject({ status: 200, size: 1024 * 1024 });
    for (const query of [`n=${1024 * 1024 + 1}`, `n=${50 * 1024 * 1024}`, `n=${50 * 1024 * 1024}&declared`]) {
      expect((await post(egress, `${url}?${query}`)).kind, query).toBe('too_large');
    }
  });

  test('a flood without end is cut off at once, and not read on', async () => {
    let sent = 0;
    const { egress, url } = await plain((_, response) => {
      const chunk = Buffer.alloc(64 * 1024);
      const flood = () => {
        while (!response.destroyed && response.write(chunk)) sent += chunk.length;
        sent += chunk.length;
        if (!response.destroyed) response.once('drain', flood);
      };
      flood();
    });
    expect((await post(egress, url)).kind).toBe('too_large');
    await sleep(100);
    const after = sent;
    await sleep(100);
    expect(sent).toBe(after);
    expect(sent).toBeLessThan(32 * 1024 * 1024);
  });

  test('headers have their bound, too', async () => {
    const { egress, url } = await raw((socket) => socket.write(`HTTP/1.1 200 OK\r\nx: ${'a'.repeat(70_000)}\r\n\r\n`));
    expect((await post(egress, url)).kind).toBe('network');
  });

  test('what is packed is not unpacked', async () => {
    const { egress, url } = await plain((request, response) => {
      expect(request.headers['accept-encoding']).toBeUndefined();
      response.writeHead(200, { 'content-encoding': 'gzip' }).end(Buffer.alloc(100));
    });
    expect(await post(egress, url)).toMatchObject({ status: 200, size: 100 });
  });
});

describe('time: one limit for the whole call', () => {
  test.each<[string, (socket: Socket) => void]>([
    ['silence', () => {}],
    ['a head that comes byte by byte', (socket) => drip(socket, 'HTTP/1.1 200 OK\r\nx: y')],
    ['a body that comes byte by byte', (socket) => drip(socket, 'HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n')],
    [
      'chunks without end',
      (socket) => drip(socket, 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n', '1\r\na\r\n'),
    ],
    ['promises of more to come', (socket) => drip(socket, '', 'HTTP/1.1 102 Processing\r\n\r\n')],
  ])('%s', async (_, serve) => {
    const { egress, url } = await raw(serve);
    const began = performance.now();
    const { kind, message } = await post(egress, url, 300);
    expect([kind, message]).toEqual(['timeout', 'No complete reply within 300 ms.']);
    expect(performance.now() - began).toBeGreaterThan(280);
    expect(performance.now() - began).toBeLessThan(1_500);
  });

  const drip = (socket: Socket, head: string, each = 'a') => {
    socket.write(head);
    const timer = setInterval(() => socket.write(each), 20);
    socket.once('close', () => clearInterval(timer));
  };
});

test('redirects are answers, and nobody follows them', async () => {
  let visits = 0;
  const { egress, url, port } = await plain((request, response) => {
    visits += 1;
    const status = Number(request.url?.slice(1));
    response.writeHead(status, { location: `http://127.0.0.1:${port}/200` }).end();
  });
  for (const status of [301, 302, 303, 307, 308]) expect((await post(egress, `${url}${status}`)).status).toBe(status);
  expect(visits).toBe(5);
});

describe('TLS', () => {
  const secure = async (options: ServerOptions = {}) => {
    const server = createTlsServer({ key: PRIVATE_KEY, cert: CERTIFICATE, ...options }, (_, response) =>
      response.end('ok'),
    );
    server.on('tlsClientError', () => {});
    const port = await portOf(server);
    return { port, egress: egressFor(port) };
  };

  test('a certificate that nobody vouches for is refused', async () => {
    const { port, egress } = await secure();
    expect(await post(egress, `https://localhost:${port}/`)).toMatchObject({
      kind: 'network',
      message: 'The connection failed (DEPTH_ZERO_SELF_SIGNED_CERT).',
    });
  });

  test('a trusted one is good for its own name only', async () => {
    const before = getCACertificates('default');
    onTestFinished(() => setDefaultCACertificates(before));
    setDefaultCACertificates([...before, CERTIFICATE]);
    const { port, egress } = await secure();
    expect((await post(egress, `https://localhost:${port}/`)).status).toBe(200);
    expect((await post(egress, `https://127.0.0.1:${port}/`)).message).toContain('ERR_TLS_CERT_ALTNAME_INVALID');
  });

  test.each(['TLSv1', 'TLSv1.1'] as const)('%s is too old', async (version) => {
    const { port, egress } = await secure({ minVersion: version, maxVersion: version, ciphers: 'DEFAULT@SECLEVEL=0' });
    const { kind, message } = await post(egress, `https://localhost:${port}/`);
    expect(kind).toBe('network');
    expect(message).toMatch(/PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL/);
  });

  test('a plain server behind https is no server', async () => {
    const { port, egress } = await plain((_, response) => void response.end('ok'));
    expect((await post(egress, `https://localhost:${port}/`)).kind).toBe('network');
  });
});

describe('at shutdown', () => {
  const slow = async (ms: number, closeWithinMs: number) => {
    const port = await portOf(createPlainServer((_, response) => void setTimeout(() => response.end('ok'), ms)));
    const egress = egressFor(port, { closeWithinMs });
    const url = `http://127.0.0.1:${port}/`;
    const call = post(egress, url, 10_000);
    await sleep(50);
    return { egress, url, call };
  };

  test('a call in hand is finished, and no other one is begun', async () => {
    const { egress, url, call } = await slow(300, 5_000);
    expect(egress.isClosing).toBe(false);
    const closed = egress.close();
    expect(egress.isClosing).toBe(true);
    expect((await post(egress, url)).kind).toBe('unsent');
    expect((await call).status).toBe(200);
    const began = performance.now();
    await closed;
    expect(performance.now() - began).toBeLessThan(1_000);
  });

  test('a call that takes too long is cut', async () => {
    const { egress, call } = await slow(60_000, 100);
    await egress.close();
    expect((await call).kind).toBe('cut');
  });
});

test('a fault of the network is told by its code, without an address', async () => {
  const { egress, url } = await raw((socket) => socket.resetAndDestroy());
  const { kind, message } = await post(egress, url);
  expect(kind).toBe('network');
  expect(message).toMatch(/^The connection failed \([A-Z_]+\)\.$/);
});
