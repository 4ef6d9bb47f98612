import { createHmac, randomBytes } from 'node:crypto';
import type { Json, Reply } from '../harness/client.ts';
import { omiseKeys } from '../harness/farebox.ts';

/** Notifications by hand: signed as the vendor's documentation says, or not. */

export const idFor = (kind: string) => `${kind}_test_5${randomBytes(9).toString('hex')}`;

/** An event about an object, with an id of its own. */
export const eventAbout = (data: Json, key = 'charge.complete', more: Json = {}): Json => ({
  object: 'event',
  id: idFor('evnt'),
  livemode: false,
  key,
  created_at: '2025-03-20T09:41:53Z',
  data,
  ...more,
});

export const nowS = () => String(Math.floor(Date.now() / 1000));

export const sign = (body: string | Buffer, timestamp = nowS(), secret = omiseKeys.webhookSecret): string =>
  createHmac('sha256', Buffer.from(secret, 'base64')).update(`${timestamp}.`).update(body).digest('hex');

export const sealed = (body: string | Buffer, timestamp = nowS(), secret = omiseKeys.webhookSecret) => ({
  'omise-signature': sign(body, timestamp, secret),
  'omise-signature-timestamp': timestamp,
});

/** Posts bytes as they are. Signed with the secret of the tests unless headers are given. */
export async function post(
  farebox: { url: string },
  body: Json | string,
  headers?: Record<string, string>,
): Promise<Pick<Reply, 'status' | 'body'>> {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const reply = await fetch(`${farebox.url}/v1/webhooks/omise`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(headers ?? sealed(text)) },
    body: text,
  });
  return { status: reply.status, body: await reply.json().catch(() => null) };
}
