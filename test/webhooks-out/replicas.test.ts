import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startFarebox, type TestFarebox } from '../harness/farebox.ts';
import { letTimePass, type Mailbox, openMailbox } from './mailbox.ts';
import { silence, status } from './receiver.ts';

/** Three replicas with all workers on share what is to be delivered. */

let box: Mailbox;
let others: TestFarebox[];
beforeAll(async () => {
  box = await openMailbox();
  const { database, omise, environment } = box.farebox;
  const another = () => startFarebox({ database, omise, env: { ...environment, PORT: '0' } });
  others = await Promise.all([another(), another()]);
});
afterAll(async () => {
  await Promise.all(others.map((one) => one.stop()));
  await box.close();
});

const upTo = (end: number) => Array.from({ length: end }, (_, n) => n);

// Accounts used to be told of each other's events when they had a subject in common.
test('nothing is delivered twice or to others, and each subject stays in order', async () => {
  const readers = await Promise.all(upTo(4).map(() => box.subscriber()));
  const runs = upTo(10).map(() => randomUUID());
  const tell = (n: number) => Promise.all(readers.flatMap((one) => runs.map((run) => one.happen(run, n))));
  for (const n of upTo(5)) await tell(n);
  for (const one of readers) {
    await one.reaches((all) => all.length === 50 && all.every(({ state }) => state === 'delivered'));
    expect(one.letters()).toHaveLength(50);
    for (const run of runs) expect(one.heard(run)).toEqual(upTo(5));
  }
});

test('an endpoint that never answers holds four calls of all replicas together', async () => {
  const ada = await box.subscriber();
  box.receiver.answer(ada.path, silence);
  for (const n of upTo(40)) await ada.happen(randomUUID(), n);
  await ada.reaches((all) => all.filter(({ state }) => state === 'sending').length === 4);
  const bob = await box.subscriber();
  await bob.happen(randomUUID(), 1);
  await bob.hears([1]);
  expect(box.receiver.open.get(ada.path)?.most).toBe(4);
});

test('an endpoint that comes and goes misses nothing', async () => {
  const ada = await box.subscriber();
  const runs = upTo(5).map(() => randomUUID());
  box.receiver.answer(ada.path, (response, letter) => {
    if (Math.random() < 0.5) response.destroy();
    else status(204)(response, letter);
  });
  for (const n of upTo(4)) await Promise.all(runs.map((run) => ada.happen(run, n)));
  for (let done = false; !done; ) {
    await letTimePass(box.root, ada.endpoint, 0.05); // all in all less than the three days after which it is given up
    await sleep(50);
    const all = await ada.deliveries();
    done = all.length === 20 && all.every(({ state }) => state === 'delivered');
  }
  for (const run of runs) {
    const heard = ada.heard(run);
    expect(heard, 'never an earlier one after a later one').toEqual(heard.toSorted((a, b) => a - b));
    expect(new Set(heard)).toEqual(new Set(upTo(4)));
  }
});
