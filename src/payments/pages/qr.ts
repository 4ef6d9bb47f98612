import type { FastifyReply } from 'fastify';
import { Problem, retryLater } from '../../platform/http/problem.ts';
import type { PurchaseView } from '../purchases/read.ts';
import type { Rail } from '../rails/rail.ts';

/** Sends our copy of a purchase's QR image: the payer's browser never talks to the provider. */
export async function sendQr(
  reply: FastifyReply,
  rail: Rail,
  { purchase, attempt }: PurchaseView,
): Promise<FastifyReply> {
  if (purchase.state !== 'pending' || attempt?.state !== 'pending' || !attempt.qrUri)
    throw new Problem('not_found', 'There is no QR code to pay with.');
  const image = await rail.image(attempt.qrUri);
  if (image.outcome !== 'ok') throw retryLater('provider_unavailable', 5);
  return (
    reply
      .type(image.value.type)
      .header('Cache-Control', 'private, max-age=300')
      // An SVG that is opened by itself is a document: it may do nothing.
      .header('Content-Security-Policy', "default-src 'none'; style-src 'unsafe-inline'; sandbox")
      .send(image.value.bytes)
  );
}
