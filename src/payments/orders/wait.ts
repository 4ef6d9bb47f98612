import type { IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Feed } from '../../platform/delivery/feed.ts';
import type { Order } from './read.ts';

/**
 * Long poll: what is read, at once or as soon as something happens to the order after which it is worth telling. All
 * waiting readers of a replica share one query of the feed; none of them keeps a connection of the database.
 */
export async function untilChanged<T extends { order: Order }>(
  feed: Feed,
  { socket }: Pick<IncomingMessage, 'socket'>,
  waitMs: number,
  read: () => Promise<T>,
  isWaiting: (seen: T) => boolean,
): Promise<T> {
  let seen = await read();
  if (waitMs === 0 || !isWaiting(seen)) return seen;
  const { id, createdAt } = seen.order;
  const over = new AbortController();
  const end = () => over.abort();
  socket.once('close', end);
  const leave = feed.enter(`order ${id}`);
  const timer = setTimeout(end, waitMs);
  try {
    for await (const _news of feed.follow(id, createdAt, 0n, over.signal)) {
      seen = await read();
      if (!isWaiting(seen)) break;
    }
    // The feed has stopped before its time: this replica is on its way out.
    if (!over.signal.aborted && isWaiting(seen)) await sleep(0);
  } finally {
    clearTimeout(timer);
    socket.off('close', end);
    over.abort();
    leave();
  }
  return seen;
}
