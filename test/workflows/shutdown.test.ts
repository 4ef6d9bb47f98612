import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { createTokens, openKeyRing } from '../../src/identity/index.ts';
import { databaseOptions } from '../../src/platform/commands.ts';
import { readConfig } from '../../src/platform/config.ts';
import { openDatabase } from '../../src/platform/database/clients.ts';
import { createFeed } from '../../src/platform/delivery/feed.ts';
import { createEgress } from '../../src/platform/egress.ts';
import { createLog } from '../../src/platform/log.ts';
import { createMetrics } from '../../src/platform/metrics.ts';
import { createVault } from '../../src/platform/secrets.ts';
import { dispatcher } from '../../src/workflows/index.ts';
import { type Client, eventually, type Json } from '../harness/client.ts';
import { startProxy } from '../harness/tcp-proxy.ts';
import {
  accepted,
  available,
  ended,
  eventsOf,
  movesOf,
  openStage,
  replicaOf,
  runOf,
  type Stage,
  workflowOf,
} from './stage.ts';

/** A replica on its way out, or one that cannot reach its database for a moment, while executors are at work for it. */

let stage: Stage;
let customer: Client;
let gate = Promise.withResolvers<void>();
beforeAll(async () => {
  stage = await openStage({ env: { WORKERS: 'off' } });
  customer = await stage.customer(100_000);
  stage.executor.behave(async (run) => {
    if (run.path !== '/gated') return undefined;
    await gate.promise;
    return { json: 'done' };
  });
});
afterAll(async () => {
  gate.resolve();
  await stage.close();
});

async function gatedRun(calls: Json = {}) {
  gate = Promise.withResolvers();
  onTestFinished(() => gate.resolve());
  const service = await stage.offer('/gated', { executor: { timeout_ms: 30_000, ...calls } });
  return accepted(customer, await workflowOf(customer, service));
}
const calls = (run: Json) => stage.executor.runs.filter(({ runId }) => runId === run.id).length;
const called = (run: Json, times = 1) =>
  eventually(
    async () => calls(run),
    (n) => n === times,
  );
const rowOf = async (run: Json) => {
  const { state, attempt } = await runOf(customer, run);
  return { state, attempt };
};

test('a call in hand is finished and its answer kept; what waits is left to others, with all its attempts', async () => {
  const replica = await replicaOf(stage, { WORKERS: 'on' });
  const run = await gatedRun({ max_attempts: 1, max_concurrency: 1 });
  const waiting = await accepted(customer, { id: run.workflow_id });
  await called(run);
  const stopped = replica.stop();
  setTimeout(() => gate.resolve(), 300);
  await stopped;
  expect(await runOf(customer, run)).toMatchObject({ state: 'succeeded', output: 'done', attempt: 1 });
  expect(await rowOf(waiting)).toEqual({ state: 'queued', attempt: 0 });
  expect(calls(waiting)).toBe(0);
  const next = await replicaOf(stage, { WORKERS: 'on' });
  onTestFinished(() => next.stop());
  expect((await ended(customer, waiting)).state).toBe('succeeded');
});

/** A dispatcher on the stage's database, with a shutdown of its own. */
async function ownDispatcher(onSign: (close: () => Promise<void>) => void = () => {}) {
  const config = readConfig(stage.farebox.environment);
  const database = await openDatabase(databaseOptions(config));
  const [log, metrics, vault] = [createLog('silent'), createMetrics(), createVault(config.ENCRYPTION_KEYS)];
  const egress = createEgress(config.EGRESS_ALLOW, { closeWithinMs: 100 });
  const feed = createFeed(database.sql, { log, metrics });
  const tokens = createTokens(await openKeyRing(database.db, vault), config.PUBLIC_URL);
  const worker = dispatcher({
    ...{ db: database.db, vault, egress, feed, log, metrics, publicUrl: config.PUBLIC_URL },
    wakeDispatcher: () => {},
    signCallback: (claims, expiresAt) => {
      onSign(() => egress.close());
      return tokens.signCallback(claims, expiresAt);
    },
  });
  onTestFinished(async () => {
    await egress.close();
    await worker.settle?.();
    feed.stop();
    await database.close();
  });
  const round = () => worker.runOnce(new AbortController().signal);
  return { egress, round, settle: async () => worker.settle?.() };
}

describe('a call that is cut off', () => {
  test('is made again by whoever is there, at once', async () => {
    const { egress, round, settle } = await ownDispatcher();
    const run = await gatedRun();
    await round();
    await called(run);
    await egress.close();
    await settle();
    expect(await rowOf(run)).toEqual({ state: 'queued', attempt: 1 });
    const [row] = await stage.root`select next_attempt_at <= now() as due from workflows.runs order by created_at desc`;
    expect(row).toEqual({ due: true });
    expect(await eventsOf(stage.root, run)).toEqual(['queued', 'dispatched', 'requeued']);
    expect(await round()).toEqual({ more: false }); // but not by this one
    expect(await rowOf(run)).toEqual({ state: 'queued', attempt: 1 });
  });

  test('after the last attempt the executor still has its time to report', async () => {
    const { egress, round, settle } = await ownDispatcher();
    const run = await gatedRun({ max_attempts: 1 });
    await round();
    await called(run);
    await egress.close();
    await settle();
    expect(await rowOf(run)).toEqual({ state: 'running', attempt: 1 });
    const call = stage.executor.runs.find(({ runId }) => runId === run.id);
    if (!call) throw new Error('no call');
    expect((await stage.executor.report(call, { to: 'complete', body: { output: 1 } })).status).toBe(204);
    expect(await rowOf(run)).toEqual({ state: 'succeeded', attempt: 1 });
  });
});

test('a run that was taken but never sent has lost nothing: no attempt, and it can be cancelled for all its credits', async () => {
  const { round, settle } = await ownDispatcher((close) => void close());
  const run = await gatedRun({ max_attempts: 1 });
  const before = await available(customer);
  await round();
  await settle();
  expect(calls(run)).toBe(0);
  expect(await rowOf(run)).toEqual({ state: 'queued', attempt: 0 });
  await customer.ok('POST', `/v1/runs/${run.id}/cancel`);
  expect(await movesOf(stage.root, run)).toEqual(['spend 10', 'return 10']);
  expect(await available(customer)).toBe(before + 10);
});

test('an answer that cannot be written down for a moment is kept, and the executor is not called again', async () => {
  const direct = new URL(stage.farebox.database.appUrl);
  const proxy = await startProxy({ target: { port: Number(direct.port) } });
  onTestFinished(() => proxy.close());
  const replica = await replicaOf(stage, { WORKERS: 'on', DATABASE_URL: proxy.url(direct.href) });
  onTestFinished(() => replica.stop());
  const run = await gatedRun({ max_attempts: 1 });
  await called(run);
  proxy.refuse();
  proxy.resetAll();
  gate.resolve();
  await stage.executor.idle();
  await new Promise((resolve) => setTimeout(resolve, 700));
  expect(await rowOf(run)).toEqual({ state: 'running', attempt: 1 });
  await proxy.pass();
  expect(await ended(customer, run)).toMatchObject({ state: 'succeeded', output: 'done', attempt: 1 });
  expect(calls(run)).toBe(1);
});
