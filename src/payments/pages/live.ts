import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Feed, FeedEvent } from '../../platform/delivery/feed.ts';
import { streamEvents, unnamed } from '../../platform/http/stream.ts';

/**
 * Everything that happened to what a page shows, and what happens while it is open, up to the event after which it shows
 * nothing new. 429 when too many browsers have the page open.
 */
export async function streamToPage(
  request: FastifyRequest,
  reply: FastifyReply,
  deps: { feed: Feed; page: string },
  shown: { id: string; createdAt: Date },
  isLast: (event: FeedEvent) => boolean,
): Promise<FastifyReply> {
  const leave = deps.feed.enter(`${deps.page} ${shown.id}`);
  try {
    await streamEvents(
      request,
      reply,
      (signal) => deps.feed.follow(shown.id, shown.createdAt, 0n, signal),
      isLast,
      unnamed,
    );
  } finally {
    leave();
  }
  return reply;
}
