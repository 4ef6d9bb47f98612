import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { type Database, openDatabase } from '../../src/platform/database/clients.ts';
import { createMetrics } from '../../src/platform/metrics.ts';
import { publisher } from '../../src/workflows/dvm/publish.ts';
import { jobs, words } from '../../src/workflows/dvm/tables.ts';
import { hostileRelay } from '../nostr/hostile-relay.ts';
import { note, relaysFor } from '../nostr/stage.ts';
import { type DvmStage, openDvmStage } from './stage.ts';

/** In which order relays are handed what was said; nobody publishes here but the tests. */

let stage: DvmStage;
let database: Database;
beforeAll(async () => {
  stage = await openDvmStage({ env: { WORKERS: 'off' } });
  database = await openDatabase({ url: stage.farebox.database.appUrl, pool: 2 });
});
afterAll(async () => {
  await database.close();
  await stage.close();
});

test('of a job nothing is handed over before what was said before it is taken', async () => {
  const { db } = database;
  const [request, one, other] = [note(), note(), note()];
  const job = { id: request.id, accountId: '00000000-0000-7000-8000-000000000001', pubkey: request.pubkey };
  await db.insert(jobs).values({ ...job, request, relays: [], lastWordAt: request.created_at });
  for (const [at, event] of [one, other].entries())
    await db.insert(words).values({ id: event.id, jobId: job.id, seq: at + 1, event, isLast: false });
  let isWilling = false;
  const relay = await hostileRelay(([type, event], say) => {
    if (type === 'EVENT') say(JSON.stringify(['OK', (event as { id: string }).id, isWilling, 'blocked: not now']));
  });
  const { runOnce } = publisher({ db, metrics: createMetrics(), relays: relaysFor([relay.url]) });
  const signal = AbortSignal.timeout(60_000);
  await runOnce(signal);
  isWilling = true;
  await stage.root`update workflows.nostr_events set next_at = now()`;
  while ((await runOnce(signal)).more);
  const handed = relay.heard.flatMap(([type, event]) => (type === 'EVENT' ? [(event as { id: string }).id] : []));
  expect(handed).toEqual([one.id, one.id, other.id]);
});

test('what our relays refuse, and a relay that says nothing was named for, keeps nothing else waiting', async () => {
  const { db } = database;
  const silent = createServer(() => {}).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  onTestFinished(() => void silent.close());
  const at = `127.0.0.1:${(silent.address() as AddressInfo).port}`;
  const sayOf = async (relays: string[]) => {
    const [request, event] = [note(), note()];
    const job = { id: request.id, accountId: '00000000-0000-7000-8000-000000000001', pubkey: request.pubkey };
    await db.insert(jobs).values({ ...job, request, relays, lastWordAt: request.created_at });
    await db.insert(words).values({ id: event.id, jobId: job.id, seq: 1, event, isLast: false });
    return event.id;
  };
  const refused = await sayOf([`ws://${at}`]);
  const relay = await hostileRelay(([type, event], say) => {
    const { id } = event as { id: string };
    if (type === 'EVENT') say(JSON.stringify(['OK', id, id !== refused, 'invalid: too large']));
  });
  const relays = relaysFor([relay.url], { allow: [at] });
  const { runOnce, settle } = publisher({ db, metrics: createMetrics(), relays });
  const signal = AbortSignal.timeout(60_000);
  const began = performance.now();
  await runOnce(signal);
  const good = await sayOf([]);
  await runOnce(signal);
  expect(performance.now() - began, 'milliseconds, of the eight thousand that an answer has time').toBeLessThan(5_000);
  const said = () =>
    stage.root`select id, published_at is not null as published, attempts from workflows.nostr_events
      where id in ${stage.root([refused, good])} order by id = ${good}`;
  expect(await said()).toMatchObject([{ attempts: 0 }, { published: true }]);
  await settle?.();
  expect(await said()).toMatchObject([{ published: false, attempts: 1 }, { published: true }]);
});
