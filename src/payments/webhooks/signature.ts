import { createHmac, timingSafeEqual } from 'node:crypto';

const TOLERANCE_S = 300;

/**
 * Gate 1 of the webhook receiver. `Omise-Signature` holds one hex HMAC-SHA256 over timestamp, dot and raw body, or two
 * while the secret is being rotated; `Omise-Signature-Timestamp` the Unix seconds. The key is the base64-decoded secret.
 */
export function isSigned(
  headers: { signature: string | undefined; timestamp: string | undefined },
  rawBody: Buffer,
  secrets: string[],
  nowMs: number,
): boolean {
  const { signature, timestamp } = headers;
  if (signature === undefined || timestamp === undefined || !/^\d{1,12}$/.test(timestamp)) return false;
  if (Math.abs(nowMs / 1000 - Number(timestamp)) > TOLERANCE_S) return false;
  const given = signature
    .split(',')
    .slice(0, 4)
    .map((part) => part.trim())
    .filter((part) => /^[0-9a-f]{64}$/i.test(part))
    .map((part) => Buffer.from(part, 'hex'));
  const expected = secrets
    .map((secret) => Buffer.from(secret, 'base64'))
    .filter((key) => key.length > 0)
    .map((key) => createHmac('sha256', key).update(`${timestamp}.`).update(rawBody).digest());
  // Every pair is compared, so that the time taken does not tell which secret matched.
  const matches = expected.flatMap((wanted) => given.map((one) => timingSafeEqual(wanted, one)));
  return matches.includes(true);
}
