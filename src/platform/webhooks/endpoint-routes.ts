import { z } from 'zod';
import { audit } from '../audit-log.ts';
import { type EventTypes, filtersOf } from '../delivery/event-types.ts';
import { callerOf } from '../http/access.ts';
import { once } from '../http/idempotency.ts';
import { listOf, PageQuery } from '../http/lists.ts';
import { Problem } from '../http/problem.ts';
import type { App } from '../http/server.ts';
import { answers, head, headOut, idOut, idParam, Nothing, timeOrNull, timeOut } from '../http/wire.ts';
import { toWire } from '../ids.ts';
import {
  changeEndpoint,
  createEndpoint,
  deleteEndpoint,
  type Endpoint,
  findEndpoint,
  listEndpoints,
  rotateSecret,
} from './endpoints.ts';
import type { WebhooksDeps } from './routes.ts';

const EndpointOut = z
  .object({
    ...headOut('webhookEndpoint'),
    object: z.literal('webhook_endpoint'),
    url: z.string(),
    events: z.array(z.string()),
    description: z.string(),
    enabled: z.boolean(),
    disabled_reason: z
      .enum(['owner', 'gone', 'failing'])
      .nullable()
      .describe('`gone`: it answered 410; `failing`: nothing but failure for three days'),
    failing_since: timeOut.nullable().describe('the first failure since the last success'),
  })
  .meta({ id: 'WebhookEndpoint' });
const NewEndpointOut = EndpointOut.extend({ signing_secret: z.string().describe('shown this once') }).meta({
  id: 'NewWebhookEndpoint',
});

const render = (endpoint: Endpoint): z.infer<typeof EndpointOut> => ({
  ...head('webhookEndpoint', endpoint),
  object: 'webhook_endpoint',
  url: endpoint.url,
  events: endpoint.events,
  description: endpoint.description,
  enabled: endpoint.enabled,
  disabled_reason: endpoint.disabledReason,
  failing_since: timeOrNull(endpoint.failingSince),
});

const MAX_FILTERS = 50;

function bodiesOf(types: EventTypes) {
  const filters = new Set(filtersOf(types));
  const fields = {
    url: z.string().max(2000).describe('where events are posted to: public https'),
    events: z
      .array(
        z
          .string()
          .max(64)
          .refine((filter) => filters.has(filter), 'must be a type of event, `context.*` or `*`'),
      )
      .min(1)
      .max(MAX_FILTERS)
      .transform((all) => [...new Set(all)])
      .describe(`any of ${[...filters].join(', ')}`),
    description: z.string().max(500),
    enabled: z.boolean(),
  };
  return {
    Terms: z.strictObject({
      ...fields,
      description: fields.description.default(''),
      enabled: fields.enabled.default(true),
    }),
    Change: z
      .strictObject(fields)
      .partial()
      .refine((body) => Object.keys(body).length > 0, 'must change something'),
  };
}

/** Where the caller wants its events posted. */
export function endpointRoutes(app: App, { db, vault, cursors, egress, types }: WebhooksDeps): void {
  const tags = ['events'];
  const { Terms, Change } = bodiesOf(types);

  app.post(
    '/v1/webhook-endpoints',
    {
      config: { access: 'webhooks:write', rate: 'money', idempotency: 'accepted' },
      schema: {
        tags,
        summary: 'Have events posted to an address',
        description: 'Signed as Standard Webhooks say, at least once, in the order of `seq` for each object.',
        body: Terms,
        response: answers({ 201: NewEndpointOut }),
      },
    },
    async (request, reply) => {
      const { accountId } = callerOf(request);
      egress.check(request.body.url, '/url');
      return once({ db, vault }, request, reply, async (tx) => {
        const { endpoint, secret } = await createEndpoint(tx, vault, accountId, request.body);
        await audit(tx, {
          actor: accountId,
          action: 'platform.webhook_endpoint_created',
          subjectId: endpoint.id,
          detail: { host: new URL(endpoint.url).host, events: endpoint.events },
          requestId: request.id,
        });
        const body = { ...render(endpoint), signing_secret: secret };
        return { status: 201, body, headers: { location: `/v1/webhook-endpoints/${body.id}` } };
      });
    },
  );

  app.get(
    '/v1/webhook-endpoints',
    {
      config: { access: 'read', rate: 'read' },
      schema: {
        tags,
        summary: 'Where events are posted to',
        querystring: PageQuery,
        response: answers({ 200: listOf(EndpointOut) }),
      },
    },
    async (request) => {
      const { accountId } = callerOf(request);
      const after = cursors.read('webhook-endpoints', accountId, request.query);
      const rows = await listEndpoints(db, accountId, after, request.query.limit + 1);
      return cursors.page('webhook-endpoints', accountId, request.query, rows, ({ id }) => id, render);
    },
  );

  app.get(
    '/v1/webhook-endpoints/:id',
    {
      config: { access: 'read', rate: 'read' },
      schema: {
        tags,
        summary: 'One webhook endpoint',
        params: idParam('webhookEndpoint'),
        response: answers({ 200: EndpointOut }),
      },
    },
    async (request) => {
      const endpoint = await findEndpoint(db, callerOf(request).accountId, request.params.id);
      if (!endpoint) throw new Problem('not_found');
      return render(endpoint);
    },
  );

  app.patch(
    '/v1/webhook-endpoints/:id',
    {
      config: { access: 'webhooks:write', rate: 'money' },
      schema: {
        tags,
        summary: 'Change a webhook endpoint',
        description:
          'While it is not enabled, no events become deliveries for it (`GET /v1/events` has them); those that wait already go on when it is enabled again.',
        params: idParam('webhookEndpoint'),
        body: Change,
        response: answers({ 200: EndpointOut }),
      },
    },
    async (request) => {
      const { accountId } = callerOf(request);
      const { url } = request.body;
      if (url !== undefined) egress.check(url, '/url');
      return db.transaction(async (tx) => {
        const endpoint = await changeEndpoint(tx, accountId, request.params.id, request.body);
        if (!endpoint) throw new Problem('not_found');
        await audit(tx, {
          actor: accountId,
          action: 'platform.webhook_endpoint_changed',
          subjectId: endpoint.id,
          detail: { fields: Object.keys(request.body), host: new URL(endpoint.url).host },
          requestId: request.id,
        });
        return render(endpoint);
      });
    },
  );

  app.delete(
    '/v1/webhook-endpoints/:id',
    {
      config: { access: 'webhooks:write', rate: 'money' },
      schema: {
        tags,
        summary: 'Delete a webhook endpoint and what waits for it',
        params: idParam('webhookEndpoint'),
        response: answers({ 204: Nothing }),
      },
    },
    async (request, reply) => {
      const { accountId } = callerOf(request);
      const { id } = request.params;
      await db.transaction(async (tx) => {
        if (!(await deleteEndpoint(tx, accountId, id))) throw new Problem('not_found');
        const action = 'platform.webhook_endpoint_deleted';
        await audit(tx, { actor: accountId, action, subjectId: id, requestId: request.id });
      });
      return reply.code(204).send(null);
    },
  );

  app.post(
    '/v1/webhook-endpoints/:id/signing-secrets',
    {
      config: { access: 'webhooks:write', rate: 'money', idempotency: 'accepted' },
      schema: {
        tags,
        summary: 'Replace the signing secret; the former one signs along for a day',
        params: idParam('webhookEndpoint'),
        response: answers({
          201: z
            .object({
              object: z.literal('signing_secret'),
              webhook_endpoint_id: idOut('webhookEndpoint'),
              signing_secret: z.string().describe('shown this once'),
            })
            .meta({ id: 'WebhookSigningSecret' }),
        }),
      },
    },
    async (request, reply) => {
      const { accountId } = callerOf(request);
      const { id } = request.params;
      return once({ db, vault }, request, reply, async (tx) => {
        const secret = await rotateSecret(tx, vault, accountId, id);
        if (secret === undefined) throw new Problem('not_found');
        const action = 'platform.webhook_secret_replaced';
        await audit(tx, { actor: accountId, action, subjectId: id, requestId: request.id });
        const webhook_endpoint_id = toWire('webhookEndpoint', id);
        return {
          status: 201,
          body: { object: 'signing_secret' as const, webhook_endpoint_id, signing_secret: secret },
        };
      });
    },
  );
}
