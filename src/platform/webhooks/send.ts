import { readFileSync } from 'node:fs';
import { sql } from 'drizzle-orm';
import type { Db } from '../database/clients.ts';
import { runIn, type Statement } from '../database/statement.ts';
import { renderEvent, type StoredEvent } from '../delivery/event-types.ts';
import { insist, LEASE_MARGIN_MS } from '../delivery/retries.ts';
import type { Worker } from '../delivery/worker.ts';
import { failpoint } from '../failpoints.ts';
import { toWire } from '../ids.ts';
import { CALL_TIMEOUT_MS, callEndpoint } from './call-endpoint.ts';
import { type Endpoint, holdEndpoint, signingSecretsOf } from './endpoints.ts';
import type { WebhooksDeps } from './routes.ts';
import { settle, type UnderWay } from './settle.ts';

const EVERY_MS = 1_000; // the safety net; new deliveries ring the bell
const CALLS_AT_ONCE = 256; // per replica: many times what one account's endpoints can hold
const CALLS_PER_ENDPOINT = 4; // over all replicas
const CALLS_WHILE_FAILING = 1; // who has not answered does not get more than a knock at a time
const ENDPOINTS_AT_ONCE = 64; // of one round

interface Leased extends UnderWay {
  event: StoredEvent;
}

const leaseStatement: Statement<[string, number, number, number], Omit<Leased, 'endpointId'>[]> = {
  text: readFileSync(new URL('./lease.sql', import.meta.url), 'utf8'),
  parse: (rows) =>
    rows.map((row) => ({
      id: row['id'] as string,
      subjectId: row['subject_id'] as string,
      attempt: row['attempt'] as number,
      event: {
        id: row['event_id'] as string,
        seq: row['event_seq'] as bigint,
        type: row['type'] as string,
        accountId: row['account_id'] as string | null,
        subjectId: row['subject_id'] as string,
        payload: row['payload'],
        createdAt: new Date(row['event_at'] as string),
      },
    })),
};

/**
 * Posts due deliveries: at least once, always with the event's id as `webhook-id`. The lease is the attempt: whoever
 * comes back under an older number changes nothing.
 */
export function sender(deps: WebhooksDeps): Worker {
  const inHand = new Set<Promise<void>>();
  const hand = (endpoint: Endpoint, leased: Leased) => {
    const call = send(deps, endpoint, leased).catch((fault) => {
      deps.log.error({ err: fault, delivery_id: leased.id }, 'a webhook was not finished; its lease will run out');
    });
    inHand.add(call);
    void call.then(() => {
      inHand.delete(call);
      deps.wakeSender();
    });
  };
  return {
    name: 'webhook-sender',
    everyMs: EVERY_MS,
    settle: async () => {
      await Promise.all(inHand);
    },
    runOnce: async (signal) => {
      let taken = 0;
      for (const { id, accountId } of await endpointsWithDue(deps.db)) {
        if (signal.aborted || deps.egress.isClosing) return { more: false };
        const room = CALLS_AT_ONCE - inHand.size;
        if (room <= 0) break;
        const { endpoint, leased } = await lease(deps.db, accountId, id, room);
        if (endpoint && leased.length > 0) await failpoint('platform.webhooks.after_lease');
        for (const one of leased) if (endpoint) hand(endpoint, one);
        taken += leased.length;
      }
      return { more: taken > 0 };
    },
  };
}

/** Those that have something due, in an order that changes, so that none is always last. */
async function endpointsWithDue(db: Db): Promise<{ id: string; accountId: string }[]> {
  return db.execute(sql`
    select id, account_id as "accountId" from platform.webhook_endpoints w
    where enabled and exists (
      select from platform.webhook_deliveries d
      where d.endpoint_id = w.id and d.state in ('pending', 'sending') and d.next_attempt_at <= now())
    order by random() limit ${ENDPOINTS_AT_ONCE}::int`);
}

async function lease(
  db: Db,
  accountId: string,
  id: string,
  room: number,
): Promise<{ endpoint?: Endpoint; leased: Leased[] }> {
  return db.transaction(async (tx) => {
    const endpoint = await holdEndpoint(tx, accountId, id);
    if (!endpoint?.enabled) return { leased: [] };
    const calls = endpoint.failingSince === null ? CALLS_PER_ENDPOINT : CALLS_WHILE_FAILING;
    const found = await runIn(tx, leaseStatement, [id, calls, room, CALL_TIMEOUT_MS + LEASE_MARGIN_MS]);
    await failpoint('platform.webhooks.before_lease_commit');
    return { endpoint, leased: found.map((one) => ({ ...one, endpointId: id })) };
  });
}

async function send(deps: WebhooksDeps, endpoint: Endpoint, leased: Leased): Promise<void> {
  const { db, egress, metrics, log, vault, types } = deps;
  const outcome = await callEndpoint(egress, {
    url: endpoint.url,
    id: toWire('event', leased.event.id),
    body: JSON.stringify(renderEvent(types, leased.event)),
    secrets: signingSecretsOf(vault, endpoint),
  });
  await failpoint('platform.webhooks.after_call');
  metrics.webhookDeliveries.inc({ outcome: outcome.error ?? outcome.what });
  await insist(async () => {
    const disabled = await settle(db, leased, outcome);
    if (disabled) log.warn({ endpoint_id: endpoint.id, reason: disabled }, 'a webhook endpoint was disabled');
  });
  await failpoint('platform.webhooks.after_settle');
}
