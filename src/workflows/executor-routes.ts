import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Alarm } from '../platform/audit-log.ts';
import type { Db } from '../platform/database/clients.ts';
import type { Feed } from '../platform/delivery/feed.ts';
import { Problem } from '../platform/http/problem.ts';
import type { App } from '../platform/http/server.ts';
import { answers, idParam, line, Nothing } from '../platform/http/wire.ts';
import { fromWire, toWire } from '../platform/ids.ts';
import type { Metrics } from '../platform/metrics.ts';
import { type Reporter, reportCompletion, reportFailure, reportPart, reportProgress } from './report.ts';

export interface ExecutorDeps {
  db: Db;
  feed: Feed;
  metrics: Metrics;
  alarm: Alarm;
  /** Claims of a callback token; a 401 problem when it is not one. */
  verifyCallback(token: string): { sub: string; acc: string; att: number };
}

/** One megabyte, as for an output that comes with the answer. */
const REPORT_LIMIT = 1024 * 1024;
const params = idParam('run');

/** Callbacks of executors; the token is good for one attempt of one run. */
export function executorRoutes(app: App, { db, feed, metrics, alarm, verifyCallback }: ExecutorDeps): void {
  const reporter = (request: FastifyRequest, runId: string): Reporter => {
    const token = /^Bearer ([\w-]+\.[\w-]+\.[\w-]+)$/.exec(request.headers.authorization ?? '')?.[1];
    try {
      const claims = verifyCallback(token ?? '');
      if (claims.sub !== toWire('run', runId)) throw new Problem('invalid_callback_token');
      return { accountId: fromWire('account', claims.acc), id: runId, attempt: claims.att };
    } catch (fault) {
      if (fault instanceof Problem) {
        alarm({
          actor: 'executor',
          action: 'security.callback_token_refused',
          subjectId: runId,
          requestId: request.id,
        });
      }
      throw fault;
    }
  };
  const config = { access: 'signed', rate: 'webhook', idempotency: 'none' } as const;
  const response = answers({ 204: Nothing });
  const tags = ['executors'];

  app.post(
    '/v1/executor/runs/:id/progress',
    {
      config,
      schema: {
        tags,
        summary: 'Report how far the work is',
        params,
        body: z.strictObject({
          percent: z.int().min(0).max(100).nullable().default(null),
          message: line(200).nullable().default(null),
        }),
        response,
      },
    },
    async (request, reply) => {
      await reportProgress(db, reporter(request, request.params.id), request.body);
      feed.wake();
      return reply.code(204).send(null);
    },
  );

  app.post(
    '/v1/executor/runs/:id/parts',
    {
      config,
      bodyLimit: REPORT_LIMIT,
      schema: {
        tags,
        summary: 'Deliver a partial result',
        params,
        body: z.strictObject({ part: z.int().min(1).max(10_000), content: z.json() }),
        response,
      },
    },
    async (request, reply) => {
      await reportPart(db, reporter(request, request.params.id), request.body.part, request.body.content);
      feed.wake();
      return reply.code(204).send(null);
    },
  );

  app.post(
    '/v1/executor/runs/:id/complete',
    {
      config,
      bodyLimit: REPORT_LIMIT,
      schema: {
        tags,
        summary: 'Deliver the result',
        params,
        body: z.strictObject({ output: z.json().default(null) }),
        response,
      },
    },
    async (request, reply) => {
      await reportCompletion(db, metrics, reporter(request, request.params.id), request.body.output);
      feed.wake();
      return reply.code(204).send(null);
    },
  );

  app.post(
    '/v1/executor/runs/:id/fail',
    {
      config,
      schema: {
        tags,
        summary: 'Report a failure; for good unless it is retryable',
        params,
        body: z.strictObject({
          code: z.string().regex(/^[a-z0-9_]{1,64}$/, 'must be lower-case letters, digits and underscores, at most 64'),
          message: line(500).nullable().default(null),
          retryable: z.boolean().default(false),
        }),
        response,
      },
    },
    async (request, reply) => {
      const { code, message, retryable } = request.body;
      await reportFailure(db, metrics, reporter(request, request.params.id), { code, message }, retryable);
      feed.wake();
      return reply.code(204).send(null);
    },
  );
}
