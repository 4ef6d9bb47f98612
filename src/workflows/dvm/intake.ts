import { and, eq, inArray, isNull } from 'drizzle-orm';
import type { Tx } from '../../platform/database/clients.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { isHex32, type NostrEvent, publicKeyOf, tagValues } from '../../platform/nostr/event.ts';
import { accountOfKey, isCustomer } from './customers.ts';
import type { DvmDeps } from './deps.ts';
import { CardNumberSent, type Cipher, envelopeOf, readRequest, Unreadable } from './request.ts';
import { say } from './say.ts';
import { jobs } from './tables.ts';

/** What comes in: requests that name us, each written down once; and that their authors want them no more. */

const DELETION = 5;
const MAX_SIZE = 100_000; // characters of the JSON; relays take less
const PER_MINUTE = 30; // requests of one key
const NEWCOMERS_PER_MINUTE = 60; // keys that we have never heard of: each costs an account
const MINUTE_MS = 60_000;
const REMEMBERED = 20_000; // deletions of what was not heard yet

export interface Intake {
  /** Resolves when it is written down, or is none of our business. Rejects when it could not be. */
  take(event: NostrEvent): Promise<void>;
}

export function createIntake(deps: DvmDeps): Intake {
  const { db, metrics, key } = deps;
  const us = publicKeyOf(key);
  const limits = { keys: createMeter(PER_MINUTE), newcomers: createMeter(NEWCOMERS_PER_MINUTE) };
  const count = (what: string) => metrics.nostrEvents.inc({ what });
  /** Relays tell the newest first, and one of them before the other: a deletion may be heard before its request. */
  const unwanted = createMemory(REMEMBERED);

  const withdraw = (pubkey: string, ids: string[]) => {
    const own = and(inArray(jobs.id, ids), eq(jobs.pubkey, pubkey), isNull(jobs.closedAt));
    return db.update(jobs).set({ isWithdrawn: true }).where(own).returning({ id: jobs.id });
  };

  const takeRequest = async (event: NostrEvent) => {
    if (!tagValues(event, 'p').includes(us) || JSON.stringify(event).length > MAX_SIZE) return count('ignored');
    if (limits.keys.isSpent(event.pubkey)) return count('too_many');
    const { cipher, relays, cardNumber } = answerTo(event, key);
    const counted: (() => void)[] = [];
    const write = async (tx: Tx) => {
      if (await isKnown(tx, event.id)) return 'repeated';
      if (!limits.keys.admits(event.pubkey)) return 'too_many';
      counted.push(() => limits.keys.giveBack(event.pubkey));
      if (!(await isCustomer(tx, event.pubkey))) {
        if (!limits.newcomers.admits('all')) return 'too_many_newcomers';
        counted.push(() => limits.newcomers.giveBack('all'));
      }
      const accountId = await accountOfKey(tx, event.pubkey);
      const row = {
        id: event.id,
        accountId,
        pubkey: event.pubkey,
        request: cardNumber ? { ...event, tags: [['p', us]], content: '' } : event,
        cipher,
        relays,
        // What is said of a request from the future is said today: relays take nothing that is dated far ahead.
        lastWordAt: Math.min(event.created_at, Math.floor(Date.now() / 1000)),
      };
      const [made] = await tx.insert(jobs).values(row).onConflictDoNothing().returning();
      if (!made) return 'repeated';
      if (!cardNumber) return 'request';
      await say(tx, key, made, { status: 'error', info: cardNumber }, { isLast: true });
      return 'card_number';
    };
    const what = await db.transaction(write).catch((fault) => {
      for (const giveBack of counted) giveBack(); // it comes again, and is not to be too many by then
      throw fault;
    });
    count(what);
    if (unwanted.has(nameOf(event.pubkey, event.id))) await withdraw(event.pubkey, [event.id]);
    await failpoint('workflows.nostr.after_intake');
    if (what === 'request') deps.wakeJobs();
    if (what === 'card_number') deps.wakePublisher();
  };

  const takeDeletion = async (event: NostrEvent) => {
    const ids = tagValues(event, 'e').filter(isHex32).slice(0, 100);
    if (ids.length === 0) return;
    // First: a request that is written down meanwhile is found by the one or by the other.
    for (const id of ids) unwanted.add(nameOf(event.pubkey, id));
    const withdrawn = await withdraw(event.pubkey, ids);
    count(withdrawn.length > 0 ? 'withdrawn' : 'ignored');
    if (withdrawn.length > 0) deps.wakeJobs();
  };

  return { take: (event) => (event.kind === DELETION ? takeDeletion(event) : takeRequest(event)) };
}

const isKnown = async (tx: Tx, id: string): Promise<boolean> => (await tx.$count(jobs, eq(jobs.id, id))) > 0;

/** How it is to be answered. Of a card number nothing is kept, and it is told in clear. */
function answerTo(
  event: NostrEvent,
  key: Uint8Array,
): { cipher: Cipher | null; relays: string[]; cardNumber?: string } {
  try {
    return readRequest(event, key);
  } catch (fault) {
    if (fault instanceof CardNumberSent) return { cipher: null, relays: [], cardNumber: fault.message };
    if (fault instanceof Unreadable) return envelopeOf(event, key);
    throw fault;
  }
}

const nameOf = (pubkey: string, id: string) => `${pubkey} ${id}`;

/** The oldest names are forgotten first. */
function createMemory(most: number) {
  const names = new Set<string>();
  return {
    has: (name: string) => names.has(name),
    add: (name: string) => {
      names.add(name);
      const [oldest] = names;
      if (names.size > most && oldest !== undefined) names.delete(oldest);
    },
  };
}

/** How many of each name in the present minute. Forgets all names with it, so a flood of names costs little. */
function createMeter(perMinute: number) {
  const counts = new Map<string, number>();
  let minute = 0;
  const countOf = (name: string): number => {
    const now = Math.floor(Date.now() / MINUTE_MS);
    if (now !== minute) counts.clear();
    minute = now;
    return counts.get(name) ?? 0;
  };
  const isSpent = (name: string) => countOf(name) >= perMinute;
  return {
    isSpent,
    admits: (name: string): boolean => {
      if (isSpent(name)) return false;
      counts.set(name, countOf(name) + 1);
      return true;
    },
    giveBack: (name: string) => void counts.set(name, Math.max(0, countOf(name) - 1)),
  };
}
