import { createHmac } from 'node:crypto';

/**
 * Standard Webhooks 1.0.0: the headers of a signed call. Signed is `id.timestamp.body`; with several secrets, as while
 * one is being replaced, there are several signatures, and the receiver accepts any.
 */
export function signedHeaders(id: string, body: string, secrets: string[], now: Date): Record<string, string> {
  const timestamp = Math.floor(now.getTime() / 1000).toString();
  const signatures = secrets.map((secret) => {
    const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
    return `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`;
  });
  return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures.join(' ') };
}
