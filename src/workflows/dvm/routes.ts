import { z } from 'zod';
import { callerOf } from '../../platform/http/access.ts';
import { check } from '../../platform/http/limits.ts';
import { invalidField } from '../../platform/http/problem.ts';
import type { App } from '../../platform/http/server.ts';
import { amount, amountOut, answers, JsonObject } from '../../platform/http/wire.ts';
import { faultInShape, type NostrEvent, readEvent } from '../../platform/nostr/event.ts';
import { checkProof, linkKey } from './link.ts';
import { type ReceiptDeps, takeReceipt } from './receipts.ts';

export interface DvmRouteDeps extends ReceiptDeps {
  publicUrl: string;
  /** Of one address: each weighs as two verifications of signatures. */
  claimsPerMinute: number;
}

/** What customers of Nostr do over HTTP: bring a receipt that no relay has told of, and take their key to an account. */
export function dvmRoutes(app: App, deps: DvmRouteDeps): void {
  const { db, publicUrl } = deps;
  const perAddress = check(app as never, 'receipt claims', deps.claimsPerMinute, ({ ip }) => ip);
  const url = `${publicUrl}/v1/nostr/keys`;

  app.post(
    '/v1/receipts',
    {
      config: { access: 'anyone', rate: 'money', idempotency: 'none' },
      onRequest: async (request, reply) => perAddress(request, reply),
      schema: {
        tags: ['asks'],
        summary: 'Claim a payment by its zap receipt, when no relay has brought it',
        description:
          'The same rules as for receipts from relays (`POST /v1/receipts/verify` tells them without doing anything). Again changes nothing.',
        body: z.strictObject({ receipt: JsonObject.describe('the event of kind 9735 as it was received') }),
        response: answers({
          200: z.object({
            object: z.literal('receipt_claim'),
            verdict: z
              .enum(['settled', 'known', 'quarantined', 'refused'])
              .describe('`known`: counted before, or dealt with by a person; `quarantined`: a person looks at it'),
            code: z.string().nullable(),
            payment_hash: z.string().nullable(),
            amount_msat: z.string().nullable(),
          }),
        }),
      },
    },
    async ({ body }) => {
      const { verdict, code, payment } = await takeReceipt(deps, eventIn(body.receipt, '/receipt'));
      return {
        ...{ object: 'receipt_claim' as const, verdict, code },
        ...{ payment_hash: payment?.paymentHash ?? null, amount_msat: payment ? String(payment.amountMsat) : null },
      };
    },
  );

  app.post(
    '/v1/nostr/keys',
    {
      config: { access: 'login', rate: 'auth', idempotency: 'none' },
      schema: {
        tags: ['asks'],
        summary: 'Take a key of Nostr to this account: its jobs are paid from here, and its credits come along',
        body: z.strictObject({
          proof: JsonObject.describe(
            `event of kind 27235 (NIP-98) by the key, of this minute, with the tags ["u", "${url}"], ["method", "POST"] and ["account", "acct_…"]`,
          ),
        }),
        response: answers({
          200: z.object({ object: z.literal('nostr_key'), pubkey: z.string(), moved_credits: amountOut }),
        }),
      },
    },
    async (request) => {
      const { accountId } = callerOf(request);
      const proof = eventIn(request.body.proof, '/proof');
      checkProof(proof, { url, accountId });
      const linked = await db.transaction((tx) => linkKey(tx, accountId, proof.pubkey));
      return { object: 'nostr_key' as const, pubkey: linked.pubkey, moved_credits: amount(linked.movedCredits) };
    },
  );
}

function eventIn(value: unknown, pointer: string): NostrEvent {
  const event = readEvent(value);
  if (!event) throw invalidField(`${pointer}${faultInShape(value) ?? ''}`, 'is not as in an event of Nostr (NIP-01)');
  return event;
}
