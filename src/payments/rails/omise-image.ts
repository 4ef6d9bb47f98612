import { type Agent, request } from 'undici';
import type { Outcome } from './rail.ts';

const MAX_IMAGE_BYTES = 512 * 1024;
const IMAGE_TYPES = new Set(['image/png', 'image/svg+xml']);

/** QR images lie at the provider and may want the secret key, which goes nowhere else. */
export async function fetchImage(
  uri: string,
  from: { origin: string; secretKey: string; deadlineMs: number; agent: Agent },
): Promise<Outcome<{ type: string; bytes: Buffer }>> {
  if (!URL.canParse(uri) || new URL(uri).origin !== from.origin)
    return { outcome: 'rejected', code: 'foreign_image', message: 'not an image of the provider' };
  try {
    const authorization = `Basic ${Buffer.from(`${from.secretKey}:`).toString('base64')}`;
    const signal = AbortSignal.timeout(from.deadlineMs);
    const reply = await request(uri, { headers: { authorization }, dispatcher: from.agent, signal });
    const type = String(reply.headers['content-type']).split(';', 1)[0] ?? '';
    if (reply.statusCode !== 200 || !IMAGE_TYPES.has(type)) {
      await reply.body.dump();
      return { outcome: 'unavailable', reason: `http_${reply.statusCode}` };
    }
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of reply.body) {
      size += chunk.length;
      if (size > MAX_IMAGE_BYTES)
        return { outcome: 'rejected', code: 'image_too_large', message: 'the image is too large' };
      chunks.push(chunk);
    }
    return { outcome: 'ok', value: { type, bytes: Buffer.concat(chunks) } };
  } catch {
    return { outcome: 'unavailable', reason: 'no_image' };
  }
}
