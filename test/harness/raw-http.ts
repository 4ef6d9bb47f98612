import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/** HTTP as bytes on a socket: what no well-behaved client sends. */

export interface RawReply {
  status: number;
  headers: Headers;
  text: string;
}

const portOf = (url: string) => Number(new URL(url).port);

export async function dial(url: string): Promise<Socket> {
  const socket = connect(portOf(url), '127.0.0.1');
  socket.on('error', () => {}); // a reset is an answer, too
  await once(socket, 'connect');
  return socket;
}

/** Sends bytes and collects what comes back until the other side closes, or `withinMs` are over. */
export async function exchange(
  url: string,
  bytes: string | Buffer,
  withinMs = 3_000,
): Promise<{ bytes: string; closed: boolean }> {
  const socket = await dial(url);
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  const closed = new Promise<boolean>((done) => socket.once('close', () => done(true)));
  socket.write(bytes);
  const isClosed = await Promise.race([
    closed,
    new Promise<boolean>((done) => setTimeout(done, withinMs, false).unref()),
  ]);
  socket.destroy();
  return { bytes: Buffer.concat(chunks).toString('utf8'), closed: isClosed };
}

/** The replies in a stream of bytes; bodies by Content-Length. */
export function repliesIn(bytes: string): RawReply[] {
  const replies: RawReply[] = [];
  let rest: Buffer = Buffer.from(bytes);
  for (;;) {
    const end = rest.indexOf('\r\n\r\n');
    if (end < 0) return replies;
    const [first = '', ...lines] = rest.subarray(0, end).toString('utf8').split('\r\n');
    const headers = new Headers(lines.map((line) => line.split(/: ?(.*)/s, 2) as [string, string]));
    const length = Number(headers.get('content-length') ?? 0);
    const body = rest.subarray(end + 4, end + 4 + length);
    replies.push({ status: Number(first.split(' ')[1]), headers, text: body.toString('utf8') });
    rest = rest.subarray(end + 4 + length);
  }
}

/** One request whose connection ends with the reply; the first reply. */
export async function ask(url: string, bytes: string | Buffer): Promise<RawReply> {
  const answer = await exchange(url, bytes);
  const [reply] = repliesIn(answer.bytes);
  if (!reply) throw new Error(`no reply: ${JSON.stringify(answer)}`);
  return reply;
}
