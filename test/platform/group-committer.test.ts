import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createGroupCommitter, type Order } from '../../src/platform/database/group-committer.ts';

interface Step extends Order {
  n: number;
}
const stepOf = (lane: string, n: number, key = `${lane}-${n}`): Step => ({ lane, key, n });
const later = <T>(value: T) => new Promise<T>((done) => setImmediate(done, value));
/** As the driver gives it when the server refuses a statement. */
const refused = () => Object.assign(new Error('refused'), { code: '22P02' });
const lost = () => Object.assign(new Error('gone'), { code: 'CONNECTION_CLOSED' });

/** A committer over a database that does what `many` and `one` say, and the groups that reached it. */
function committerOver(
  over: {
    one?: (step: Step) => Promise<number>;
    many?: (steps: readonly Step[]) => Promise<(number | 'busy')[]>;
    groups?: number;
    alone?: number;
  } = {},
) {
  const groups: Step[][] = [];
  const committer = createGroupCommitter<Step, number>({
    groups: over.groups ?? 1,
    alone: over.alone ?? 1,
    one: async (step) => {
      groups.push([step]);
      return over.one ? over.one(step) : later(step.n);
    },
    many: async (steps) => {
      groups.push([...steps]);
      return over.many ? over.many(steps) : later(steps.map(({ n }) => n));
    },
  });
  return { ...committer, groups, sizes: () => groups.map(({ length }) => length) };
}

test('with nothing running an order goes in this turn of the event loop; what arrives meanwhile shares the next commit', async () => {
  const { commit, sizes, waiting } = committerOver();
  const first = commit(stepOf('first', -1));
  expect(waiting()).toBe(1);
  await later(null);
  expect(sizes()).toEqual([1]);
  const answers = Promise.all(Array.from({ length: 100 }, (_, n) => commit(stepOf(`lane ${n}`, n))));
  expect(waiting()).toBe(100);
  expect(await first).toBe(-1);
  expect(await answers).toEqual(Array.from({ length: 100 }, (_, n) => n));
  expect(sizes()).toEqual([1, 64, 36]);
  expect(waiting()).toBe(0);
});

test('a second group runs beside the first when as many wait as the first has', async () => {
  const { promise: held, resolve: go } = Promise.withResolvers<void>();
  const { commit, sizes } = committerOver({ groups: 2, many: (steps) => held.then(() => steps.map(({ n }) => n)) });
  const answers = [0, 1, 2].map((n) => commit(stepOf(`lane ${n}`, n)));
  await later(null);
  expect(sizes()).toEqual([3]);
  answers.push(...[3, 4].map((n) => commit(stepOf(`lane ${n}`, n))));
  await later(null);
  expect(sizes()).toEqual([3]);
  answers.push(...[5, 6].map((n) => commit(stepOf(`lane ${n}`, n))));
  await later(null);
  expect(sizes()).toEqual([3, 4]);
  go();
  expect(await Promise.all(answers)).toEqual([0, 1, 2, 3, 4, 5, 6]);
});

test('orders of one lane keep their order and are in one commit at a time, however many run', async () => {
  const seen: number[] = [];
  let inside = 0;
  const carryOut = async (steps: readonly Step[]) => {
    inside += 1;
    expect(inside).toBe(1);
    await later(null);
    seen.push(...steps.map(({ n }) => n));
    inside -= 1;
    return steps.map(({ n }) => n);
  };
  const { commit } = committerOver({
    groups: 3,
    one: async (step) => (await carryOut([step]))[0] ?? -1,
    many: carryOut,
  });
  await Promise.all(Array.from({ length: 200 }, (_, n) => commit(stepOf('mine', n))));
  expect(seen).toEqual(Array.from({ length: 200 }, (_, n) => n));
});

test('two orders with one key never share a commit', async () => {
  const { commit, groups } = committerOver();
  await Promise.all(Array.from({ length: 30 }, (_, n) => commit(stepOf('mine', n, n % 3 === 0 ? 'same' : `key ${n}`))));
  for (const group of groups) expect(new Set(group.map(({ key }) => key)).size).toBe(group.length);
  expect(groups.flat().length).toBe(30);
});

test('a customer with a thousand orders leaves room for one with a single order', async () => {
  const { commit, groups } = committerOver();
  const flood = Array.from({ length: 1000 }, (_, n) => commit(stepOf('flood', n)));
  await later(null);
  await commit(stepOf('small', 0));
  expect(groups.findIndex((group) => group.some(({ lane }) => lane === 'small'))).toBe(1);
  await Promise.all(flood);
});

test('what is busy goes alone, beside the groups, and then together again', async () => {
  let unlock = () => {};
  const isUnlocked = new Promise<void>((done) => {
    unlock = done;
  });
  let isBusy = true;
  const { commit, groups } = committerOver({
    one: async (step) => {
      if (step.lane === 'locked') await isUnlocked;
      return later(step.n);
    },
    many: (steps) => later(steps.map(({ lane, n }) => (lane === 'locked' && isBusy ? ('busy' as const) : n))),
  });
  const first = commit(stepOf('other', 0));
  await later(null);
  const locked = Promise.all([1, 2, 3].map((n) => commit(stepOf('locked', n))));
  await first;
  for (let round = 0; round < 20; round += 1)
    await Promise.all([commit(stepOf('a', round)), commit(stepOf('b', round))]);
  const tried = groups.filter((group) => group.some(({ lane }) => lane === 'locked'));
  expect(tried.map((group) => group.map(({ n }) => n))).toEqual([[1, 2, 3], [1]]);
  isBusy = false;
  unlock();
  expect(await locked).toEqual([1, 2, 3]);
  expect(groups.at(-1)?.map(({ n }) => n)).toEqual([2, 3]);
});

test('of a group that is refused each goes alone: one fails, the others do not', async () => {
  const isPoison = ({ n }: Step) => n === 7;
  const { commit, groups } = committerOver({
    alone: 2,
    one: async (step) => (isPoison(step) ? Promise.reject(refused()) : later(step.n)),
    many: async (steps) => (steps.some(isPoison) ? Promise.reject(refused()) : later(steps.map(({ n }) => n))),
  });
  const answers = await Promise.allSettled(Array.from({ length: 20 }, (_, n) => commit(stepOf(`lane ${n}`, n))));
  expect(answers.filter(({ status }) => status === 'rejected').length).toBe(1);
  expect(answers[7]?.status).toBe('rejected');
  expect(groups.flat().filter(isPoison).length).toBe(2);

  // Whoever was at fault goes alone for a while, and takes nobody along.
  const before = groups.length;
  await Promise.allSettled(
    Array.from({ length: 20 }, (_, n) =>
      commit(n === 3 ? stepOf('lane 7', 7, `again ${n}`) : stepOf(`new ${n}`, n + 100)),
    ),
  );
  expect(groups.slice(before).filter((group) => group.some(isPoison))).toEqual([[stepOf('lane 7', 7, 'again 3')]]);
});

test('when the connection is lost nobody knows what was done: all are told, nothing is repeated', async () => {
  const { commit, groups } = committerOver({ many: () => Promise.reject(lost()) });
  const answers = await Promise.allSettled(Array.from({ length: 10 }, (_, n) => commit(stepOf(`lane ${n}`, n))));
  expect(answers.map(({ status }) => status)).toEqual(Array(10).fill('rejected'));
  expect(groups.length).toBe(1);
  // And it works on.
  expect(await commit(stepOf('lane 1', 1))).toBe(1);
});

test('too many orders of one customer are refused while others are served, and too many of all are', async () => {
  let go = () => {};
  const held = new Promise<void>((done) => {
    go = done;
  });
  const { commit, waiting } = committerOver({
    one: (step) => held.then(() => step.n),
    many: (steps) => held.then(() => steps.map(({ n }) => n)),
  });
  const first = commit(stepOf('flood', -1));
  await later(null);
  const flood = Array.from({ length: 2500 }, (_, n) => commit(stepOf('flood', n)));
  const others = Array.from({ length: 2500 }, (_, n) => commit(stepOf(`lane ${n}`, n)));
  const settled = Promise.allSettled([...flood, ...others]);
  expect(waiting()).toBe(4096);
  go();
  const outcomes = await settled;
  const refusals = outcomes.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []));
  expect(refusals.length).toBe(5000 - 4096);
  expect(refusals[0]).toMatchObject({ code: 'overloaded', headers: { 'retry-after': '1' } });
  expect(outcomes.slice(0, 2500).filter(({ status }) => status === 'fulfilled').length).toBe(2048);
  expect(await first).toBe(-1);
  expect(waiting()).toBe(0);
});

test('whatever fails or is busy: each order is carried out once, in its lane’s order, and answered', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ lane: fc.constantFrom('a', 'b', 'c', 'd'), pause: fc.boolean() }), { maxLength: 60 }),
      fc.infiniteStream(fc.constantFrom('fine', 'fine', 'busy', 'refused')),
      fc.integer({ min: 1, max: 3 }),
      async (arrivals, fates, parallel) => {
        const done: Step[] = [];
        const carryOut = (step: Step) => {
          done.push(step);
          return step.n;
        };
        const { commit } = committerOver({
          groups: parallel,
          alone: parallel,
          one: async (step) => {
            await later(null);
            return carryOut(step);
          },
          many: async (steps) => {
            await later(null);
            if (steps.some(() => fates.next().value === 'refused')) throw refused();
            const busy = new Set(steps.map(({ lane }) => lane).filter(() => fates.next().value === 'busy'));
            return steps.map((step) => (busy.has(step.lane) ? ('busy' as const) : carryOut(step)));
          },
        });
        const answers: Promise<number>[] = [];
        for (const [n, { lane, pause }] of arrivals.entries()) {
          answers.push(commit(stepOf(lane, n)));
          if (pause) await later(null);
        }
        expect(await Promise.all(answers)).toEqual(arrivals.map((_, n) => n));
        for (const lane of ['a', 'b', 'c', 'd']) {
          const mine = done.filter((step) => step.lane === lane).map(({ n }) => n);
          expect(mine).toEqual(arrivals.flatMap((one, n) => (one.lane === lane ? [n] : [])));
        }
      },
    ),
  );
});
