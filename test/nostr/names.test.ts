import { createSocket } from 'node:dgram';
import dns from 'node:dns/promises';
import { once } from 'node:events';
import { syncBuiltinESMExports } from 'node:module';
import { expect, onTestFinished, test, vi } from 'vitest';
import { lookupForStrangers } from '../../src/platform/egress.ts';
import { note, relaysFor } from './stage.ts';

/** Names of relays that strangers name, and servers of names that say what a test wants them to say. */

/** Knows an address of the fourth family for every name, or says nothing at all. */
async function nameServer(address: number[] | null): Promise<string> {
  const socket = createSocket('udp4');
  onTestFinished(() => void socket.close());
  socket.on('message', (question, { port }) => {
    if (address === null) return;
    const end = question.indexOf(0, 12) + 5; // of the name, its type and its class (RFC 1035 §4.1.2)
    const isFourth = question.readUInt16BE(end - 4) === 1;
    const head = Buffer.from([...question.subarray(0, 2), 0x81, 0x80, 0, 1, 0, isFourth ? 1 : 0, 0, 0, 0, 0]);
    const answer = isFourth ? [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, ...address] : [];
    socket.send(Buffer.concat([head, question.subarray(12, end), Buffer.from(answer)]), port, '127.0.0.1');
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return `127.0.0.1:${socket.address().port}`;
}

test('a name is found by its server', async () => {
  const found = await lookupForStrangers('relay.example.com', [await nameServer([93, 184, 216, 34])]);
  expect(found).toEqual([{ address: '93.184.216.34', family: 4 }]);
});

test('one that nobody answers for is given up within seconds, and keeps nobody from finding another', async () => {
  const silent = await nameServer(null);
  const began = performance.now();
  const given = Array.from({ length: 64 }, (_, n) => lookupForStrangers(`n${n}.example.com`, [silent]));
  await dns.lookup('localhost');
  expect(performance.now() - began).toBeLessThan(1_500);
  expect((await Promise.all(given)).flat()).toEqual([]);
  expect(performance.now() - began).toBeLessThan(20_000);
});

test('the system is not asked for names that strangers give us: two unanswered ones keep all the others waiting', async () => {
  const system = vi.spyOn(dns, 'lookup');
  syncBuiltinESMExports();
  onTestFinished(() => {
    system.mockRestore();
    syncBuiltinESMExports();
  });
  await relaysFor([], { publishWithinMs: 300 }).publish(note(), ['wss://relay.invalid']);
  expect(system).not.toHaveBeenCalled();
});
