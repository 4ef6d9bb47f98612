import { eq } from 'drizzle-orm';
import { z } from 'zod';
import { audit } from '../platform/audit-log.ts';
import type { Egress } from '../platform/egress.ts';
import { callerOf } from '../platform/http/access.ts';
import { once } from '../platform/http/idempotency.ts';
import { listOf, PageQuery } from '../platform/http/lists.ts';
import { Problem } from '../platform/http/problem.ts';
import type { App } from '../platform/http/server.ts';
import { amountIn, answers, idOut, idParam, line } from '../platform/http/wire.ts';
import { toWire } from '../platform/ids.ts';
import { checkRails, PolicyIn, standardPolicy } from './asks/policy.ts';
import { compileSchema } from './definitions.ts';
import type { WorkflowsDeps } from './routes.ts';
import { RunOut, renderRun } from './runs.ts';
import {
  changeService,
  createService,
  findService,
  holdService,
  listServices,
  renderService,
  repriceWorkflows,
  rotateSecret,
  type Service,
  ServiceOut,
  type ServiceTerms,
} from './services.ts';
import { runs } from './tables.ts';

const Executor = z.strictObject({
  endpoint: z.string().max(2000).describe('where runs are posted to'),
  timeout_ms: z.int().min(100).max(300_000).default(30_000).describe('for one call, until its last byte'),
  max_attempts: z.int().min(1).max(50).default(5),
  deadline_s: z.int().min(1).max(2_592_000).default(3600).describe('from the acceptance of a run to its end'),
  report_interval_s: z
    .int()
    .min(1)
    .max(86_400)
    .default(300)
    .describe('longest silence of an executor that answered 202'),
  max_concurrency: z.int().min(1).max(10_000).default(10).describe('runs at the executor at once, over all replicas'),
});

/** NIP-90; results are of the kind 1000 above. */
const nostrKind = z
  .int()
  .min(5000)
  .max(5999)
  .nullable()
  .describe('kind of the jobs on Nostr that it does (NIP-90); null: none. Of each kind one active service');

const Terms = z.strictObject({
  name: line(100),
  description: z.string().max(2000).default(''),
  credit_cost: amountIn,
  input_schema: z.record(z.string(), z.unknown()).default({}).describe('JSON Schema 2020-12 or draft-07'),
  executor: Executor,
  refund_on_failure: z.enum(['full', 'none']).default('full'),
  payment: PolicyIn.default(standardPolicy).describe('how its runs are paid'),
  nostr_kind: nostrKind.default(null),
  active: z.boolean().default(true),
});

/** A PATCH sets what it names and nothing else: no defaults. */
const Change = z
  .strictObject({
    name: line(100).optional(),
    description: z.string().max(2000).optional(),
    credit_cost: amountIn.optional(),
    input_schema: z.record(z.string(), z.unknown()).optional(),
    executor: z
      .strictObject({
        endpoint: z.string().max(2000).optional(),
        timeout_ms: z.int().min(100).max(300_000).optional(),
        max_attempts: z.int().min(1).max(50).optional(),
        deadline_s: z.int().min(1).max(2_592_000).optional(),
        report_interval_s: z.int().min(1).max(86_400).optional(),
        max_concurrency: z.int().min(1).max(10_000).optional(),
      })
      .optional(),
    refund_on_failure: z.enum(['full', 'none']).optional(),
    payment: PolicyIn.optional().describe('as a whole: what it does not name is as for a new service'),
    nostr_kind: nostrKind.optional(),
    active: z.boolean().optional(),
  })
  .refine((body) => Object.keys(body).length > 0, 'must change something');

const OperatorServiceOut = ServiceOut.extend({
  executor: z.object({
    endpoint: z.string(),
    timeout_ms: z.int(),
    max_attempts: z.int(),
    deadline_s: z.int(),
    report_interval_s: z.int(),
    max_concurrency: z.int(),
  }),
  refund_on_failure: z.enum(['full', 'none']),
  nostr_kind: z.int().nullable(),
}).meta({ id: 'OperatorService' });

const NewServiceOut = OperatorServiceOut.extend({ signing_secret: z.string().describe('shown this once') }).meta({
  id: 'NewService',
});

const render = (service: Service): z.infer<typeof OperatorServiceOut> => ({
  ...renderService(service),
  executor: {
    endpoint: service.endpoint,
    timeout_ms: service.timeoutMs,
    max_attempts: service.maxAttempts,
    deadline_s: service.deadlineS,
    report_interval_s: service.reportIntervalS,
    max_concurrency: service.maxConcurrency,
  },
  refund_on_failure: service.refundOnFailure,
  nostr_kind: service.nostrKind,
});

/** The columns that a body names. */
function termsOf(body: z.infer<typeof Change>): Partial<ServiceTerms> {
  const named = {
    name: body.name,
    description: body.description,
    creditCost: body.credit_cost,
    inputSchema: body.input_schema,
    endpoint: body.executor?.endpoint,
    timeoutMs: body.executor?.timeout_ms,
    maxAttempts: body.executor?.max_attempts,
    deadlineS: body.executor?.deadline_s,
    reportIntervalS: body.executor?.report_interval_s,
    maxConcurrency: body.executor?.max_concurrency,
    refundOnFailure: body.refund_on_failure,
    payment: body.payment,
    nostrKind: body.nostr_kind,
    active: body.active,
  };
  return Object.fromEntries(Object.entries(named).filter(([, value]) => value !== undefined));
}

/** Services and runs, as the operator sees them. */
export function workflowsOperatorRoutes(app: App, deps: WorkflowsDeps & { egress: Egress }): void {
  const { db, vault, cursors, egress, asks } = deps;
  const tags = ['operator'];
  const check = (terms: Partial<ServiceTerms>) => {
    if (terms.inputSchema) compileSchema(terms.inputSchema);
    if (terms.endpoint !== undefined) egress.check(terms.endpoint, '/executor/endpoint');
    if (terms.payment) checkRails(terms.payment, asks);
  };

  app.post(
    '/v1/admin/services',
    {
      config: { access: 'operator', rate: 'money', idempotency: 'accepted' },
      schema: { tags, summary: 'Offer a service', body: Terms, response: answers({ 201: NewServiceOut }) },
    },
    async (request, reply) => {
      const terms = termsOf(request.body) as ServiceTerms;
      check(terms);
      return once({ db, vault }, request, reply, async (tx) => {
        const { service, secret } = await createService(tx, vault, terms);
        await audit(tx, {
          actor: callerOf(request).accountId,
          action: 'workflows.service_created',
          subjectId: service.id,
          detail: { name: service.name, credit_cost: Number(service.creditCost), endpoint: service.endpoint },
          requestId: request.id,
        });
        const body = { ...render(service), signing_secret: secret };
        return { status: 201, body, headers: { location: `/v1/admin/services/${body.id}` } };
      });
    },
  );

  app.get(
    '/v1/admin/services',
    {
      config: { access: 'operator', rate: 'read' },
      schema: {
        tags,
        summary: 'All services',
        querystring: PageQuery,
        response: answers({ 200: listOf(OperatorServiceOut) }),
      },
    },
    async (request) => {
      const after = cursors.read('services', 'operator', request.query);
      const rows = await listServices(db, false, after, request.query.limit + 1);
      return cursors.page('services', 'operator', request.query, rows, (service) => service.id, render);
    },
  );

  app.get(
    '/v1/admin/services/:id',
    {
      config: { access: 'operator', rate: 'read' },
      schema: {
        tags,
        summary: 'One service',
        params: idParam('service'),
        response: answers({ 200: OperatorServiceOut }),
      },
    },
    async (request) => {
      const service = await findService(db, request.params.id);
      if (!service) throw new Problem('not_found');
      return render(service);
    },
  );

  app.patch(
    '/v1/admin/services/:id',
    {
      config: { access: 'operator', rate: 'money' },
      schema: {
        tags,
        summary: 'Change a service; workflows keep the cost they agreed to',
        params: idParam('service'),
        body: Change,
        response: answers({ 200: OperatorServiceOut }),
      },
    },
    async (request) => {
      const change = termsOf(request.body);
      check(change);
      return db.transaction(async (tx) => {
        const service = await changeService(tx, request.params.id, change);
        if (!service) throw new Problem('not_found');
        await audit(tx, {
          actor: callerOf(request).accountId,
          action: 'workflows.service_changed',
          subjectId: service.id,
          detail: { fields: Object.keys(change), credit_cost: Number(service.creditCost), endpoint: service.endpoint },
          requestId: request.id,
        });
        return render(service);
      });
    },
  );

  app.post(
    '/v1/admin/services/:id/signing-secrets',
    {
      config: { access: 'operator', rate: 'money', idempotency: 'accepted' },
      schema: {
        tags,
        summary: 'Replace the signing secret; the former one signs along for a day',
        params: idParam('service'),
        response: answers({
          201: z.object({
            object: z.literal('signing_secret'),
            service_id: idOut('service'),
            signing_secret: z.string(),
          }),
        }),
      },
    },
    async (request, reply) =>
      once({ db, vault }, request, reply, async (tx) => {
        const secret = await rotateSecret(tx, vault, request.params.id);
        if (secret === undefined) throw new Problem('not_found');
        await audit(tx, {
          actor: callerOf(request).accountId,
          action: 'workflows.signing_secret_rotated',
          subjectId: request.params.id,
          requestId: request.id,
        });
        const service_id = toWire('service', request.params.id);
        return { status: 201, body: { object: 'signing_secret' as const, service_id, signing_secret: secret } };
      }),
  );

  app.post(
    '/v1/admin/services/:id/reprice-workflows',
    {
      config: { access: 'operator', rate: 'money', idempotency: 'accepted' },
      schema: {
        tags,
        summary: 'Move all workflows of a service to its present price, with notice to their owners',
        params: idParam('service'),
        body: z.strictObject({ reason: line(500) }),
        response: answers({ 200: z.object({ object: z.literal('repricing'), workflows: z.int() }) }),
      },
    },
    async (request, reply) =>
      once({ db, vault }, request, reply, async (tx) => {
        const service = await holdService(tx, request.params.id);
        if (!service) throw new Problem('not_found');
        const workflows = await repriceWorkflows(tx, service);
        await audit(tx, {
          actor: callerOf(request).accountId,
          action: 'workflows.repriced',
          subjectId: service.id,
          detail: { workflows, credit_cost: Number(service.creditCost), reason: request.body.reason },
          requestId: request.id,
        });
        return { status: 200, body: { object: 'repricing' as const, workflows } };
      }),
  );

  app.get(
    '/v1/admin/runs/:id',
    {
      config: { access: 'operator', rate: 'read' },
      schema: {
        tags,
        summary: "One run of anybody's",
        params: idParam('run'),
        response: answers({ 200: RunOut.extend({ account_id: idOut('account') }).meta({ id: 'OperatorRun' }) }),
      },
    },
    async (request) => {
      const [run] = await db.select().from(runs).where(eq(runs.id, request.params.id));
      if (!run) throw new Problem('not_found');
      return { ...renderRun(run), account_id: toWire('account', run.accountId) };
    },
  );
}
