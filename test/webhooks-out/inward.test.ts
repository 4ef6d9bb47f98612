import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fromWire } from '../../src/platform/ids.ts';
import { eventually, type Json } from '../harness/client.ts';
import { letTimePass, type Mailbox, openMailbox } from './mailbox.ts';
import { status } from './receiver.ts';

/** Addresses that were good when they were written down and lead inward when they are called. */

let box: Mailbox;
beforeAll(async () => {
  box = await openMailbox();
});
afterAll(() => box.close());

const deliveryOf = ({ customer, endpoint, deliveries }: Awaited<ReturnType<Mailbox['subscriber']>>) =>
  eventually(
    async () => {
      const [one] = await deliveries();
      return one && customer.ok('GET', `/v1/webhook-endpoints/${endpoint.id}/deliveries/${one.id}`);
    },
    (one: Json) => one?.attempt_log.length > 0,
  );

const vectors = [
  'https://127.0.0.1/',
  'https://[::1]/',
  'https://[::ffff:127.0.0.1]/',
  'https://169.254.169.254/latest/meta-data/',
  'https://[64:ff9b::a9fe:a9fe]/',
  'https://10.1.2.3/',
  'https://localhost/',
  'http://127.0.0.1:1/',
];

test('none of them is called, and the event waits for a better one', async () => {
  const inward = async (url: string) => {
    const ada = await box.subscriber();
    await box.root`update platform.webhook_endpoints set url = ${url} where id = ${fromWire('webhookEndpoint', ada.endpoint.id)}`;
    await ada.happen(randomUUID(), 1);
    const { state, attempt_log } = await deliveryOf(ada);
    expect(['pending', 'sending'], url).toContain(state); // by chance the second attempt is due at once
    for (const attempt of attempt_log) expect(attempt, url).toMatchObject({ error: 'blocked', status: null });
    const patch = { body: { url: box.receiver.url + ada.path } };
    await ada.customer.ok('PATCH', `/v1/webhook-endpoints/${ada.endpoint.id}`, patch);
    await letTimePass(box.root, ada.endpoint, 1);
    await ada.hears([1]);
  };
  await Promise.all(vectors.map(inward));
});

test('a redirect inward is not followed', async () => {
  let calls = 0;
  const inner = createServer((_, response) => {
    calls += 1;
    response.end();
  });
  await new Promise<void>((resolve) => {
    inner.listen(0, '127.0.0.1', resolve);
  });
  const ada = await box.subscriber();
  const location = `http://127.0.0.1:${(inner.address() as AddressInfo).port}/`;
  box.receiver.answer(ada.path, status(307, { location }));
  await ada.happen(randomUUID(), 1);
  const { attempt_log } = await deliveryOf(ada);
  expect(attempt_log[0]).toMatchObject({ error: 'redirected', status: 307 });
  expect(calls).toBe(0);
  inner.close();
});
