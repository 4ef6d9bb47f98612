import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { createTokens, openKeyRing } from '../../src/identity/index.ts';
import { openDatabase } from '../../src/platform/database/clients.ts';
import { createVault } from '../../src/platform/secrets.ts';
import { type Client, clientOf, eventually, type Json } from '../harness/client.ts';
import { accepted, eventsOf, movesOf, openStage, runOf, type Stage, workflowOf } from './stage.ts';

/** What may be in a report, and who may make it. */

let stage: Stage;
let customer: Client;
let workflow: Json;
beforeAll(async () => {
  stage = await openStage();
  customer = await stage.customer(100_000);
  workflow = await workflowOf(
    customer,
    await stage.offer('/async-silent', { executor: { report_interval_s: 1000, max_concurrency: 1000 } }),
  );
});
afterAll(() => stage.close());

/** A run at its executor, and what the executor was given. */
async function atWork() {
  const run = await accepted(customer, workflow);
  const [call] = await eventually(
    async () => stage.executor.runs.filter(({ runId }) => runId === run.id),
    (calls) => calls.length === 1,
  );
  const token = call?.data?.callback_token ?? '';
  const say = (to: string, body: unknown, as: string | null = token) =>
    clientOf(stage.farebox.url).call('POST', `/v1/executor/runs/${run.id}/${to}`, { body, token: as });
  return { run, token, say };
}

describe('a report is refused, and nothing is changed by it', () => {
  const long = 'x'.repeat(501);
  test.each<[string, Json, string]>([
    ['progress', { percent: -1 }, '/percent'],
    ['progress', { percent: 101 }, '/percent'],
    ['progress', { percent: 1.5 }, '/percent'],
    ['progress', { percent: '5' }, '/percent'],
    ['progress', { message: 'two\nlines' }, '/message'],
    ['progress', { message: 'x'.repeat(201) }, '/message'],
    ['progress', { message: 'a\0b' }, '/message'],
    ['progress', { state: 'succeeded' }, '/state'],
    ['parts', { part: 0, content: 1 }, '/part'],
    ['parts', { part: 10_001, content: 1 }, '/part'],
    ['parts', { part: 1.5, content: 1 }, '/part'],
    ['parts', { content: 1 }, '/part'],
    ['parts', { part: 1, content: 'a\0' }, '/content'],
    ['parts', { part: 1, content: { '\ud800': 1 } }, '/content'],
    ['complete', { output: ['\udc00'] }, '/output/0'],
    ['complete', { result: 1 }, '/result'],
    ['fail', {}, '/code'],
    ['fail', { code: 'Not Snake' }, '/code'],
    ['fail', { code: 'x'.repeat(65) }, '/code'],
    ['fail', { code: 'x', message: long }, '/message'],
    ['fail', { code: 'x', retryable: 'yes' }, '/retryable'],
    ['fail', { code: 'x', returned: 5 }, '/returned'],
  ])('%s %j', async (to, body, pointer) => {
    const { run, say } = await atWork();
    const reply = await say(to, body);
    expect([reply.status, reply.body.errors?.[0]?.pointer]).toEqual([422, pointer]);
    expect(await eventsOf(stage.root, run)).toEqual(['queued', 'dispatched']);
  });

  test('what is too deep, too large, or not JSON', async () => {
    const { run, say } = await atWork();
    const deep = JSON.parse(`${'['.repeat(40)}${']'.repeat(40)}`);
    expect((await say('complete', { output: deep })).body.code).toBe('malformed_request');
    expect((await say('complete', { output: 'x'.repeat(1024 * 1024) })).body.code).toBe('body_too_large');
    expect((await say('progress', { message: 'x'.repeat(70_000) })).body.code).toBe('body_too_large');
    expect(await eventsOf(stage.root, run)).toEqual(['queued', 'dispatched']);
  });
});

describe('parts', () => {
  test('the same part again is fine and told once; other content under its number is a conflict', async () => {
    const { run, say } = await atWork();
    const content = { b: [1, null], a: 'ä' };
    const answers = [
      await say('parts', { part: 7, content }),
      await say('parts', { part: 7, content: { a: 'ä', b: [1, null] } }),
      await say('parts', { part: 7, content: { ...content, c: 1 } }),
      await say('parts', { part: 7, content: null }),
    ];
    expect(answers.map(({ status, body }) => body?.code ?? status)).toEqual([
      204,
      204,
      'part_conflict',
      'part_conflict',
    ]);
    expect((await eventsOf(stage.root, run)).filter((type) => type === 'part_added')).toHaveLength(1);
    expect((await customer.ok('GET', `/v1/runs/${run.id}/parts`)).data).toMatchObject([{ number: 7, content }]);
  });

  test('the same number at once with different contents: one is kept', async () => {
    const { run, say } = await atWork();
    const answers = await Promise.all([1, 2, 3, 4, 5, 6].map((content) => say('parts', { part: 1, content })));
    expect(answers.filter(({ status }) => status === 204)).toHaveLength(1);
    expect(answers.filter(({ body }) => body?.code === 'part_conflict')).toHaveLength(5);
    expect((await customer.ok('GET', `/v1/runs/${run.id}/parts`)).data).toHaveLength(1);
  });

  test('are listed in the order of their numbers, page by page, to their owner only', async () => {
    const { run, say } = await atWork();
    for (const part of [10, 2, 9, 1, 3]) await say('parts', { part, content: null });
    const path = `/v1/runs/${run.id}/parts?limit=2`;
    const first = await customer.ok('GET', path);
    const second = await customer.ok('GET', `${path}&starting_after=${first.next_cursor}`);
    const third = await customer.ok('GET', `${path}&starting_after=${second.next_cursor}`);
    expect([first, second, third].map(({ data }) => data.map((part: Json) => part.number))).toEqual([
      [1, 2],
      [3, 9],
      [10],
    ]);
    const stranger = await stage.customer();
    expect((await stranger.get(path)).body.code).toBe('not_found');
    const other = await atWork();
    expect((await customer.get(`/v1/runs/${other.run.id}/parts?starting_after=${first.next_cursor}`)).body.code).toBe(
      'invalid_cursor',
    );
  });
});

describe('who is not the executor of this attempt', () => {
  test('is refused, whatever it brings, and that is a security event', async () => {
    const { run, token, say } = await atWork();
    const other = await atWork();
    const [head, claims, signature] = token.split('.');
    const forged = Buffer.from(
      JSON.stringify({ ...JSON.parse(Buffer.from(claims ?? '', 'base64url').toString()), att: 9 }),
    );
    const none = Buffer.from('{"alg":"none","typ":"farebox-callback+jwt"}').toString('base64url');
    const tokens = [
      null,
      'garbage',
      'a.b.c',
      `${head}.${claims}.`,
      `${none}.${claims}.`,
      `${head}.${forged.toString('base64url')}.${signature}`,
      `${token}x`,
      other.token,
      customer.token,
      stage.operator.token,
    ];
    for (const as of tokens) {
      const reply = await say('complete', { output: 'mine' }, as);
      expect([reply.status, reply.body.code], String(as)).toEqual([401, 'invalid_callback_token']);
    }
    expect((await runOf(customer, run)).finished_at).toBeNull();
    const kept = await eventually(
      () => stage.root`select detail from platform.audit_log where action = 'security.callback_token_refused'`,
      (rows) => rows.length >= tokens.length,
    );
    expect(JSON.stringify(kept)).not.toContain(signature);
  });

  test('a token whose time is over is refused', async () => {
    const { run, token, say } = await atWork();
    const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
    expect(claims.exp * 1000 - Date.parse(run.deadline_at)).toBeGreaterThan(3_590_000);
    expect(claims.exp * 1000 - Date.parse(run.deadline_at)).toBeLessThan(3_610_000);
    const database = await openDatabase({ url: stage.farebox.database.appUrl, pool: 2 });
    onTestFinished(() => database.close());
    const keys = await openKeyRing(database.db, createVault([{ id: 'k1', key: Buffer.alloc(32, 7) }]));
    const tokens = createTokens(keys, claims.iss);
    const sign = (hoursAgo: number) => {
      vi.useFakeTimers({ toFake: ['Date'], now: Date.now() - hoursAgo * 3_600_000 });
      const signed = tokens.signCallback({ sub: claims.sub, acc: claims.acc, att: 1 }, new Date(Date.now() + 60_000));
      vi.useRealTimers();
      return signed;
    };
    expect((await say('progress', { percent: 1 }, sign(1))).body.code).toBe('invalid_callback_token');
    expect((await say('progress', { percent: 1 }, sign(0))).status).toBe(204);
  });

  test('a callback token is good for nothing else', async () => {
    const { run, token } = await atWork();
    const holder = clientOf(stage.farebox.url, { token });
    for (const path of ['/v1/me', '/v1/credits/balance', `/v1/runs/${run.id}`, `/v1/runs/${run.id}/events`]) {
      expect((await holder.get(path)).status, path).toBe(401);
    }
    expect((await holder.post(`/v1/runs/${run.id}/cancel`)).status).toBe(401);
  });
});

test('after a cancellation every report is told so, and nothing comes of it', async () => {
  const { run, say } = await atWork();
  expect((await customer.post(`/v1/runs/${run.id}/cancel`)).body.state).toBe('cancelled');
  const reports: [string, Json][] = [
    ['progress', {}],
    ['parts', { part: 1, content: 1 }],
    ['complete', { output: 1 }],
    ['fail', { code: 'x' }],
    ['fail', { code: 'x', retryable: true }],
  ];
  for (const [to, body] of reports) {
    expect((await say(to, body)).body).toMatchObject({ status: 409, code: 'run_finished', state: 'cancelled' });
  }
  expect(await runOf(customer, run)).toMatchObject({ state: 'cancelled', output: null, failure: null });
  expect(await movesOf(stage.root, run)).toEqual(['spend 10']);
});
