import { z } from 'zod';
import { BalanceOut, renderBalance } from '../credits/index.ts';
import type { Db, Sql } from '../platform/database/clients.ts';
import type { Feed } from '../platform/delivery/feed.ts';
import { callerOf } from '../platform/http/access.ts';
import { fingerprint, keyOf, once } from '../platform/http/idempotency.ts';
import { type Cursors, listOf, PageQuery, pageQuery } from '../platform/http/lists.ts';
import { Problem } from '../platform/http/problem.ts';
import type { App } from '../platform/http/server.ts';
import { readCursor, STREAM_TIMEOUT_MS, streamEvents } from '../platform/http/stream.ts';
import {
  amount,
  amountOut,
  answers,
  head,
  headOut,
  idIn,
  idOut,
  idParam,
  line,
  MAX_AMOUNT,
  Nothing,
  time,
  timeOut,
} from '../platform/http/wire.ts';
import { toWire } from '../platform/ids.ts';
import type { Metrics } from '../platform/metrics.ts';
import type { Vault } from '../platform/secrets.ts';
import {
  changeWorkflow,
  createWorkflow,
  deleteWorkflow,
  listWorkflows,
  ownWorkflow,
  type Workflow,
} from './configure.ts';
import type { Definitions } from './definitions.ts';
import { cancel } from './finish.ts';
import { findRun, isOver, listParts, listRuns, RunOut, renderAccepted, renderRun } from './runs.ts';
import { findService, listServices, type Service } from './services.ts';
import { startRun } from './start-run.ts';

export interface WorkflowsDeps {
  db: Db;
  sql: Sql;
  vault: Vault;
  cursors: Cursors;
  definitions: Definitions;
  feed: Feed;
  metrics: Metrics;
  /** A run was committed that can be dispatched. */
  wakeDispatcher(): void;
}

const JsonObject = z.record(z.string(), z.unknown());

export const ServiceOut = z
  .object({
    ...headOut('service'),
    name: z.string(),
    description: z.string(),
    credit_cost: amountOut,
    price_version: z.int(),
    input_schema: JsonObject,
    active: z.boolean(),
  })
  .meta({ id: 'Service' });

const WorkflowOut = z
  .object({
    ...headOut('workflow'),
    service_id: idOut('service'),
    name: z.string(),
    credit_cost: amountOut.describe('what a run costs, as agreed'),
    price_version: z.int(),
    input_defaults: JsonObject,
  })
  .meta({ id: 'Workflow' });

export const renderService = (service: Service): z.infer<typeof ServiceOut> => ({
  ...head('service', service),
  name: service.name,
  description: service.description,
  credit_cost: amount(service.creditCost),
  price_version: service.priceVersion,
  input_schema: service.inputSchema as Record<string, unknown>,
  active: service.active,
});

const renderWorkflow = (workflow: Workflow): z.infer<typeof WorkflowOut> => ({
  ...head('workflow', workflow),
  service_id: toWire('service', workflow.serviceId),
  name: workflow.name,
  credit_cost: amount(workflow.creditCost),
  price_version: workflow.priceVersion,
  input_defaults: workflow.inputDefaults as Record<string, unknown>,
});

/** The catalogue, the caller's workflows and their runs. */
export function workflowsRoutes(app: App, deps: WorkflowsDeps): void {
  catalogueRoutes(app, deps);
  workflowRoutes(app, deps);
  startRoute(app, deps);
  runRoutes(app, deps);
  streamRoute(app, deps);
}

function catalogueRoutes(app: App, { db, cursors }: WorkflowsDeps): void {
  app.get(
    '/v1/services',
    {
      config: { access: 'read', rate: 'read' },
      schema: {
        tags: ['workflows'],
        summary: 'What can be run',
        querystring: PageQuery,
        response: answers({ 200: listOf(ServiceOut) }),
      },
    },
    async (request) => {
      const after = cursors.read('services', 'everybody', request.query);
      const rows = await listServices(db, true, after, request.query.limit + 1);
      return cursors.page('services', 'everybody', request.query, rows, (service) => service.id, renderService);
    },
  );

  app.get(
    '/v1/services/:id',
    {
      config: { access: 'read', rate: 'read' },
      schema: {
        tags: ['workflows'],
        summary: 'One service',
        params: idParam('service'),
        response: answers({ 200: ServiceOut }),
      },
    },
    async (request) => {
      const service = await findService(db, request.params.id);
      if (!service?.active) throw new Problem('not_found');
      return renderService(service);
    },
  );
}

function workflowRoutes(app: App, { db, vault, cursors, definitions }: WorkflowsDeps): void {
  const tags = ['workflows'];

  app.post(
    '/v1/workflows',
    {
      config: { access: 'workflows:write', rate: 'money', idempotency: 'accepted' },
      schema: {
        tags,
        summary: 'Make a workflow from a service, at its present cost',
        body: z.strictObject({ service_id: idIn('service'), name: line(100), input_defaults: JsonObject.default({}) }),
        response: answers({ 201: WorkflowOut }),
      },
    },
    async (request, reply) =>
      once({ db, vault }, request, reply, async (tx) => {
        const { service_id: serviceId, name, input_defaults: inputDefaults } = request.body;
        const workflow = await createWorkflow(tx, callerOf(request).accountId, { serviceId, name, inputDefaults });
        const body = renderWorkflow(workflow);
        return { status: 201, body, headers: { location: `/v1/workflows/${body.id}` } };
      }),
  );

  app.get(
    '/v1/workflows',
    {
      config: { access: 'read', rate: 'read' },
      schema: {
        tags,
        summary: 'Own workflows, with what a run of each costs',
        querystring: PageQuery,
        response: answers({ 200: listOf(WorkflowOut) }),
      },
    },
    async (request) => {
      const { accountId } = callerOf(request);
      const after = cursors.read('workflows', accountId, request.query);
      const rows = await listWorkflows(db, accountId, after, request.query.limit + 1);
      return cursors.page('workflows', accountId, request.query, rows, (workflow) => workflow.id, renderWorkflow);
    },
  );

  app.get(
    '/v1/workflows/:id',
    {
      config: { access: 'read', rate: 'read' },
      schema: { tags, summary: 'One workflow', params: idParam('workflow'), response: answers({ 200: WorkflowOut }) },
    },
    async (request) => renderWorkflow(await ownWorkflow(db, callerOf(request).accountId, request.params.id)),
  );

  app.patch(
    '/v1/workflows/:id',
    {
      config: { access: 'workflows:write', rate: 'money' },
      schema: {
        tags,
        summary: "Change a workflow, or accept its service's present price",
        params: idParam('workflow'),
        body: z
          .strictObject({
            name: line(100).optional(),
            input_defaults: JsonObject.optional(),
            accept_price_version: z.int().min(1).max(2_147_483_647).optional(),
          })
          .refine((body) => Object.keys(body).length > 0, 'must change something'),
        response: answers({ 200: WorkflowOut }),
      },
    },
    async (request) => {
      const { name, input_defaults: inputDefaults, accept_price_version: acceptPriceVersion } = request.body;
      const change = { name, inputDefaults, acceptPriceVersion };
      const { accountId } = callerOf(request);
      const workflow = await db.transaction((tx) => changeWorkflow(tx, accountId, request.params.id, change));
      definitions.forget(workflow.id);
      return renderWorkflow(workflow);
    },
  );

  app.delete(
    '/v1/workflows/:id',
    {
      config: { access: 'workflows:write', rate: 'money' },
      schema: {
        tags,
        summary: 'Take a workflow out of use; its runs stay',
        params: idParam('workflow'),
        response: answers({ 204: Nothing }),
      },
    },
    async (request, reply) => {
      await db.transaction((tx) => deleteWorkflow(tx, callerOf(request).accountId, request.params.id));
      definitions.forget(request.params.id);
      return reply.code(204).send(null);
    },
  );
}

function startRoute(app: App, deps: WorkflowsDeps): void {
  app.post(
    '/v1/workflows/:id/runs',
    {
      config: { access: 'runs:write', rate: 'money', idempotency: 'required' },
      schema: {
        tags: ['runs'],
        summary: 'Pay for a run and start it',
        description:
          'Deducts the credits, records the run and queues it in one transaction; or refuses, and nothing has happened.',
        params: idParam('workflow'),
        body: z.strictObject({
          input: JsonObject.default({}).describe("laid over the workflow's defaults"),
          expected_cost: z
            .int()
            .min(1)
            .max(MAX_AMOUNT)
            .transform(BigInt)
            .optional()
            .describe('refuse if the run costs anything else'),
        }),
        response: answers({ 202: z.object({ run: RunOut, balance: BalanceOut }) }),
      },
    },
    async (request, reply) => {
      const keyed = keyOf(request);
      if (!keyed) throw new Problem('idempotency_key_required');
      const { run, balance, replayed } = await startRun(deps, {
        accountId: keyed.accountId,
        workflowId: request.params.id,
        key: keyed.key,
        requestHash: fingerprint(request),
        input: request.body.input,
        expectedCost: request.body.expected_cost ?? null,
      });
      if (replayed) reply.header('Idempotent-Replayed', 'true');
      else {
        deps.metrics.runs.inc({ state: 'queued' });
        deps.wakeDispatcher();
      }
      const body = { run: renderAccepted(run), balance: renderBalance(balance) };
      reply.code(202).header('Location', `/v1/runs/${body.run.id}`);
      return body;
    },
  );
}

const PartOut = z
  .object({ object: z.literal('part'), number: z.int(), content: z.unknown(), created_at: timeOut })
  .meta({ id: 'Part' });

function runRoutes(app: App, { db, cursors, feed, metrics, wakeDispatcher }: WorkflowsDeps): void {
  const tags = ['runs'];

  app.get(
    '/v1/runs',
    {
      config: { access: 'read', rate: 'read' },
      schema: {
        tags,
        summary: 'Own runs',
        querystring: z.strictObject({
          ...pageQuery,
          workflow_id: idIn('workflow').optional(),
          state: RunOut.shape.state.optional(),
        }),
        response: answers({ 200: listOf(RunOut) }),
      },
    },
    async (request) => {
      const { accountId } = callerOf(request);
      const { workflow_id: workflowId, state } = request.query;
      const list = `runs ${workflowId ?? ''} ${state ?? ''}`;
      const after = cursors.read(list, accountId, request.query);
      const rows = await listRuns(db, accountId, { workflowId, state }, after, request.query.limit + 1);
      return cursors.page(list, accountId, request.query, rows, (run) => run.id, renderRun);
    },
  );

  app.get(
    '/v1/runs/:id',
    {
      config: { access: 'read', rate: 'read' },
      schema: { tags, summary: 'One run', params: idParam('run'), response: answers({ 200: RunOut }) },
    },
    async (request) => {
      const run = await findRun(db, callerOf(request).accountId, request.params.id);
      if (!run) throw new Problem('not_found');
      return renderRun(run);
    },
  );

  app.post(
    '/v1/runs/:id/cancel',
    {
      config: { access: 'runs:write', rate: 'money', idempotency: 'accepted' },
      schema: {
        tags,
        summary: 'Cancel a run',
        description:
          'The credits go back if the run was never handed to its executor. A second cancellation changes nothing.',
        params: idParam('run'),
        response: answers({ 200: RunOut }),
      },
    },
    async (request) => {
      const ref = { accountId: callerOf(request).accountId, id: request.params.id };
      const cancelled = await cancel(db, metrics, ref);
      if (cancelled) {
        feed.wake();
        wakeDispatcher();
        return renderRun(cancelled);
      }
      const run = await findRun(db, ref.accountId, ref.id);
      if (!run) throw new Problem('not_found');
      if (run.state !== 'cancelled')
        throw new Problem('run_finished', `The run has ${run.state}.`, { extra: { state: run.state } });
      return renderRun(run);
    },
  );

  app.get(
    '/v1/runs/:id/parts',
    {
      config: { access: 'read', rate: 'read' },
      schema: {
        tags,
        summary: 'Partial results, in order',
        params: idParam('run'),
        querystring: PageQuery,
        response: answers({ 200: listOf(PartOut) }),
      },
    },
    async (request) => {
      const { accountId } = callerOf(request);
      const run = await findRun(db, accountId, request.params.id);
      if (!run) throw new Problem('not_found');
      const after = cursors.read(`parts ${run.id}`, accountId, request.query);
      const rows = await listParts(db, accountId, run.id, Number(after ?? 0), request.query.limit + 1);
      return cursors.page(
        `parts ${run.id}`,
        accountId,
        request.query,
        rows,
        (part) => String(part.number),
        (part) => ({
          object: 'part' as const,
          number: part.number,
          content: part.content,
          created_at: time(part.createdAt),
        }),
      );
    },
  );
}

const LAST_EVENTS = new Set(['workflows.run_succeeded', 'workflows.run_failed', 'workflows.run_cancelled']);

function streamRoute(app: App, { db, feed }: WorkflowsDeps): void {
  app.get(
    '/v1/runs/:id/events',
    {
      config: { access: 'read', rate: 'read' },
      exposeHeadRoute: false,
      handlerTimeout: STREAM_TIMEOUT_MS,
      schema: {
        tags: ['runs'],
        summary: "The run's life as it happens (server-sent events)",
        description: 'A reader that comes back with Last-Event-ID misses nothing. 204: everything was told.',
        params: idParam('run'),
        response: answers({ 200: z.string(), 204: Nothing }),
      },
    },
    async (request, reply) => {
      const { accountId } = callerOf(request);
      const after = readCursor(request);
      const run = await findRun(db, accountId, request.params.id);
      if (!run) throw new Problem('not_found');
      if (isOver(run.state) && (await feed.isLast(run.id, run.createdAt, after))) return reply.code(204).send(null);
      const leave = feed.enter(accountId);
      try {
        await streamEvents(
          request,
          reply,
          (signal) => feed.follow(run.id, run.createdAt, after, signal),
          (event) => LAST_EVENTS.has(event.type),
        );
      } finally {
        leave();
      }
      return reply;
    },
  );
}
