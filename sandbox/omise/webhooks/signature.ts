import { createHmac } from 'node:crypto';

/**
 * `Omise-Signature`: hex HMAC-SHA256 over timestamp, a dot and the raw body, keyed with the decoded secret. While a
 * secret is being rotated there are two values, separated by a comma.
 */
export function signatures(secrets: string[], timestamp: string, body: string): string {
  return secrets.map((secret) => signature(secret, timestamp, body)).join(',');
}

function signature(secret: string, timestamp: string, body: string): string {
  return createHmac('sha256', Buffer.from(secret, 'base64')).update(`${timestamp}.${body}`).digest('hex');
}

/** As long and as hexadecimal as the true one, and wrong. */
export function corrupted(value: string): string {
  return value.replaceAll(/[0-9a-f]/g, (digit) => (15 - Number.parseInt(digit, 16)).toString(16));
}
