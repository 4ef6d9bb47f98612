import { randomBytes } from 'node:crypto';
import { finalizeEvent, type NostrEvent } from 'nostr-tools/pure';

/** What the holder of a key of Nostr signs to take it to an account (NIP-98). */
export const linkProof = (
  url: string,
  accountId: string,
  {
    secret = new Uint8Array(randomBytes(32)),
    created_at = Math.floor(Date.now() / 1000),
    kind = 27_235,
    tags = {} as Record<string, string>,
  } = {},
): NostrEvent =>
  finalizeEvent(
    {
      ...{ kind, content: '', created_at },
      tags: Object.entries({ u: `${url}/v1/nostr/keys`, method: 'POST', account: accountId, ...tags }),
    },
    secret,
  );
