import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { expect, onTestFinished, test, vi } from 'vitest';
import { startRelay } from '../../sandbox/nostr/relay.ts';
import { publicKeyOf } from '../../src/platform/nostr/event.ts';
import { eventually } from '../harness/client.ts';
import { startProxy } from '../harness/tcp-proxy.ts';
import { hostileRelay } from './hostile-relay.ts';
import { listen, note, ourKey, relaysFor } from './stage.ts';

const text = (...message: unknown[]) => JSON.stringify(message);
const has = (heard: string[], content: string) =>
  eventually(
    async () => heard,
    (all) => all.includes(content),
  );

test('a relay that wants to know who we are is told (NIP-42), and then takes what was handed over before', async () => {
  const relay = await startRelay({ hostname: '127.0.0.1' });
  onTestFinished(() => relay.close());
  const ours = relaysFor([relay.url]);
  const event = note();
  expect((await ours.publish(event)).get(relay.url)).toEqual({ outcome: 'taken' });
  const unknown = relaysFor([relay.url], { key: null });
  expect((await unknown.publish(note())).get(relay.url)).toMatchObject({
    ...{ outcome: 'refused', reason: expect.stringMatching(/^auth-required/) },
  });
  expect(relay.control.events().map(({ id }) => id)).toEqual([event.id]);
});

test('a relay that ends a question until it knows us is asked again', async () => {
  const event = note();
  const relay = await hostileRelay(([type, first], say) => {
    if (type === 'REQ') {
      const isKnown = relay.heard.some(([said]) => said === 'AUTH');
      if (isKnown) for (const one of [text('EVENT', first, event), text('EOSE', first)]) say(one);
      else
        for (const one of [text('AUTH', 'a challenge'), text('CLOSED', first, 'auth-required: who are you?')]) say(one);
    }
    if (type === 'AUTH') say(text('OK', (first as { id: string }).id, true, ''));
  });
  const { heard } = listen(relaysFor([relay.url]));
  await has(heard, event.content);
  const introductions = relay.heard.filter(([type]) => type === 'AUTH').map(([, auth]) => auth);
  expect(introductions).toEqual([
    expect.objectContaining({
      ...{ kind: 22242, pubkey: publicKeyOf(ourKey) },
      tags: [
        ['relay', relay.url],
        ['challenge', 'a challenge'],
      ],
    }),
  ]);
});

test('a relay that does not believe us at first is told once more who we are, when it asks', async () => {
  const event = note();
  const introductions = () => relay.heard.filter(([type]) => type === 'AUTH').length;
  const relay = await hostileRelay(([type, first], say) => {
    if (type === 'REQ' && relay.heard.length === 1) say(text('AUTH', 'a challenge')); // NIP-42: for all of the connection
    if (type === 'REQ' && introductions() < 2) say(text('CLOSED', first, 'auth-required: who are you?'));
    else if (type === 'REQ') for (const one of [text('EVENT', first, event), text('EOSE', first)]) say(one);
    if (type === 'AUTH') say(text('OK', (first as { id: string }).id, introductions() > 1, 'error: not now'));
  });
  const { heard } = listen(relaysFor([relay.url]));
  await has(heard, event.content);
  expect([introductions(), relay.connections()]).toEqual([2, 1]);
});

test('a relay that ends a question a thousand times is asked again once', async () => {
  const waits = vi.spyOn(globalThis, 'setTimeout');
  onTestFinished(() => waits.mockRestore());
  const event = note();
  const relay = await hostileRelay(([type, id], say) => {
    if (type !== 'REQ') return;
    if (relay.heard.length === 1) for (let n = 0; n < 1_000; n += 1) say(text('CLOSED', id, 'error: not now'));
    else say(text('EVENT', id, event));
  });
  const { heard } = listen(relaysFor([relay.url], { catchUpEveryMs: 60_000 }));
  await has(heard, event.content); // by the look that follows a connection
  expect(waits.mock.calls.filter(([, ms]) => ms === 30_000)).toHaveLength(1);
});

test('a relay that asks again and again who we are is told five times', async () => {
  const event = note();
  const relay = await hostileRelay(([type, first], say) => {
    if (type === 'REQ') for (let n = 0; n < 50; n += 1) say(text('AUTH', `challenge ${n}`));
    if (type === 'REQ') say(text('EVENT', first, event));
    if (type === 'AUTH') say(text('OK', (first as { id: string }).id, false, 'restricted: never'));
    if (type === 'AUTH') say(text('AUTH', 'once more'));
  });
  const { heard } = listen(relaysFor([relay.url], { catchUpEveryMs: 60_000 }));
  await has(heard, event.content);
  await eventually(
    async () => relay.heard.filter(([type]) => type === 'AUTH').length,
    (count) => count >= 5,
  );
  await new Promise((resolve) => setTimeout(resolve, 100)); // for a sixth to come
  expect(relay.heard.filter(([type]) => type === 'AUTH')).toHaveLength(5);
});

test('what is no event, not asked for, or not signed is not told; what is no message is passed over', async () => {
  const good = note();
  const relay = await hostileRelay(([type, id], say) => {
    if (type !== 'REQ') return;
    const forged = { ...note(), sig: good.sig };
    const bad: unknown[] = [{}, null, 'x', forged, { ...good, sig: 'f'.repeat(128) }, { ...good, content: 'changed' }];
    const foreign = [note({ kind: 1 }), note({ tags: [] }), note({ created_at: 1_000 })];
    for (const one of ['{', 'null', '[]', '["NOTICE"]', text('EOSE', 'nobody'), text('OK', 5)]) say(one);
    say(Buffer.from([1, 2, 3]));
    for (const event of [...bad, ...foreign]) say(text('EVENT', id, event));
    say(text('EVENT', 'another', note()));
    // The right one last: the same id with a wrong signature has not taken its place.
    say(text('EVENT', id, good));
    say(text('EOSE', id));
  });
  const { heard } = listen(relaysFor([relay.url]));
  await has(heard, good.content);
  expect(heard).toEqual([good.content]);
});

test('a message without end ends the connection, and the relay is called again', async () => {
  const event = note();
  const relay = await hostileRelay(([type, id], say) => {
    if (type !== 'REQ') return;
    say(relay.connections() === 1 ? 'x'.repeat(1_000_000) : text('EVENT', id, event));
  });
  const { heard } = listen(relaysFor([relay.url]));
  await has(heard, event.content);
  expect(relay.connections()).toBeGreaterThan(1);
});

test('a network that is cut without a word is noticed, and the relay is called again by another way', async () => {
  const relay = await startRelay();
  const proxy = await startProxy({ target: { port: relay.port } });
  onTestFinished(async () => void (await Promise.all([proxy.close(), relay.close()])));
  const url = `ws://127.0.0.1:${proxy.port}`;
  const relays = relaysFor([url], { pingEveryMs: 200, catchUpEveryMs: 60_000 });
  const { heard } = listen(relays);
  await eventually(
    async () => relays.standing(),
    ([one]) => one?.isOpen === true,
  );
  proxy.halfOpen('server');
  const event = note();
  await relaysFor([relay.url], { key: null }).publish(event);
  await has(heard, event.content);
  expect(proxy.accepted).toBe(2);
});

test('a relay with more than one page is read to its end', async () => {
  const relay = await startRelay();
  onTestFinished(() => relay.close());
  const others = relaysFor([relay.url], { key: null });
  const key = new Uint8Array(32).fill(7);
  const at = Math.floor(Date.now() / 1000);
  const notes = Array.from({ length: 300 }, (_, n) => note({ content: `n${n}`, created_at: at - 1_000 - n }, key));
  await Promise.all(notes.map((one) => others.publish(one)));
  const { heard } = listen(relaysFor([relay.url]));
  await eventually(
    async () => heard.length,
    (count) => count === notes.length,
  );
});

test('… of all that is asked for, however old the one thing is that another question finds', async () => {
  const relay = await startRelay();
  onTestFinished(() => relay.close());
  const others = relaysFor([relay.url], { key: null });
  const at = Math.floor(Date.now() / 1000);
  const key = new Uint8Array(32).fill(7);
  const notes = Array.from({ length: 300 }, (_, n) => note({ content: `n${n}`, created_at: at - 1_000 - n }, key));
  const old = note({ kind: 5, content: 'old', created_at: at - 100_000 }, key);
  await Promise.all([...notes, old].map((one) => others.publish(one)));
  const { heard } = listen(relaysFor([relay.url]), {
    filters: (since) => [{ kinds: [5600], since }, { kinds: [5] }],
  });
  await eventually(
    async () => heard.length,
    (count) => count === notes.length + 1,
  );
});

/** A relay that tells so much at once, what it has kept at these times, and one that is older than all of them. */
async function kept(most: number, times: number[]) {
  const relay = await startRelay({ most });
  onTestFinished(() => relay.close());
  const others = relaysFor([relay.url], { key: null });
  const key = new Uint8Array(32).fill(7);
  const at = Math.floor(Date.now() / 1000) - 1_000;
  const notes = times.map((ago, n) => note({ content: `n${n}`, created_at: at - ago }, key));
  const older = note({ content: 'older', created_at: at - 2_000 }, key);
  await Promise.all([...notes, older].map((one) => others.publish(one)));
  return { url: relay.url, count: notes.length + 1 };
}
const inRow = (count: number) => Array.from({ length: count }, (_, n) => n);

test('… however little it gives at a time', async () => {
  const { url, count } = await kept(100, inRow(300));
  const { heard } = listen(relaysFor([url]));
  await eventually(
    async () => heard.length,
    (length) => length === count,
  );
});

test('more of one second than a relay tells at once hides nothing that is older', async () => {
  const { url } = await kept(100, Array<number>(150).fill(0));
  const { heard } = listen(relaysFor([url]));
  await has(heard, 'older');
});

test('a flood of more than is read at once is read to its end, and keeps no other question from being heard', async () => {
  const at = Math.floor(Date.now() / 1000) - 1_000;
  const forged = { ...note(), id: 'a'.repeat(64) };
  const flood = inRow(11_000).map((n) => ({ ...forged, created_at: at - Math.floor(n / 4) }));
  const [behind, other] = [note({ content: 'behind', created_at: at - 5_000 }), note({ content: 'other', kind: 5 })];
  const relay = await hostileRelay(([type, id, filter], say) => {
    if (type !== 'REQ') return;
    const { kinds, until = at + 2_000, limit = 0 } = filter as { kinds?: number[]; until?: number; limit?: number };
    const all = kinds?.includes(5) ? [other] : [...flood, behind];
    const told = all.filter(({ created_at }) => created_at <= until).slice(0, limit);
    for (const one of told) say(text('EVENT', id, one));
    say(text('EOSE', id));
  });
  const relays = relaysFor([relay.url], { catchUpEveryMs: 500 });
  const { heard } = listen(relays, {
    filters: (since) => [
      { kinds: [5600], since },
      { kinds: [5], since },
    ],
  });
  await has(heard, 'other');
  await has(heard, 'behind');
  await eventually(
    async () => relays.standing(),
    ([one]) => one?.caughtUpAt !== null,
  );
});

test('relays of strangers are handed what is for them, unless they lie where strangers have no business', async () => {
  const [ours, theirs] = [await startRelay(), await startRelay()];
  onTestFinished(async () => void (await Promise.all([ours.close(), theirs.close()])));
  const lookup = async (host: string) => [
    { address: host === 'evil.example.com' ? '127.0.0.1' : '93.184.216.34', family: 4 },
  ];
  const relays = relaysFor([ours.url], { allow: [`127.0.0.1:${theirs.port}`], lookup });
  const event = note();
  const named = [
    ...[
      '',
      'no address',
      'http://127.0.0.1/',
      'ws://public.example.com',
      `ws://localhost:${theirs.port}`,
      'wss://[::1]/',
    ],
    ...['wss://10.0.0.1', 'wss://user:pass@public.example.com', 'wss://public.example.com:22', 'wss://router.internal'],
    ...[theirs.url, theirs.url, ours.url, 'wss://evil.example.com', 'wss://public.example.com/#fragment'],
  ];
  const published = await relays.publish(event, named);
  expect(Object.fromEntries(published)).toEqual({
    [ours.url]: { outcome: 'taken' },
    [theirs.url]: { outcome: 'taken' },
    'wss://evil.example.com': { outcome: 'unknown', reason: 'no_connection' },
    'wss://public.example.com/#fragment': { outcome: 'unknown', reason: 'no_connection' },
  });
  await eventually(
    async () => theirs.control.connections(),
    (count) => count === 0, // nobody stays there
  );
  const many = Array.from({ length: 20 }, (_, n) => `ws://127.0.0.1:${theirs.port}/${n}`);
  expect((await relays.publish(note(), many)).size, 'our own and eight').toBe(9);
});

test('a relay of ours that somebody names in another spelling is not called twice', async () => {
  const [ours, theirs] = [await startRelay(), await startRelay()];
  onTestFinished(async () => void (await Promise.all([ours.close(), theirs.close()])));
  const relays = relaysFor([ours.url], { allow: [`127.0.0.1:${ours.port}`, `127.0.0.1:${theirs.port}`] });
  const named = [`${ours.url}/`, ours.url.replace('ws', 'WS'), theirs.url, `${theirs.url}/`];
  expect((await relays.publish(note(), named)).size).toBe(2);
});

test.each([
  ['talks without end', '["NOTICE","x"]'],
  ['babbles', 'x'],
  ['has much to say at once', `["NOTICE","${'x'.repeat(200_000)}"]`],
])('a relay of a stranger that %s is not listened to', async (_, what) => {
  let isOver = false;
  const relay = await hostileRelay((_message, say, socket) => {
    socket.on('close', () => {
      isOver = true;
    });
    const talk = () => {
      for (let n = 0; n < 20 && !isOver; n += 1) say(what);
      if (!isOver) setTimeout(talk, 5);
    };
    talk();
  });
  const relays = relaysFor([], { allow: [new URL(relay.url).host] });
  const began = performance.now();
  await relays.publish(note(), [relay.url]);
  expect(performance.now() - began, 'milliseconds, of the eight thousand that an answer has time').toBeLessThan(4_000);
});

test('strangers are called by the dozen and not by the thousand', async () => {
  const calls = new Set<Socket>();
  const silent = createServer((socket) => void calls.add(socket)).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  onTestFinished(() => {
    for (const socket of calls) socket.destroy();
    silent.close();
  });
  const at = `127.0.0.1:${(silent.address() as AddressInfo).port}`;
  const ours = await startRelay();
  onTestFinished(() => ours.close());
  const relays = relaysFor([ours.url], { allow: [at] });
  const named = (of: number) => Array.from({ length: 8 }, (_, n) => `ws://${at}/${of}/${n}`);
  await Promise.all(
    Array.from({ length: 20 }, (_, n) => new Promise<void>((taken) => void relays.publish(note(), named(n), taken))),
  );
  await eventually(
    async () => calls.size,
    (count) => count >= 64,
  );
  expect(calls.size).toBe(64);
});

test('what a relay will not have is told with its reason', async () => {
  const relay = await hostileRelay(([type, event], say) => {
    if (type === 'EVENT') say(text('OK', (event as { id: string }).id, false, 'blocked: not here'));
  });
  const published = await relaysFor([relay.url]).publish(note());
  expect(published.get(relay.url)).toEqual({ outcome: 'refused', reason: 'blocked: not here' });
});
