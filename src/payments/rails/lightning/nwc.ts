import { setTimeout as sleep } from 'node:timers/promises';
import { decrypt as decrypt04, encrypt as encrypt04 } from 'nostr-tools/nip04';
import { decrypt as decrypt44, encrypt as encrypt44, getConversationKey } from 'nostr-tools/nip44';
import { z } from 'zod';
import type { Log } from '../../../platform/log.ts';
import { type NostrEvent, publicKeyOf, signEvent, tagValues } from '../../../platform/nostr/event.ts';
import { openRelay, type Relay } from '../../../platform/nostr/relay.ts';
import type { WalletConnection } from '../../../platform/nostr/settings.ts';
import { type Outcome, UNREADABLE } from '../rail.ts';

/** Nostr Wallet Connect (NIP-47): a wallet is asked over relays, and answers when it can. Nothing waits for who is away. */
export interface NwcClient {
  /** `rejected`: with the wallet's code. `unavailable`: nobody heard it, or it asks for patience. `unknown`: no answer in time. */
  ask<T>(method: string, params: Record<string, unknown>, shape: z.ZodType<T>): Promise<Outcome<T>>;
  close(): void;
}

export interface NwcOptions {
  connection: WalletConnection;
  /** For one question, from sending it to its answer. */
  deadlineMs: number;
  log: Log;
  /** Told of every question: method, outcome. */
  onCall(method: string, outcome: string): void;
  /** The wallet says by itself that an invoice was paid: a hint to look, by its payment hash. */
  onReceived(paymentHash: string): void;
}

const INFO = 13_194;
const REQUEST = 23_194;
const RESPONSE = 23_195;
const NOTIFICATIONS = [23_196, 23_197]; // by NIP-04 and by NIP-44
const MAX_CONTENT = 131_072; // characters: twenty transactions with all their text come to half of it
const CONNECT_WITHIN_MS = 3_000;
const LATE_S = 60; // what is as old as that answers nothing that is still asked

const Reply = z.union([
  z.looseObject({ error: z.looseObject({ code: z.string().max(40), message: z.string().default('') }) }),
  z.looseObject({ result: z.looseObject({}) }),
]);
const Notification = z.looseObject({
  notification_type: z.literal('payment_received'),
  notification: z.looseObject({ payment_hash: z.string().regex(/^[0-9a-f]{64}$/) }),
});

/** The wallet will say something else, or another time: nothing is decided by these (NIP-47, "Error codes"). */
const PASSING = new Set(['RATE_LIMITED', 'INTERNAL', 'OTHER']);

export function createNwc({ connection, deadlineMs, log, onCall, onReceived }: NwcOptions): NwcClient {
  const { walletKey, secret } = connection;
  const us = publicKeyOf(secret);
  const pending = new Map<string, (reply: string) => void>();
  const cipher = createCipher(secret, walletKey);

  const hear = (event: NostrEvent) => {
    const text = event.content.length > MAX_CONTENT ? undefined : cipher.open(event.content);
    if (event.kind === RESPONSE) {
      for (const id of tagValues(event, 'e')) pending.get(id)?.(text ?? '');
      return;
    }
    const told = Notification.safeParse(jsonOf(text ?? ''));
    if (told.success) onReceived(told.data.notification.payment_hash);
  };

  const relays: Relay[] = connection.relays.map((url) => {
    const relay = openRelay({ url, log, key: secret, onOpen: () => void learn(relay) });
    relay.follow({
      filters: () => [
        { kinds: [RESPONSE, ...NOTIFICATIONS], authors: [walletKey], '#p': [us], since: nowS() - LATE_S },
      ],
      onEvent: hear,
    });
    return relay;
  });

  /** How the wallet wants to be written to, and what it would do for us. */
  const learn = async (relay: Relay) => {
    const onEvent = ({ content, tags }: NostrEvent) => {
      cipher.agree(tagValues({ tags }, 'encryption').join(' ').split(/[ ,]+/));
      if (/\bpay_(invoice|keysend)\b/.test(content))
        log.warn('the wallet of NWC_URL lets us spend; a connection that only receives is safer');
    };
    await relay.query([{ kinds: [INFO], authors: [walletKey], limit: 1 }], { onEvent }, deadlineMs);
  };

  /** True as soon as there is a way out. */
  const isConnected = async (): Promise<boolean> => {
    for (const end = Date.now() + CONNECT_WITHIN_MS; Date.now() < end; await sleep(50)) {
      if (relays.some(({ isOpen }) => isOpen)) return true;
    }
    return false;
  };

  const send = async (method: string, params: Record<string, unknown>): Promise<Outcome<string>> => {
    if (!(await isConnected())) return { outcome: 'unavailable', reason: 'no_connection' };
    const at = nowS();
    const tags = [['p', walletKey], ...cipher.tags(), ['expiration', String(at + Math.ceil(deadlineMs / 1000))]];
    const content = cipher.seal(JSON.stringify({ method, params }));
    const request = signEvent({ kind: REQUEST, created_at: at, tags, content }, secret);
    const answered = Promise.withResolvers<Outcome<string>>();
    pending.set(request.id, (value) => answered.resolve({ outcome: 'ok', value }));
    const late = setTimeout(() => answered.resolve({ outcome: 'unknown', reason: 'timeout' }), deadlineMs);
    const open = relays.filter(({ isOpen }) => isOpen);
    void Promise.all(open.map((relay) => relay.publish(request, deadlineMs))).then((published) => {
      if (published.every(({ outcome }) => outcome === 'refused'))
        answered.resolve({ outcome: 'unavailable', reason: 'refused_by_relay' });
    });
    return answered.promise.finally(() => {
      clearTimeout(late);
      pending.delete(request.id);
    });
  };

  return {
    ask: async (method, params, shape) => {
      const sent = await send(method, params);
      const outcome = sent.outcome === 'ok' ? readReply(sent.value, shape) : sent;
      onCall(method, outcome.outcome);
      return outcome;
    },
    close: () => {
      for (const relay of relays) relay.close();
    },
  };
}

function readReply<T>(text: string, shape: z.ZodType<T>): Outcome<T> {
  const reply = Reply.safeParse(jsonOf(text));
  if (!reply.success) return { outcome: 'unknown', reason: UNREADABLE };
  if ('error' in reply.data) {
    const { code, message } = reply.data.error as { code: string; message: string };
    if (PASSING.has(code)) return { outcome: 'unavailable', reason: code };
    return { outcome: 'rejected', code, message: message.slice(0, 500) };
  }
  const value = shape.safeParse(reply.data['result']);
  return value.success ? { outcome: 'ok', value: value.data } : { outcome: 'unknown', reason: UNREADABLE };
}

/** NIP-44 where the wallet knows it, else NIP-04; read as it comes. Until the wallet has said so, NIP-44. */
function createCipher(secret: Uint8Array, walletKey: string) {
  const key = getConversationKey(secret, walletKey);
  let isOld = false;
  return {
    agree: (known: string[]) => {
      isOld = !known.includes('nip44_v2');
    },
    tags: () => (isOld ? [] : [['encryption', 'nip44_v2']]),
    seal: (text: string) => (isOld ? encrypt04(secret, walletKey, text) : encrypt44(text, key)),
    open: (content: string): string | undefined => {
      try {
        return content.includes('?iv=') ? decrypt04(secret, walletKey, content) : decrypt44(content, key);
      } catch {
        return undefined;
      }
    },
  };
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const nowS = () => Math.floor(Date.now() / 1000);
