import { z } from 'zod';
import { callerOf } from '../platform/http/access.ts';
import { once } from '../platform/http/idempotency.ts';
import { listOf, PageQuery } from '../platform/http/lists.ts';
import type { App } from '../platform/http/server.ts';
import { answers, idIn, idParam, JsonObject, line, Nothing } from '../platform/http/wire.ts';
import {
  changeWorkflow,
  createWorkflow,
  deleteWorkflow,
  listWorkflows,
  ownWorkflow,
  renderWorkflow,
  WorkflowOut,
} from './configure.ts';
import type { WorkflowsDeps } from './routes.ts';

/** The caller's workflows. */
export function workflowRoutes(app: App, { db, vault, cursors, definitions }: WorkflowsDeps): void {
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
