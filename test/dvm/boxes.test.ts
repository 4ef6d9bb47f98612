import postgres from 'postgres';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type StandInRelay, startRelay } from '../../sandbox/nostr/relay.ts';
import { type Database, openDatabase } from '../../src/platform/database/clients.ts';
import { createLog } from '../../src/platform/log.ts';
import { isGenuine, type NostrEvent, readEvent } from '../../src/platform/nostr/event.ts';
import { openRelays, type Relays } from '../../src/platform/nostr/relays.ts';
import { conclude, keep, keptInterest, unread } from '../../src/workflows/dvm/inbox.ts';
import { nostrReaper, outboxWorker, say } from '../../src/workflows/dvm/outbox.ts';
import { eventually } from '../harness/client.ts';
import { cloneDatabase, type TestDatabase } from '../harness/database.ts';
import { note, now, ourKey } from '../nostr/stage.ts';

/** What is said and heard on Nostr lies in the database first. */

let at: TestDatabase;
let database: Database;
let root: postgres.Sql;
let relay: StandInRelay;
let relays: Relays;
beforeAll(async () => {
  at = await cloneDatabase();
  database = await openDatabase({ url: at.appUrl, pool: 4, caFile: undefined, insecure: true });
  root = postgres(at.superuserUrl, { max: 1, onnotice: () => {} });
  relay = await startRelay();
  relays = openRelays({ urls: [relay.url], log: createLog('silent'), key: ourKey, publishWithinMs: 500 });
});
afterAll(async () => {
  relays.close();
  await relay.close();
  await Promise.all([root.end(), database.close()]);
  await at.drop();
});
beforeEach(() => root`truncate workflows.nostr_outbox, workflows.nostr_inbox`);

const told = (content: string, more = {}) => ({
  ...{ kind: 7000, content, tags: [['e', 'ab'.repeat(32)]], subject: 'job-1', notBefore: 0, relays: [] },
  ...more,
});
const tell = (content: string, more = {}) => database.db.transaction((tx) => say(tx, ourKey, told(content, more)));
const worker = () => outboxWorker({ db: database.db, relays, log: createLog('silent') });
const work = async () => {
  for (let more = true; more; ) ({ more } = await worker().runOnce(new AbortController().signal));
};
const rows = () => root`select id, state, attempts, answers, event_at from workflows.nostr_outbox order by event_at`;
const atRelay = () => relay.control.events().map(({ content }) => content);

describe('what is said', () => {
  test('it is signed with what it tells of: no commit, no event', async () => {
    await database.db
      .transaction(async (tx) => {
        await say(tx, ourKey, told('never'));
        throw new Error('it has not happened');
      })
      .catch(() => {});
    expect(await rows()).toHaveLength(0);
    const event = await tell('it has');
    expect(isGenuine(event)).toBe(true);
    const [row] = await root`select event from workflows.nostr_outbox`;
    expect(readEvent(row?.['event'])).toEqual(event);
  });

  test('of one subject each is later than the one before, also when they are told at once; an answer is not older than its question', async () => {
    const events = await Promise.all(Array.from({ length: 8 }, (_, n) => tell(`n${n}`)));
    const times = events.map(({ created_at }) => created_at).toSorted();
    expect(new Set(times).size).toBe(8);
    expect((await tell('later', { subject: 'job-2', notBefore: now() + 900 })).created_at).toBeGreaterThanOrEqual(
      now() + 890,
    );
    expect((await tell('of another')).created_at).toBe((times.at(-1) ?? 0) + 1);
  });

  test('it is published once a relay takes it, in order, and never signed again', async () => {
    const events = [await tell('first'), await tell('second'), await tell('elsewhere', { subject: 'job-2' })];
    await relay.control.vanish();
    await worker().runOnce(new AbortController().signal);
    const tried =
      await root`select event ->> 'content' as content, attempts from workflows.nostr_outbox order by signed_at`;
    expect(tried.map(({ content, attempts }) => [content, attempts])).toEqual([
      ['first', 1],
      ['second', 0], // after the first
      ['elsewhere', 1],
    ]);
    await relay.control.comeBack();
    await eventually(
      async () => {
        await root`update workflows.nostr_outbox set next_attempt_at = now() where state = 'waiting'`;
        await work();
        return rows();
      },
      (all) => all.every(({ state }) => state === 'published'),
    );
    expect(atRelay().slice(-3).toSorted()).toEqual(['elsewhere', 'first', 'second']);
    expect(atRelay().indexOf('first')).toBeLessThan(atRelay().indexOf('second'));
    expect(new Set((await rows()).map(({ id }) => id))).toEqual(new Set(events.map(({ id }) => id)));
    expect((await rows())[0]?.['answers']).toEqual({ [relay.url]: { outcome: 'taken' } });
  });

  test('two who publish at once publish each once; whoever died leaves it to the other', async () => {
    await Promise.all(Array.from({ length: 6 }, (_, n) => tell(`shared ${n}`, { subject: `job-${n}` })));
    await Promise.all([work(), work()]);
    expect((await rows()).map(({ attempts }) => attempts)).toEqual([1, 1, 1, 1, 1, 1]);
    await tell('left behind');
    await root`update workflows.nostr_outbox set next_attempt_at = now() + interval '60 seconds', attempts = 1 where state = 'waiting'`;
    await work();
    expect(atRelay()).not.toContain('left behind');
    await root`update workflows.nostr_outbox set next_attempt_at = now() where state = 'waiting'`;
    await work();
    expect(atRelay()).toContain('left behind');
  });

  test('what no relay has taken for a week is given up; what was signed stays as it was', async () => {
    await tell('nobody wants it');
    await root.begin(async (tx) => {
      await tx`alter table workflows.nostr_outbox disable trigger nostr_outbox_frozen`;
      await tx`update workflows.nostr_outbox set signed_at = now() - interval '8 days'`;
      await tx`alter table workflows.nostr_outbox enable trigger nostr_outbox_frozen`;
    });
    await relay.control.vanish();
    await work();
    await relay.control.comeBack();
    expect((await rows()).map(({ state }) => state)).toEqual(['given_up']);
    await expect(root`update workflows.nostr_outbox set subject = 'another'`).rejects.toThrow('does not change');
  });
});

describe('what is heard', () => {
  test('it is kept once, and looked at once', async () => {
    const event = note();
    const kept = await Promise.all(Array.from({ length: 5 }, () => keep(database.db, event, 'wss://a')));
    expect(kept.filter(Boolean)).toHaveLength(1);
    const look = () =>
      database.db.transaction(async (tx) => {
        const found = await unread(tx, 10);
        for (const one of found) await conclude(tx, one.id, 'taken');
        return found.map((one) => (one.event as NostrEvent).content);
      });
    const looked = await Promise.all([look(), look()]);
    expect(looked.flat()).toEqual([event.content]);
    expect(await look()).toEqual([]);
  });

  test('a relay is heard on from where it was heard to the end, by whichever process', async () => {
    const others = openRelays({ urls: [relay.url], log: createLog('silent'), key: null });
    const hearing = () => {
      const mine = openRelays({ urls: [relay.url], log: createLog('silent'), key: ourKey, catchUpEveryMs: 200 });
      const kept: true[] = [];
      const filters = (since: number) => [{ kinds: [5600], since }];
      mine.follow(keptInterest(database.db, { filters, firstS: 3_600, onKept: () => void kept.push(true) }));
      return { close: mine.close, kept };
    };
    const isKept = (count: number) =>
      eventually(
        async () => Number((await root`select count(*) as n from workflows.nostr_inbox`)[0]?.['n']),
        (n) => n === count,
      );
    await others.publish(note());
    const first = hearing();
    await isKept(1);
    await eventually(
      () => root`select 1 from workflows.nostr_relays`,
      (all) => all.length === 1,
    );
    first.close();
    await others.publish(note({ created_at: now() - 600 }));
    const second = hearing();
    await isKept(2);
    expect(second.kept, 'what is known is no news').toHaveLength(1);
    second.close();
    others.close();
  });

  test('what nobody can send again is forgotten, and nothing else', async () => {
    await keep(database.db, note(), 'wss://a');
    const known = note();
    await keep(database.db, known, 'wss://a');
    await database.db.transaction((tx) => conclude(tx, known.id, 'taken'));
    await root`update workflows.nostr_inbox set received_at = now() - interval '31 days'`;
    await nostrReaper({ db: database.db }).runOnce(new AbortController().signal);
    expect(await root`select verdict from workflows.nostr_inbox`).toEqual([{ verdict: null }]);
  });
});
