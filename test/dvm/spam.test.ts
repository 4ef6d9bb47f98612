import { randomBytes } from 'node:crypto';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { expect, onTestFinished, test } from 'vitest';
import { type EventTemplate, type NostrEvent, publicKeyOf, signEvent } from '../../src/platform/nostr/event.ts';
import { eventually, type Json } from '../harness/client.ts';
import { faultsAtRest } from '../harness/whole-books.ts';
import { hostileRelay } from '../nostr/hostile-relay.ts';
import { openDvmStage } from './stage.ts';

const newKey = () => new Uint8Array(randomBytes(32));
/** Of one minute; the flood may fall into two. */
const [BY_ONE_KEY, NEWCOMERS] = [2 * 30, 2 * 60];

test('ten thousand events of junk within a moment: little is written, nobody waits, and the good job among them is done', async () => {
  const flood: NostrEvent[] = [];
  let flooded = false;
  let goodKind = 0;
  const published = new Map<string, NostrEvent>();
  const relay = await hostileRelay(([type, first, ...filters], say) => {
    if (type === 'EVENT') {
      const event = first as NostrEvent;
      published.set(event.id, event);
      say(JSON.stringify(['OK', event.id, true, '']));
    }
    if (type !== 'REQ') return;
    const isAsked = (filters as { kinds?: number[] }[]).some(({ kinds }) => kinds?.includes(goodKind));
    if (isAsked && !flooded) {
      flooded = true;
      for (const event of flood) say(JSON.stringify(['EVENT', first, event]));
    }
    say(JSON.stringify(['EOSE', first]));
  });
  const stage = await openDvmStage({ env: { NOSTR_RELAYS: relay.url } });
  onTestFinished(() => stage.close());
  const { root, us } = stage;
  const asking = (kind: number, key = newKey(), more: Partial<EventTemplate> = {}) => {
    const tags = [
      ['p', us],
      ['t', randomBytes(4).toString('hex')],
    ];
    return signEvent({ kind, created_at: Math.floor(Date.now() / 1000), tags, content: '', ...more }, key);
  };

  const { kind } = await stage.sell();
  const [spammer, friend] = [newKey(), newKey()];
  const one = asking(kind, spammer);
  const times = (n: number, make: (n: number) => NostrEvent) => Array.from({ length: n }, (_, at) => make(at));
  const noId = (n: number) => n.toString(16).padStart(64, '0');
  const after = { mode: 'after', after: { credit_limit: 60, max_unpaid_runs: 1, grace_s: 3600 } };
  const prepared = [
    asking(kind, friend), // whoever is known is heard when newcomers are not
    ...times(3_000, (n) => ({ ...one, id: noId(n), tags: [['p', noId(n)]] })), // for somebody else
    ...times(2_000, (n) => ({ ...one, id: noId(n), kind: 5999 })), // done by nobody
    ...times(3_500, (n) => ({ ...one, id: noId(n), content: `forged ${n}` })),
    ...times(150, () => ({ ...asking(kind), sig: 'f'.repeat(128) })),
    ...times(1_000, () => one),
    ...times(150, () => asking(kind, spammer)),
    ...times(200, () => asking(kind)),
  ];
  // It listens for a kind within moments of its being sold: everything is there before.
  goodKind = kind + 1;
  flood.push(...prepared, asking(goodKind, friend));
  expect((await stage.sell(after)).kind).toBe(goodKind);

  const heap = () => process.memoryUsage().heapUsed / 2 ** 20;
  const [before, delay] = [heap(), monitorEventLoopDelay({ resolution: 5 })];
  await eventually(
    async () => flooded,
    (isThere) => isThere,
  );
  await new Promise((resolve) => setTimeout(resolve, 50)); // the other side is in this process, and has said it all by then
  delay.enable();
  const asked = performance.now();
  expect((await fetch(`${stage.farebox.url}/v1/packages`)).status).toBeLessThan(500);
  expect(performance.now() - asked, 'milliseconds until a request is answered').toBeLessThan(3_000);
  await eventually(
    async () => [...published.values()].map((event) => event.kind),
    (kinds) => kinds.includes(goodKind + 1000),
  );
  delay.disable();
  expect(delay.percentile(99) / 1e6, 'milliseconds that others wait').toBeLessThan(150);
  expect(heap() - before, 'MiB').toBeLessThan(250);

  const counts = await eventually(
    async (): Promise<Json> => {
      const [row] = await root`
        select (select count(*)::int from workflows.nostr_jobs where pubkey = ${publicKeyOf(spammer)}) as spammed,
          (select count(*)::int from workflows.nostr_jobs) as jobs, (select count(*)::int from workflows.nostr_customers) as customers,
          (select count(*)::int from identity.accounts where shadow_of is not null) as accounts,
          (select count(*)::int from workflows.runs) as runs, (select count(*)::int from workflows.asks) as asks,
          (select count(*)::int from workflows.nostr_jobs where run_id is null) as unbegun`;
      return row ?? {};
    },
    ({ unbegun }) => unbegun === 0,
  );
  expect(counts.spammed).toBeGreaterThanOrEqual(30);
  expect(counts.spammed).toBeLessThanOrEqual(BY_ONE_KEY);
  expect(counts.customers).toBeLessThanOrEqual(NEWCOMERS);
  const jobs = counts.spammed + counts.customers; // one of each newcomer, of whom one is the spammer and one the friend, who has two
  expect(counts).toMatchObject({ jobs, accounts: counts.customers, runs: jobs, asks: jobs });
  expect(stage.executor.runs.length).toBe(1);
  expect(await faultsAtRest(stage.farebox.database.superuserUrl)).toEqual([]);
});
