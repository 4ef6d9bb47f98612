import { z } from 'zod';
import { callerOf } from '../platform/http/access.ts';
import { Problem } from '../platform/http/problem.ts';
import type { App } from '../platform/http/server.ts';
import { readCursor, STREAM_TIMEOUT_MS, streamEvents } from '../platform/http/stream.ts';
import { answers, idParam, Nothing } from '../platform/http/wire.ts';
import type { WorkflowsDeps } from './routes.ts';
import { findRun, isOver } from './runs.ts';

const LAST_EVENTS = new Set(['succeeded', 'failed', 'cancelled', 'expired'].map((state) => `workflows.run_${state}`));

/** What happens to a run, as it happens. */
export function runEventRoutes(app: App, { db, feed }: WorkflowsDeps): void {
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
