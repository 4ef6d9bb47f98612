import { and, asc, desc, eq, isNull } from 'drizzle-orm';
import { z } from 'zod';
import type { ServiceDid } from '../../identity/index.ts';
import type { Db } from '../../platform/database/clients.ts';
import { Problem } from '../../platform/http/problem.ts';
import { idOut, time } from '../../platform/http/wire.ts';
import { toWire } from '../../platform/ids.ts';
import type { PaymentRequest } from './history.ts';
import { completions, settlements } from './tables.ts';

/** What a payer and a merchant keep: that the request was paid, by which transfers, signed by our own DID. */

/** So that it can be taken for nothing else (RFC 8725 §3.11). */
const RECEIPT_TYPE = 'payment-receipt+jwt';

export const ReceiptOut = z
  .object({
    object: z.literal('receipt'),
    id: idOut('receipt'),
    payment_request: idOut('paymentRequest'),
    issuer: z.string().describe('did:key that has signed; /.well-known/did.json says that it is ours'),
    jws: z.string().describe('JSON Web Signature in compact form; any DID library verifies it, without us'),
  })
  .meta({ id: 'Receipt' });

/** The receipt of a request that is complete, always the same; 409 for any other. */
export async function receiptOf(
  { db, serviceDid }: { db: Db; serviceDid: ServiceDid },
  request: PaymentRequest,
): Promise<z.infer<typeof ReceiptOut>> {
  const [completion] = await db
    .select()
    .from(completions)
    .where(and(eq(completions.requestId, request.id), isNull(completions.reversedAt)))
    .orderBy(desc(completions.createdAt));
  if (!completion)
    throw new Problem('conflict', `The payment request is ${request.state}; a receipt is for one that is completed.`);
  const id = toWire('receipt', completion.id);
  const { issuer, jws } = await serviceDid.sign(RECEIPT_TYPE, {
    ...{ jti: id, sub: request.payerDid, iat: Math.floor(completion.createdAt.getTime() / 1000) },
    ...{ terms: JSON.parse(request.terms), terms_hash: request.termsHash },
    ...(request.purpose === 'credits' ? { credits: Number(request.credits) } : { reference: request.reference }),
    transfers: await transfersOf(db, request),
  });
  return { object: 'receipt', id, payment_request: toWire('paymentRequest', request.id), issuer, jws };
}

async function transfersOf(db: Db, { id }: PaymentRequest) {
  const counted = await db
    .select()
    .from(settlements)
    .where(and(eq(settlements.requestId, id), isNull(settlements.goneAt)))
    .orderBy(asc(settlements.blockNumber), asc(settlements.txHash), asc(settlements.logIndex));
  return counted.map(({ txHash, logIndex, payer, amount, blockNumber, blockHash, blockTime }) => ({
    ...{ tx_hash: txHash, log_index: logIndex, payer, amount },
    ...{ block_number: Number(blockNumber), block_hash: blockHash, block_time: time(blockTime) },
  }));
}
