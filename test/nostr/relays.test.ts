import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, onTestFinished, test } from 'vitest';
import { eventually } from '../harness/client.ts';
import { listen, makers, note, now, relaysFor, type TestRelay } from './stage.ts';

const started = async (make: () => Promise<TestRelay>) => {
  const relay = await make();
  onTestFinished(() => relay.close());
  return relay;
};
/** Somebody else's connection, by which events get to a relay. */
const publisher = (relay: TestRelay) => relaysFor([relay.url], { key: null });
const isOpen = (relays: ReturnType<typeof relaysFor>) =>
  eventually(
    async () => relays.standing(),
    (all) => all.every((one) => one.isOpen),
  );
const hears = (heard: string[], wanted: string[]) =>
  eventually(
    async () => [...heard].sort(),
    (now) => wanted.every((content) => now.includes(content)),
  ).then(() => expect([...heard].sort()).toEqual([...wanted].sort()));

describe.each(Object.entries(makers))('a relay by %s', (_, make) => {
  test('what it had kept, what is published now, and what is dated back are heard, each once', async () => {
    const relay = await started(make);
    const others = publisher(relay);
    const [kept, live, old] = [note(), note(), note({ created_at: now() - 3_000 })];
    expect(await others.publish(kept)).toEqual(new Map([[relay.url, { outcome: 'taken' }]]));
    const { heard } = listen(relaysFor([relay.url]));
    await hears(heard, [kept.content]);
    await others.publish(live);
    await others.publish(old);
    await others.publish(live);
    await hears(
      heard,
      [kept, live, old].map(({ content }) => content),
    );
  });

  test('it may be killed and come back: everything that it had meanwhile is heard', async () => {
    const relay = await started(make);
    const relays = relaysFor([relay.url], { catchUpEveryMs: 60_000 }); // it is the connection that makes us ask
    const { heard } = listen(relays);
    await isOpen(relays);
    relay.cut();
    const others = publisher(relay);
    const [one, other] = [note({ created_at: now() - 900 }), note({ created_at: now() - 900 })];
    await others.publish(one);
    await hears(heard, [one.content]);
    await relay.vanish();
    const waiting = others.publish(other); // handed over as soon as it is there again
    await relay.comeBack();
    expect((await waiting).get(relay.url)).toEqual({ outcome: 'taken' });
    await hears(heard, [one.content, other.content]);
  });

  test('an event from tomorrow makes nobody deaf', async () => {
    const relay = await started(make);
    const others = publisher(relay);
    const relays = relaysFor([relay.url]);
    const { heard } = listen(relays);
    const future = [note({ created_at: now() + 86_400 }), note({ created_at: now() + 600 })];
    const taken = [];
    for (const event of future) {
      const { outcome } = (await others.publish(event)).get(relay.url) ?? {};
      if (outcome === 'taken') taken.push(event.content); // not all relays take every time
    }
    expect(taken).not.toEqual([]);
    await hears(heard, taken);
    relay.cut();
    const today = note();
    await others.publish(today);
    await hears(heard, [...taken, today.content]);
  });

  test('an event that could not be kept is told again, and only then the relay counts as heard', async () => {
    const relay = await started(make);
    const event = note();
    await publisher(relay).publish(event);
    const heard: string[] = [];
    let failures = 0;
    const caughtUp: number[] = [];
    listen(relaysFor([relay.url]), {
      onEvent: async ({ content }) => {
        failures += 1;
        if (failures < 3) throw new Error('the database is away');
        heard.push(content);
      },
      onCaughtUp: async () => void caughtUp.push(failures),
    });
    await hears(heard, [event.content]);
    await eventually(
      async () => caughtUp,
      (all) => all.length > 0,
    );
    expect(caughtUp[0]).toBe(3);
  });
});

test('the same from two relays is heard once, and one that is away is called again without end', async () => {
  const [one, other] = await Promise.all(Object.values(makers).map(started));
  if (!one || !other) throw new Error('two makers');
  await other.vanish();
  const { heard } = listen(relaysFor([one.url, other.url]));
  const others = relaysFor([one.url, other.url], { key: null });
  const [first, second] = [note(), note()];
  const waiting = others.publish(first);
  await other.comeBack();
  expect([...(await waiting).values()]).toEqual([{ outcome: 'taken' }, { outcome: 'taken' }]);
  await others.publish(second);
  await hears(heard, [first.content, second.content]);
});

test('what nobody follows any more is forgotten', async () => {
  setFlagsFromString('--expose-gc');
  const collect: () => void = runInNewContext('gc');
  const relays = relaysFor(['ws://127.0.0.1:1']);
  const followAndLeave = () => {
    const interest = { filters: () => [], startAt: async () => new Date(), onEvent: async () => {} };
    relays.follow(interest)();
    return new WeakRef(interest);
  };
  const left = followAndLeave();
  await eventually(
    async () => {
      collect();
      return left.deref() === undefined;
    },
    (isForgotten) => isForgotten,
  );
});
