import { z } from 'zod';
import { BalanceOut, renderBalance } from '../credits/index.ts';
import { callerOf } from '../platform/http/access.ts';
import { fingerprint, keyOf } from '../platform/http/idempotency.ts';
import { listOf, PageQuery, pageQuery } from '../platform/http/lists.ts';
import { Problem } from '../platform/http/problem.ts';
import type { App } from '../platform/http/server.ts';
import { answers, idIn, idParam, JsonObject, MAX_AMOUNT, time, timeOut } from '../platform/http/wire.ts';
import { findAsk, paymentRequired } from './asks/read.ts';
import type { Begun } from './asks/start.ts';
import { cancel } from './finish.ts';
import type { WorkflowsDeps } from './routes.ts';
import { findPart, findRun, listParts, listRuns, type Part, RunOut, renderAccepted, renderRun } from './runs.ts';
import { type Accepted, startRun } from './start-run.ts';

/** The caller's runs. */
export function runRoutes(app: App, deps: WorkflowsDeps): void {
  startRoute(app, deps);
  startedRoutes(app, deps);
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
          'Deducts the credits, records the run and queues it in one transaction; or refuses, and nothing has happened. With `payment` or `max_price`, or by the policy of the service, it is paid by asks: then 402 `payment_required` leaves a run that waits for its payment (`ask_id`), and a run that is paid afterwards starts at once.',
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
          payment: z
            .enum(['upfront', 'after'])
            .optional()
            .describe(
              'when it is paid, as far as the service allows it; `upfront` opens an ask when there are too few credits',
            ),
          max_price: z.int().min(1).max(MAX_AMOUNT).transform(BigInt).optional().describe('refuse if it costs more'),
        }),
        response: answers({ 202: z.object({ run: RunOut, balance: BalanceOut }) }),
      },
    },
    async (request, reply) => {
      const keyed = keyOf(request);
      if (!keyed) throw new Problem('idempotency_key_required');
      const started = await startRun(deps, {
        accountId: keyed.accountId,
        workflowId: request.params.id,
        key: keyed.key,
        requestHash: fingerprint(request),
        input: request.body.input,
        expectedCost: request.body.expected_cost ?? null,
        payment: request.body.payment,
        maxPrice: request.body.max_price,
      });
      if (started.replayed) reply.header('Idempotent-Replayed', 'true');
      else deps.metrics.runs.inc({ state: 'ask' in started ? started.run.state : 'queued' });
      if (!started.replayed || 'ask' in started) deps.wakeDispatcher();
      const body = 'ask' in started ? await begunBody(deps, started) : acceptedBody(started);
      reply.code(202).header('Location', `/v1/runs/${body.run.id}`);
      return body;
    },
  );
}

const acceptedBody = ({ run, balance }: Accepted) => ({ run: renderAccepted(run), balance: renderBalance(balance) });

/** The run as it is; 402 while it waits for its first payment. */
async function begunBody({ db, asks, feed, hasWallet }: WorkflowsDeps, { run, ask }: Begun) {
  feed.wake();
  const balance = await asks.balanceOf(run.accountId);
  if (ask) throw await paymentRequired(db, 'payment_required', ask, balance.available, hasWallet);
  return { run: renderRun(run), balance: renderBalance(balance) };
}

const PartOut = z
  .object({ object: z.literal('part'), number: z.int(), content: z.unknown(), created_at: timeOut })
  .meta({ id: 'Part' });

const renderPart = ({ number, content, createdAt }: Part): z.infer<typeof PartOut> => ({
  ...{ object: 'part', number, content, created_at: time(createdAt) },
});

function startedRoutes(app: App, { db, cursors, feed, metrics, asks, hasWallet, wakeDispatcher }: WorkflowsDeps): void {
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
      const rows = await listParts(db, run, Number(after ?? 0), request.query.limit + 1);
      return cursors.page(`parts ${run.id}`, accountId, request.query, rows, (part) => String(part.number), renderPart);
    },
  );

  app.get(
    '/v1/runs/:id/parts/:number',
    {
      config: { access: 'read', rate: 'read' },
      schema: {
        tags,
        summary: 'One partial result',
        description: '402 with the ask when it is the part that has to be paid next.',
        params: z.strictObject({
          id: idIn('run'),
          number: z
            .string()
            .regex(/^([1-9]\d{0,3}|10000)$/, 'must be a whole number from 1 to 10000')
            .transform(Number),
        }),
        response: answers({ 200: PartOut }),
      },
    },
    async (request) => {
      const { accountId } = callerOf(request);
      const { id, number } = request.params;
      const run = await findRun(db, accountId, id);
      if (!run) throw new Problem('not_found');
      const part = await findPart(db, run, number);
      if (part) return renderPart(part);
      const ask = run.due > 0n && run.askId ? await findAsk(db, accountId, run.askId) : undefined;
      if (!ask || number !== ask.ask.seq || ask.ask.kind === 'result') throw new Problem('not_found');
      const { available } = await asks.balanceOf(accountId);
      throw await paymentRequired(db, 'payment_required', ask, available, hasWallet);
    },
  );
}
