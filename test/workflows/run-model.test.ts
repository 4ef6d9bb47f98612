import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Client, clientOf, type Json } from '../harness/client.ts';
import { inProcess } from '../harness/in-process.ts';
import { type Answer, MAX_ATTEMPTS, RunModel, type Step } from './run-model.ts';
import {
  available,
  fastForward,
  hurry,
  movesOf,
  openStage,
  passDeadline,
  runOf,
  type Stage,
  workflowOf,
} from './stage.ts';

let stage: Stage;
let customer: Client;
let workflow: Json;
const answers = new Map<string, Answer>();
const SAID: Record<Answer, Json> = {
  ok: { json: 'done' },
  accepted: { status: 202, json: {} },
  unavailable: { status: 503, json: {} },
  refused: { status: 400, json: {} },
};

beforeAll(async () => {
  stage = await openStage({ env: { WORKERS: 'off' } });
  stage.executor.behave((run) => SAID[answers.get(run.runId) ?? 'ok']);
  const executor = { max_attempts: MAX_ATTEMPTS, report_interval_s: 600, max_concurrency: 1000 };
  customer = await stage.customer(100_000);
  workflow = await workflowOf(customer, await stage.offer('/model', { executor }));
});
afterAll(() => stage.close());

const ago = fc.constantFrom(0, 0, 0, 1, 2);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('dispatch' as const),
      answer: fc.constantFrom<Answer>(
        'ok',
        'accepted',
        'accepted',
        'accepted',
        'unavailable',
        'unavailable',
        'refused',
      ),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('lapse' as const, 'lapse' as const, 'expire' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constantFrom('pass deadline' as const, 'cancel' as const, 'start again' as const) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('progress' as const), ago }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('part' as const),
      ago,
      number: fc.constantFrom(1, 2),
      content: fc.constantFrom(1, 1, 2),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('complete' as const), ago, output: fc.constantFrom(1, 2) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('fail' as const),
      ago,
      code: fc.constantFrom('a' as const, 'b' as const),
      retryable: fc.boolean(),
    }),
  },
);

/** What chance may leave out. */
const dispatch = (answer: Answer): Step => ({ do: 'dispatch', answer });
const lapse: Step = { do: 'lapse' };
const late: Step = { do: 'pass deadline' };
const expire: Step = { do: 'expire' };
const stories: Step[][] = [
  [{ do: 'start again' }, { do: 'cancel' }, { do: 'cancel' }, dispatch('ok')],
  [dispatch('ok'), { do: 'cancel' }],
  [
    dispatch('accepted'),
    lapse,
    dispatch('accepted'),
    { do: 'complete', ago: 1, output: 1 },
    { do: 'complete', ago: 0, output: 1 },
    { do: 'complete', ago: 0, output: 2 },
  ],
  [
    dispatch('accepted'),
    lapse,
    dispatch('accepted'),
    lapse,
    dispatch('accepted'),
    expire,
    lapse,
    dispatch('ok'),
    expire,
  ],
  [
    dispatch('accepted'),
    late,
    dispatch('ok'),
    { do: 'progress', ago: 0 },
    expire,
    { do: 'complete', ago: 0, output: 1 },
  ],
  [late, dispatch('ok'), expire, { do: 'cancel' }],
  [
    dispatch('accepted'),
    lapse,
    dispatch('accepted'),
    { do: 'progress', ago: 1 },
    { do: 'part', ago: 1, number: 1, content: 1 },
    { do: 'fail', ago: 1, code: 'a', retryable: true },
    { do: 'fail', ago: 1, code: 'a', retryable: false },
    { do: 'progress', ago: 0 },
  ],
  [dispatch('unavailable'), dispatch('unavailable'), dispatch('unavailable')],
  [
    dispatch('accepted'),
    { do: 'fail', ago: 0, code: 'a', retryable: true },
    { do: 'fail', ago: 0, code: 'a', retryable: true },
    dispatch('refused'),
  ],
  [
    dispatch('accepted'),
    { do: 'part', ago: 0, number: 1, content: 1 },
    { do: 'part', ago: 0, number: 1, content: 2 },
    { do: 'fail', ago: 0, code: 'a', retryable: false },
    { do: 'fail', ago: 0, code: 'a', retryable: true },
    { do: 'fail', ago: 0, code: 'b', retryable: false },
  ],
  [dispatch('accepted'), { do: 'cancel' }, { do: 'complete', ago: 0, output: 1 }, dispatch('ok')],
];

interface Real {
  run: Json;
  key: string;
  first: string;
  work(worker: 'dispatch' | 'run-expiry'): Promise<void>;
}

async function perform({ run, key, first, work }: Real, one: Step): Promise<string | null> {
  switch (one.do) {
    case 'dispatch':
      answers.set(run.id, one.answer);
      await hurry(stage.root, run);
      await work('dispatch');
      return null;
    case 'lapse':
      await fastForward(stage.root, run, 100_000);
      return null;
    case 'pass deadline':
      await passDeadline(stage.root, run);
      return null;
    case 'expire':
      await work('run-expiry');
      return null;
    case 'cancel':
      return told(await customer.post(`/v1/runs/${run.id}/cancel`));
    case 'start again': {
      const reply = await customer.call('POST', `/v1/workflows/${workflow.id}/runs`, { key, body: {} });
      const before = JSON.parse(first);
      reply.body.run.deadline_at = before.run.deadline_at; // `pass deadline` has moved it
      expect(reply.body).toEqual(before);
      return told(reply);
    }
    default: {
      const { do: to, ago: before, ...body } = one;
      const { attempt } = await runOf(customer, run);
      const call = stage.executor.runs.find(
        ({ runId, data }) => runId === run.id && data?.attempt === attempt - before,
      );
      if (!call?.data) return null;
      const path = `/v1/executor/runs/${run.id}/${to === 'part' ? 'parts' : to}`;
      const { number, ...rest } = body as Json;
      const sent = to === 'part' ? { part: number, ...rest } : rest;
      return told(
        await clientOf(stage.farebox.url).call('POST', path, { body: sent, token: call.data.callback_token }),
      );
    }
  }
}

const told = ({ status, body }: Json): string => (status < 300 ? String(status) : `${status} ${body.code}`);

// REQ E4.4 E4.5 E8.2 E8.4
test('any life of a run is answered, paid and ended as the page of plain code says', { timeout: 120_000 }, async () => {
  const replica = await inProcess(stage.farebox);
  const work: Real['work'] = async (name) => {
    await replica.work(name);
    await replica.workers.find((one) => one.name === name)?.settle?.();
  };
  const seen = new Set<string>();
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 6, maxLength: 14 }), async (steps) => {
      const model = new RunModel();
      const key = randomUUID();
      const before = await available(customer);
      const reply = await customer.call('POST', `/v1/workflows/${workflow.id}/runs`, { key, body: {} });
      const real = { run: reply.body.run, key, first: reply.text, work };
      for (const one of steps) {
        const from = model.state;
        const expected = model.apply(one);
        const said = await perform(real, one);
        seen.add(`${one.do}: ${from} → ${model.state}`).add(`${one.do}: ${expected}`);
        expect(said, JSON.stringify(one)).toBe(expected);
        const { state, attempt, returned, failure, output } = await runOf(customer, real.run);
        expect({ state, attempt, returned, failure: failure?.code ?? null, output }, JSON.stringify(one)).toEqual({
          state: model.state,
          attempt: model.attempt,
          returned: model.isReturned ? 10 : 0,
          failure: model.failure,
          output: model.output,
        });
      }
      expect(await movesOf(stage.root, real.run)).toEqual(['spend 10', ...(model.isReturned ? ['return 10'] : [])]);
      const { data } = await customer.ok('GET', `/v1/runs/${real.run.id}/parts`);
      expect(new Map(data.map((part: Json) => [part.number, part.content]))).toEqual(
        new Map([...model.parts].sort(([a], [b]) => a - b)),
      );
      expect(await available(customer)).toBe(before - (model.isReturned ? 0 : 10));
      await customer.post(`/v1/runs/${real.run.id}/cancel`); // so that the next one is alone
    }),
    { numRuns: 24, examples: stories.map((steps) => [steps]) },
  );
  for (const one of [
    'dispatch: queued → succeeded',
    'dispatch: queued → failed',
    'dispatch: queued → queued',
    'dispatch: queued → running',
    'dispatch: running → running',
    'expire: running → failed',
    'expire: queued → failed',
    'cancel: queued → cancelled',
    'cancel: running → cancelled',
    'cancel: 409 run_finished',
    'complete: running → succeeded',
    'complete: 409 run_finished',
    'part: 409 part_conflict',
    'part: 204',
    'fail: running → queued',
    'fail: running → failed',
    'fail: 409 run_finished',
    'fail: 409 attempt_superseded',
    'progress: 409 attempt_superseded',
    'part: 409 attempt_superseded',
    'start again: 202',
  ])
    expect([...seen]).toContain(one);
});
