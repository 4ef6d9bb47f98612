import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Answer } from '../../sandbox/executor/answer.ts';
import { fromWire } from '../../src/platform/ids.ts';
import { backoffMs } from '../../src/workflows/dispatch.ts';
import { type Client, eventually, type Json } from '../harness/client.ts';
import { accepted, ended, eventsOf, movesOf, openStage, passDeadline, type Stage, workflowOf } from './stage.ts';

/** When a run is tried again, and when no more. */

let stage: Stage;
let customer: Client;
const at = new Map<string, Answer>();
beforeAll(async () => {
  stage = await openStage();
  customer = await stage.customer(100_000);
  stage.executor.behave((run) => at.get(run.path));
});
afterAll(() => stage.close());

let paths = 0;
async function runAt(answer: Answer, calls: Json = {}, terms: Json = {}) {
  paths += 1;
  const path = `/retry-${paths}`;
  at.set(path, answer);
  const service = await stage.offer(path, { ...terms, executor: calls });
  const run = await accepted(customer, await workflowOf(customer, service));
  return { run, service, calls: () => stage.executor.runs.filter((call) => call.path === path) };
}
const idOf = (run: Json) => fromWire('run', run.id);
/** Seconds between the first attempt's failure and the next attempt, as it was told: a pause may be over before it is seen. */
async function pauseAfter(answer: Answer): Promise<number> {
  const { run } = await runAt(answer);
  const [row] = await eventually(
    () => stage.root`select extract(epoch from (payload->>'next_attempt_at')::timestamptz - created_at)::float8 as pause
      from platform.events where subject_id = ${idOf(run)} and type = 'workflows.run_requeued' order by seq limit 1`,
    (rows) => rows.length === 1,
  );
  await stage.root`update workflows.runs set state = 'cancelled', finished_at = now() where id = ${idOf(run)}`;
  return row?.['pause'];
}

describe.concurrent('Retry-After', () => {
  const unavailable = (value: string): Answer => ({ status: 503, headers: { 'retry-after': value } });
  const inAnHour = () => new Date(Date.now() + 3_600_000).toUTCString();
  const anHourAgo = () => new Date(Date.now() - 3_600_000).toUTCString();

  test.each<[string, () => string, number]>([
    ['seconds', () => '120', 120],
    ['a date', inAnHour, 3600],
    ['more than a day', () => '999999999', 86_400],
    ['a date in the past', anHourAgo, 0],
    ['nothing', () => '0', 0],
    ['a negative number', () => '-5', 0],
    ['a fraction', () => '1.5', 0],
    ['nonsense', () => 'soon', 0],
    ['a number beyond all', () => '99999999999999999999', 0],
  ])('%s', async (_, value, seconds) => {
    const pause = await pauseAfter(unavailable(value()));
    expect(pause).toBeGreaterThan(seconds - 2);
    expect(pause).toBeLessThan(seconds + 2); // and never at once together: the jitter of the first backoff
  });

  test('counts for 429, too', async () => {
    expect(await pauseAfter({ status: 429, headers: { 'retry-after': '60' } })).toBeGreaterThan(58);
  });
});

test('without it, the pause is anywhere between nothing and a bound that doubles, up to five minutes', () => {
  const sample = (attempt: number) => Array.from({ length: 2_000 }, () => backoffMs(attempt));
  for (const [attempt, bound] of [
    [1, 2_000],
    [2, 4_000],
    [5, 32_000],
    [9, 300_000],
    [50, 300_000],
  ] as const) {
    const pauses = sample(attempt);
    expect(Math.min(...pauses)).toBeGreaterThanOrEqual(0);
    expect(Math.min(...pauses)).toBeLessThan(bound * 0.05);
    expect(Math.max(...pauses)).toBeLessThanOrEqual(bound);
    expect(Math.max(...pauses)).toBeGreaterThan(bound * 0.95);
  }
});

describe.concurrent('the deadline', () => {
  test('ends a run that waits for its next attempt, however long it was told to wait', async () => {
    const { run } = await runAt({ status: 503, headers: { 'retry-after': '7200' } });
    await eventually(
      () => eventsOf(stage.root, run),
      (events) => events.includes('requeued'),
    );
    await passDeadline(stage.root, run);
    expect(await ended(customer, run)).toMatchObject({
      state: 'failed',
      attempt: 1,
      returned: 10,
      failure: { code: 'deadline_exceeded' },
    });
    expect(await movesOf(stage.root, run)).toEqual(['spend 10', 'return 10']);
  });

  test('bounds the call: nothing is waited for beyond it', async () => {
    const hang: Answer = { delayMs: 60_000 };
    const { run, calls } = await runAt(hang, { timeout_ms: 60_000, deadline_s: 1, max_attempts: 1 });
    const over = await ended(customer, run);
    expect(over).toMatchObject({ state: 'failed', returned: 10 });
    expect(['deadline_exceeded', 'executor_timeout']).toContain(over.failure.code);
    expect(Date.parse(over.finished_at) - Date.parse(over.created_at)).toBeLessThan(4_000);
    expect(calls()).toHaveLength(1);
  });

  test('ends a run that was never handed out', async () => {
    const { run: first, service } = await runAt({ delayMs: 60_000 }, { timeout_ms: 60_000, max_concurrency: 1 });
    await eventually(
      () => eventsOf(stage.root, first),
      (events) => events.includes('dispatched'),
    );
    const second = await accepted(customer, await workflowOf(customer, service));
    await passDeadline(stage.root, second);
    expect(await ended(customer, second)).toMatchObject({ state: 'failed', attempt: 0, returned: 10 });
    expect(await eventsOf(stage.root, second)).toEqual(['queued', 'failed']);
    await customer.ok('POST', `/v1/runs/${first.id}/cancel`);
  });

  test('returns nothing where the service does not', async () => {
    const { run } = await runAt({ status: 503, headers: { 'retry-after': '60' } }, {}, { refund_on_failure: 'none' });
    await passDeadline(stage.root, run);
    expect(await ended(customer, run)).toMatchObject({ state: 'failed', returned: 0 });
    expect(await movesOf(stage.root, run)).toEqual(['spend 10']);
  });
});

test('a run that cannot be ended does not keep the others from their end', async () => {
  const wait: Answer = { status: 503, headers: { 'retry-after': '600' } };
  const [poisoned, other] = [(await runAt(wait)).run, (await runAt(wait)).run];
  for (const run of [poisoned, other]) {
    await eventually(
      () => eventsOf(stage.root, run),
      (events) => events.includes('requeued'),
    );
  }
  // Its spend is gone, which no one can do but a superuser: the return has nothing to refer to.
  await stage.root`alter table credits.transfers disable trigger user`;
  await stage.root`update credits.transfers set ref_type = 'gone' where ref_id = ${idOf(poisoned)}`;
  await stage.root`alter table credits.transfers enable trigger user`;
  await passDeadline(stage.root, poisoned);
  await passDeadline(stage.root, other);
  expect(await ended(customer, other)).toMatchObject({ state: 'failed', returned: 10 });
  expect((await customer.ok('GET', `/v1/runs/${poisoned.id}`)).finished_at).toBeNull();
  await stage.root`update workflows.runs set deadline_at = now() + interval '1 hour' where id = ${idOf(poisoned)}`;
});
