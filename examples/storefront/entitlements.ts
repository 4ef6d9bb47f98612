/**
 * What Farebox has lately said that sessions may read, so that not every image of an article asks again.
 *
 * A refund, or a browser that takes another one's place, counts here after `ttlMs` at the latest: so long an article may
 * still be served to whom it is no more due. Of one process: what one browser's question shows of an order (a higher
 * version) ends older entries of that order at once. With 0 every request asks.
 */
export interface Entitlements {
  has(session: string, resource: string): boolean;
  learn(session: string, resource: string, order: { orderId: string; version: number; entitled: boolean }): void;
}

interface Kept {
  orderId: string;
  version: number;
  until: number;
}

const MAX_KEPT = 10_000; // some 2 MB

export function keepEntitlements(ttlMs: number, now: () => number = Date.now): Entitlements {
  const kept = new Map<string, Kept>();
  const keyOf = (session: string, resource: string) => `${session} ${resource}`;
  return {
    has: (session, resource) => (kept.get(keyOf(session, resource))?.until ?? 0) > now(),
    learn(session, resource, { orderId, version, entitled }) {
      kept.delete(keyOf(session, resource));
      for (const [key, one] of kept)
        if (one.until <= now() || (one.orderId === orderId && one.version < version)) kept.delete(key);
      if (!entitled || ttlMs === 0) return;
      const [oldest] = kept.keys();
      if (kept.size >= MAX_KEPT && oldest !== undefined) kept.delete(oldest);
      kept.set(keyOf(session, resource), { orderId, version, until: now() + ttlMs });
    },
  };
}
