import { and, asc, desc, eq, isNull, sql } from 'drizzle-orm';
import { audit } from '../audit-log.ts';
import type { Tx } from '../database/clients.ts';
import { events, webhookAttempts, webhookDeliveries, webhookEndpoints } from '../database/tables.ts';
import { Problem } from '../http/problem.ts';
import { counted } from '../http/words.ts';
import { fromWire, toWire } from '../ids.ts';
import type { Action, Case, Decision, Panel } from '../ops/panel.ts';
import { holdEndpoint } from './endpoints.ts';
import type { WebhooksDeps } from './routes.ts';
import { redeliver } from './settle.ts';

const isFailed = and(eq(webhookDeliveries.state, 'failed'), isNull(webhookEndpoints.deletedAt));

/** Events that an endpoint did not take for three days. */
export function webhooksPanel(deps: WebhooksDeps): Panel {
  return {
    name: 'deliveries',
    title: 'Failed deliveries',
    hint: 'An endpoint did not take an event for three days. Its owner sees the same; deliver again when it answers.',
    button: 'Look',
    list: async (limit) => {
      const rows = await withEverything(deps).where(isFailed).orderBy(asc(webhookDeliveries.finishedAt)).limit(limit);
      const [all] = await deps.db
        .select({ n: sql<number>`count(*)::int` })
        .from(webhookDeliveries)
        .innerJoin(webhookEndpoints, eq(webhookEndpoints.id, webhookDeliveries.endpointId))
        .where(isFailed);
      const entries = rows.map(({ delivery, endpoint, event }) => ({
        id: toWire('webhookDelivery', delivery.id),
        since: delivery.finishedAt ?? delivery.createdAt,
        amount: counted(delivery.attempt, 'attempt'),
        what: event.type,
        why: hostOf(endpoint.url),
      }));
      return { entries, total: all?.n ?? 0 };
    },
    find: async (id) => {
      const [found] = await withEverything(deps).where(eq(webhookDeliveries.id, fromWire('webhookDelivery', id)));
      return found && caseOf(deps, found);
    },
  };
}

const withEverything = ({ db }: WebhooksDeps) =>
  db
    .select({ delivery: webhookDeliveries, endpoint: webhookEndpoints, event: { id: events.id, type: events.type } })
    .from(webhookDeliveries)
    .innerJoin(webhookEndpoints, eq(webhookEndpoints.id, webhookDeliveries.endpointId))
    .innerJoin(events, and(eq(events.createdAt, webhookDeliveries.eventAt), eq(events.seq, webhookDeliveries.eventSeq)))
    .$dynamic();

type Found = Awaited<ReturnType<typeof withEverything>>[number];

/** An address may carry its owner's secrets in path and query. */
const hostOf = (url: string) => URL.parse(url)?.host ?? 'an address that is none';

async function caseOf(deps: WebhooksDeps, { delivery, endpoint, event }: Found): Promise<Case> {
  const tries = await deps.db
    .select()
    .from(webhookAttempts)
    .where(eq(webhookAttempts.deliveryId, delivery.id))
    .orderBy(desc(webhookAttempts.attempt))
    .limit(20);
  return {
    title: `${event.type} to ${hostOf(endpoint.url)}`,
    amount: counted(delivery.attempt, 'attempt'),
    state: endpoint.enabled ? delivery.state : `${delivery.state}, and its endpoint is switched off`,
    facts: [
      ['Delivery', toWire('webhookDelivery', delivery.id)],
      ['Event', toWire('event', event.id)],
      ['Endpoint', toWire('webhookEndpoint', endpoint.id)],
      ['Account', toWire('account', endpoint.accountId)],
    ],
    steps: tries.reverse().map(({ at, attempt, status, error, ms }) => ({
      at,
      who: 'sender',
      what: `try ${attempt}: ${error ?? 'taken'}`,
      detail: `${status === null ? 'no status' : `status ${status}`}, ${ms} ms`,
    })),
    actions: delivery.state === 'failed' && endpoint.enabled ? [delivering(deps, { delivery, endpoint })] : [],
  };
}

function delivering(
  { wakeSender }: WebhooksDeps,
  { delivery, endpoint }: Pick<Found, 'delivery' | 'endpoint'>,
): Action {
  return {
    name: 'deliver',
    label: 'Deliver again',
    effect:
      'Sends the event once more, under the same webhook-id: whoever has seen it knows it. It has three days anew.',
    run: (tx, by) => again(tx, { id: delivery.id, endpointId: endpoint.id, accountId: endpoint.accountId }, by),
    after: async () => wakeSender(),
  };
}

async function again(
  tx: Tx,
  { id, endpointId, accountId }: { id: string; endpointId: string; accountId: string },
  { operatorId, requestId, reason }: Decision,
): Promise<void> {
  const endpoint = await holdEndpoint(tx, accountId, endpointId);
  if (!endpoint?.enabled) throw new Problem('conflict', 'The endpoint is not enabled.');
  if (!(await redeliver(tx, id))) throw new Problem('conflict', 'It is under way already.');
  await audit(tx, {
    ...{ actor: operatorId, action: 'platform.delivery_repeated', subjectId: id, requestId },
    detail: { account_id: accountId, reason },
  });
}
