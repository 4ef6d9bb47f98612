import { z } from 'zod';
import type { Db } from '../database/clients.ts';
import { callerOf } from '../http/access.ts';
import { once } from '../http/idempotency.ts';
import { listOf, pageQuery } from '../http/lists.ts';
import { Problem } from '../http/problem.ts';
import type { App } from '../http/server.ts';
import { answers, head, headOut, idIn, idOut, idParam, time, timeOrNull, timeOut } from '../http/wire.ts';
import { toWire } from '../ids.ts';
import {
  type Attempt,
  type Delivery,
  deliveryStates,
  findDelivery,
  findWholeDelivery,
  listDeliveries,
} from './deliveries.ts';
import { type Endpoint, findEndpoint, holdEndpoint } from './endpoints.ts';
import type { WebhooksDeps } from './routes.ts';
import { redeliver } from './settle.ts';

const DeliveryOut = z
  .object({
    ...headOut('webhookDelivery'),
    object: z.literal('webhook_delivery'),
    state: z.enum(deliveryStates).describe('`held`: an earlier event of the same object is not delivered yet'),
    event: z.object({ id: idOut('event').describe('also the `webhook-id`'), type: z.string(), seq: z.int() }),
    attempts: z.int(),
    next_attempt_at: timeOut.nullable(),
    finished_at: timeOut.nullable(),
  })
  .meta({ id: 'WebhookDelivery' });

const AttemptOut = z.object({
  attempt: z.int(),
  at: timeOut,
  ms: z.int(),
  status: z.int().nullable(),
  error: z
    .string()
    .nullable()
    .describe('`refused`, `redirected`, `gone`, `timeout`, `network`, `blocked` or `cut`; null: it was taken'),
  excerpt: z.string().nullable().describe('the beginning of the reply'),
});
const WholeDeliveryOut = DeliveryOut.extend({ attempt_log: z.array(AttemptOut) }).meta({ id: 'WholeWebhookDelivery' });

const render = (delivery: Delivery): z.infer<typeof DeliveryOut> => ({
  ...head('webhookDelivery', delivery),
  object: 'webhook_delivery',
  state: delivery.state,
  event: { id: toWire('event', delivery.eventId), type: delivery.type, seq: Number(delivery.seq) },
  attempts: delivery.attempt,
  next_attempt_at: delivery.state === 'pending' ? time(delivery.nextAttemptAt) : null,
  finished_at: timeOrNull(delivery.finishedAt),
});

const renderAttempt = ({ attempt, at, ms, status, error, excerpt }: Attempt): z.infer<typeof AttemptOut> => ({
  ...{ attempt, at: time(at), ms, status, error, excerpt },
});

async function ownEndpoint(db: Db, accountId: string, id: string): Promise<Endpoint> {
  const endpoint = await findEndpoint(db, accountId, id);
  if (!endpoint) throw new Problem('not_found');
  return endpoint;
}

/** What was delivered to the caller's endpoints, what was not, and why; kept for two weeks. */
export function deliveryRoutes(app: App, { db, vault, cursors, wakeSender }: WebhooksDeps): void {
  const tags = ['events'];
  const params = z.strictObject({ id: idIn('webhookEndpoint'), delivery_id: idIn('webhookDelivery') });

  app.get(
    '/v1/webhook-endpoints/:id/deliveries',
    {
      config: { access: 'read', rate: 'read' },
      schema: {
        tags,
        summary: 'Deliveries to a webhook endpoint, newest event first',
        params: idParam('webhookEndpoint'),
        querystring: z.strictObject({ ...pageQuery, state: z.enum(deliveryStates).optional() }),
        response: answers({ 200: listOf(DeliveryOut) }),
      },
    },
    async (request) => {
      const { id, accountId } = await ownEndpoint(db, callerOf(request).accountId, request.params.id);
      const { limit, state } = request.query;
      const list = `webhook-deliveries ${id} ${state ?? 'all'}`;
      const before = cursors.read(list, accountId, request.query);
      const rows = await listDeliveries(db, id, { state, before, limit: limit + 1 });
      return cursors.page(list, accountId, request.query, rows, ({ seq }) => String(seq), render);
    },
  );

  app.get(
    '/v1/webhook-endpoints/:id/deliveries/:delivery_id',
    {
      config: { access: 'read', rate: 'read' },
      schema: {
        tags,
        summary: 'One delivery and its attempts',
        params,
        response: answers({ 200: WholeDeliveryOut }),
      },
    },
    async (request) => {
      const { id } = await ownEndpoint(db, callerOf(request).accountId, request.params.id);
      const { delivery, attempts } = await findWholeDelivery(db, id, request.params.delivery_id);
      if (!delivery) throw new Problem('not_found');
      return { ...render(delivery), attempt_log: attempts.map(renderAttempt) };
    },
  );

  app.post(
    '/v1/webhook-endpoints/:id/deliveries/:delivery_id/redeliver',
    {
      config: { access: 'webhooks:write', rate: 'money', idempotency: 'accepted' },
      schema: {
        tags,
        summary: 'Deliver again, under the same webhook-id',
        params,
        response: answers({ 202: DeliveryOut }),
      },
    },
    async (request, reply) => {
      const { accountId } = callerOf(request);
      const { id, delivery_id: deliveryId } = request.params;
      const answer = await once({ db, vault }, request, reply, async (tx) => {
        const endpoint = await holdEndpoint(tx, accountId, id);
        const before = endpoint && (await findDelivery(tx, id, deliveryId));
        if (!before) throw new Problem('not_found');
        if (!endpoint.enabled) throw new Problem('conflict', 'The endpoint is not enabled.');
        if (!(await redeliver(tx, deliveryId))) throw new Problem('conflict', `The delivery is ${before.state}.`);
        const after = await findDelivery(tx, id, deliveryId);
        return { status: 202, body: render(after ?? before) };
      });
      wakeSender();
      return answer;
    },
  );
}
