import { z } from 'zod';
import type { FeedEvent } from '../platform/delivery/feed.ts';
import { callerOf } from '../platform/http/access.ts';
import { Problem } from '../platform/http/problem.ts';
import type { App } from '../platform/http/server.ts';
import { readCursor, STREAM_TIMEOUT_MS, streamEvents } from '../platform/http/stream.ts';
import { answers, idParam, Nothing } from '../platform/http/wire.ts';
import type { WorkflowsDeps } from './routes.ts';
import { findRun, isOver } from './runs.ts';

const ENDINGS = ['succeeded', 'failed', 'cancelled', 'expired', 'paid', 'written_off'];
const LAST_EVENTS = new Set(ENDINGS.map((what) => `workflows.run_${what}`));

/** What was delivered and is waited for to be paid has more to tell. */
const isOwed = (state: unknown): boolean => state === 'open' || state === 'part_paid';
const isLast = ({ type, payload }: FeedEvent): boolean =>
  LAST_EVENTS.has(type) && !isOwed((payload as { payment_state?: unknown }).payment_state);

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
      if (isOver(run.state) && !isOwed(run.paymentState) && (await feed.isLast(run.id, run.createdAt, after)))
        return reply.code(204).send(null);
      const leave = feed.enter(accountId);
      try {
        await streamEvents(request, reply, (signal) => feed.follow(run.id, run.createdAt, after, signal), isLast);
      } finally {
        leave();
      }
      return reply;
    },
  );
}
