import { z } from 'zod';
import type { Alarm } from '../platform/audit-log.ts';
import type { Db } from '../platform/database/clients.ts';
import { failpoint } from '../platform/failpoints.ts';
import { Problem } from '../platform/http/problem.ts';
import type { App } from '../platform/http/server.ts';
import { answers } from '../platform/http/wire.ts';
import { OmiseEvent, receive } from './webhooks/inbox.ts';
import { isSigned } from './webhooks/signature.ts';

export interface WebhookDeps {
  db: Db;
  alarm: Alarm;
  secrets: string[];
  livemode: boolean;
  /** A notification was kept. */
  wakeInbox(): void;
}

const BODY_LIMIT = 256 * 1024; // recorded events have 3 to 8 KiB

/** The webhook receiver: signature first, then the inbox, then 200. What it means is found out afterwards. */
export async function webhookRoutes(app: App, { db, alarm, secrets, livemode, wakeInbox }: WebhookDeps): Promise<void> {
  await app.register(async (inner) => {
    // The signature is over the bytes as they came.
    inner.removeContentTypeParser('application/json');
    inner.addContentTypeParser(
      'application/json',
      { parseAs: 'buffer', bodyLimit: BODY_LIMIT },
      (_request, body, done) => done(null, body),
    );
    (inner as App).post(
      '/v1/webhooks/omise',
      {
        config: { access: 'signed', rate: 'webhook', idempotency: 'none' },
        bodyLimit: BODY_LIMIT,
        schema: {
          tags: ['webhooks'],
          summary: 'Notifications of the payment provider',
          response: answers({ 200: z.object({ received: z.boolean() }) }),
        },
      },
      async (request) => {
        const raw = request.body as Buffer;
        const headers = {
          signature: one(request.headers['omise-signature']),
          timestamp: one(request.headers['omise-signature-timestamp']),
        };
        if (!Buffer.isBuffer(raw) || !isSigned(headers, raw, secrets, Date.now())) {
          const why = headers.signature === undefined ? 'unsigned' : 'mismatch';
          alarm({
            actor: 'webhook',
            action: 'security.webhook_signature_refused',
            detail: { why, address: request.ip },
            requestId: request.id,
          });
          throw new Problem('invalid_webhook_signature');
        }
        const event = readEvent(raw);
        if (event.livemode !== undefined && event.livemode !== livemode) {
          alarm({
            actor: 'webhook',
            action: 'security.webhook_wrong_mode',
            detail: { event_id: event.id },
            requestId: request.id,
          });
          return { received: false };
        }
        await failpoint('payments.webhook.before_insert');
        const isNew = await receive(db, event, raw);
        await failpoint('payments.webhook.after_insert');
        if (isNew) wakeInbox();
        return { received: true };
      },
    );
  });
}

function readEvent(raw: Buffer): OmiseEvent {
  try {
    return OmiseEvent.parse(JSON.parse(raw.toString('utf8')));
  } catch {
    throw new Problem('malformed_request', 'The body is not an event.');
  }
}

const one = (header: string | string[] | undefined) => (Array.isArray(header) ? header[0] : header);
