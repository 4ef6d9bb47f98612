import { z } from 'zod';
import type { Sql } from '../database/clients.ts';
import { callerOf } from '../http/access.ts';
import { type Cursors, listOf, pageQuery } from '../http/lists.ts';
import type { App } from '../http/server.ts';
import { placeId, readPlace, STREAM_TIMEOUT_MS, streamEvents } from '../http/stream.ts';
import { answers, idOut, timeOut } from '../http/wire.ts';
import { listEvents } from './account-events.ts';
import { type EventTypes, renderEvent } from './event-types.ts';
import type { Feed, FeedEvent } from './feed.ts';

const EventOut = z
  .object({
    object: z.literal('event'),
    id: idOut('event'),
    type: z.string(),
    timestamp: timeOut,
    seq: z.int().describe('the order of the events of one object'),
    data: z.record(z.string(), z.unknown()).describe('`object` and `id` of what it happened to, and a little more'),
  })
  .meta({ id: 'Event' });

/** Everything that the caller is told of, to read again and as it happens. */
export function eventRoutes(
  app: App,
  { sql, cursors, feed, types }: { sql: Sql; cursors: Cursors; feed: Feed; types: EventTypes },
): void {
  const tags = ['events'];
  const typeNames = Object.keys(types);
  const render = (event: FeedEvent): z.infer<typeof EventOut> => ({ object: 'event', ...renderEvent(types, event) });

  app.get(
    '/v1/events',
    {
      config: { access: 'read', rate: 'read' },
      schema: {
        tags,
        summary: 'What happened, newest first',
        querystring: z.strictObject({
          ...pageQuery,
          type: z
            .string()
            .refine((type) => typeNames.includes(type), 'must be a type of event')
            .describe(`one of ${typeNames.join(', ')}`)
            .optional(),
        }),
        response: answers({ 200: listOf(EventOut) }),
      },
    },
    async (request) => {
      const { accountId } = callerOf(request);
      const { limit, type = null } = request.query;
      const list = `events ${type ?? 'all'}`;
      const before = cursors.read(list, accountId, request.query);
      const wanted = { before: before === null ? null : BigInt(before), type, limit: limit + 1 };
      const rows = await listEvents(sql, accountId, wanted);
      return cursors.page(list, accountId, request.query, rows, ({ place }) => String(place), render);
    },
  );

  app.get(
    '/v1/events/stream',
    {
      config: { access: 'read', rate: 'read' },
      exposeHeadRoute: false,
      handlerTimeout: STREAM_TIMEOUT_MS,
      schema: {
        tags,
        summary: 'What happens, as it happens (server-sent events)',
        description: 'Begins now. A reader that comes back with Last-Event-ID misses nothing.',
        response: answers({ 200: z.string() }),
      },
    },
    async (request, reply) => {
      const { accountId } = callerOf(request);
      // Before the head is sent: whoever has seen that hears of all that happens after it.
      const after = readPlace(request) ?? (await feed.lastPlaceOf(accountId));
      const leave = feed.enter(accountId);
      const write = (event: FeedEvent) =>
        `id: ${placeId(event.place)}\nevent: ${event.type}\ndata: ${JSON.stringify(render(event))}\n\n`;
      try {
        const source = (signal: AbortSignal) => feed.followAccount(accountId, after, signal);
        await streamEvents(request, reply, source, () => false, write);
      } finally {
        leave();
      }
      return reply;
    },
  );
}
