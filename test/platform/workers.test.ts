import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createCrew, type Worker } from '../../src/platform/delivery/worker.ts';
import { createLog } from '../../src/platform/log.ts';
import { createMetrics } from '../../src/platform/metrics.ts';
import { eventually, type Json } from '../harness/client.ts';

/** The loop that runs all background work, with workers of the tests' own. */

const HOUR_MS = 3_600_000;
const NOTHING_MORE = { more: false };

function crewForTest() {
  const lines: Json[] = [];
  const metrics = createMetrics();
  const crew = createCrew({
    log: createLog('info', { write: (line: string) => void lines.push(JSON.parse(line)) }),
    metrics,
  });
  onTestFinished(() => crew.stop());
  const faults = async (worker: string) =>
    (await metrics.workerFaults.get()).values.find(({ labels }) => labels.worker === worker)?.value;
  return { crew, lines, faults };
}

/** A worker that notes when its turns begin. */
function worker(
  turn: (signal: AbortSignal, n: number) => Promise<{ more: boolean }>,
  more: Partial<Worker> = {},
): Worker & { turns: number[] } {
  const turns: number[] = [];
  const runOnce = (signal: AbortSignal) => {
    turns.push(performance.now());
    return turn(signal, turns.length);
  };
  return { name: 'one', everyMs: HOUR_MS, runOnce, turns, ...more };
}

const turned = ({ turns }: { turns: number[] }, times: number) =>
  eventually(
    async () => turns.length,
    (n) => n >= times,
  );

const pauses = (turns: number[]) => turns.slice(1).map((at, i) => at - (turns[i] ?? 0));

describe('turns', () => {
  test('a worker begins at once, and goes on in its rhythm', async () => {
    const { crew } = crewForTest();
    const steady = worker(async () => NOTHING_MORE, { everyMs: 60 });
    const rare = worker(async () => NOTHING_MORE, { name: 'rare' });
    crew.start([steady, rare]);
    await turned(steady, 5);
    for (const pause of pauses(steady.turns)) expect(pause).toBeGreaterThan(50);
    expect(rare.turns).toHaveLength(1);
  });

  test('as long as there is more to do it does not pause', async () => {
    const { crew } = crewForTest();
    const busy = worker(async (_, n) => ({ more: n < 100 }));
    crew.start([busy]);
    await turned(busy, 100);
    await sleep(50);
    expect(busy.turns).toHaveLength(100);
  });

  test('who is woken all the time has a turn now and then, and one after the last', async () => {
    const { crew } = crewForTest();
    const woken = worker(async () => NOTHING_MORE);
    crew.start([woken]);
    const end = performance.now() + 200;
    let last = 0;
    for (; performance.now() < end; await sleep(0)) {
      last = performance.now();
      crew.wake('one');
    }
    await eventually(
      async () => woken.turns.at(-1) ?? 0,
      (at) => at >= last,
    );
    for (const pause of pauses(woken.turns)) expect(pause).toBeGreaterThan(5);
  });

  test('who is woken has a turn at once, and only the one that is meant', async () => {
    const { crew } = crewForTest();
    const meant = worker(async () => NOTHING_MORE);
    const other = worker(async () => NOTHING_MORE, { name: 'other' });
    crew.wake('one'); // nobody is there yet
    crew.start([meant, other]);
    await sleep(20);
    expect(meant.turns).toHaveLength(1);
    for (let n = 2; n <= 5; n += 1) {
      crew.wake('one');
      crew.wake('nobody');
      await turned(meant, n);
    }
    expect([meant.turns.length, other.turns.length]).toEqual([5, 1]);
  });

  test('whatever rings during a turn brings one more, and is not forgotten', async () => {
    const { crew } = crewForTest();
    const rung = worker(async (_, n) => {
      if (n === 1) for (let i = 0; i < 10; i += 1) crew.wake('one');
      await sleep(5);
      return NOTHING_MORE;
    });
    crew.start([rung]);
    await turned(rung, 2);
    await sleep(50);
    expect(rung.turns).toHaveLength(2);
  });
});

describe('failures', () => {
  // REQ E7.2
  test('a worker that fails goes on, later and later, and is told of; after a success it keeps its rhythm again', async () => {
    const { crew, lines, faults } = crewForTest();
    const weak = worker(
      async (_, n) => {
        if (n <= 3 || n === 6) throw new Error(`turn ${n}`);
        return NOTHING_MORE;
      },
      { everyMs: 20 },
    );
    crew.start([weak]);
    await turned(weak, 8);
    const [first = 0, second = 0, third = 0] = pauses(weak.turns);
    expect(first).toBeGreaterThan(30); // twice, four times, eight times the rhythm, less the jitter
    expect(second).toBeGreaterThan(65);
    expect(third).toBeGreaterThan(135);
    expect(await faults('one')).toBe(4);
    const told = lines.map(({ level, msg, worker, failures, err }) => ({
      level,
      msg,
      worker,
      failures,
      text: err.message,
    }));
    const same = { level: 'error', msg: 'a worker round failed', worker: 'one' };
    expect(told).toEqual([
      { ...same, failures: 1, text: 'turn 1' },
      { ...same, failures: 2, text: 'turn 2' },
      { ...same, failures: 3, text: 'turn 3' },
      { ...same, failures: 1, text: 'turn 6' },
    ]);
    expect(lines[0].err.stack).toContain('workers.test.ts');
  });

  test('a fault that is thrown before the work began is the same', async () => {
    const { crew, lines } = crewForTest();
    const rash = worker(
      (_, n) => {
        if (n === 1) throw new Error('at once');
        return Promise.resolve(NOTHING_MORE);
      },
      { everyMs: 5 },
    );
    crew.start([rash]);
    await turned(rash, 3);
    expect(lines).toHaveLength(1);
  });

  test('a database that is away for a moment is a warning, and no bug', async () => {
    const { crew, lines } = crewForTest();
    const cut = worker(
      async (_, n) => {
        if (n === 1) throw Object.assign(new Error('terminating connection'), { code: '57P01' });
        return NOTHING_MORE;
      },
      { everyMs: 5 },
    );
    crew.start([cut]);
    await turned(cut, 2);
    expect(lines.map(({ level }) => level)).toEqual(['warn']);
  });

  // A storm of requests that wake a worker must not make it hammer what is broken.
  test('after a failure nobody can wake it before its pause is over', async () => {
    const { crew } = crewForTest();
    const weak = worker(
      async (_, n) => {
        if (n === 1) throw new Error('broken');
        return NOTHING_MORE;
      },
      { everyMs: 300 },
    );
    crew.start([weak]);
    const ringing = setInterval(() => crew.wake('one'), 5);
    onTestFinished(() => clearInterval(ringing));
    await turned(weak, 3);
    const [afterFailure = 0, afterSuccess = 0] = pauses(weak.turns);
    expect(afterFailure).toBeGreaterThan(520);
    expect(afterSuccess).toBeLessThan(250);
  });

  test('a worker that hangs holds up none of the others', async () => {
    const { crew } = crewForTest();
    const end = Promise.withResolvers<void>();
    onTestFinished(() => end.resolve());
    const hangs = worker(() => end.promise.then(() => NOTHING_MORE), { name: 'hangs', everyMs: 5 });
    const goesOn = worker(async () => NOTHING_MORE, { everyMs: 5 });
    crew.start([hangs, goesOn]);
    await turned(goesOn, 10);
    crew.wake('one');
    await turned(goesOn, 20);
    expect(hangs.turns).toHaveLength(1);
    end.resolve(); // handlers of `onTestFinished` run last first: the crew waits for it
  });
});

describe('the end', () => {
  test('what is in hand is finished, and nothing else is begun', async () => {
    const { crew } = crewForTest();
    const end = Promise.withResolvers<void>();
    let left = 'working';
    const inHand = worker(async (signal) => {
      await end.promise;
      left = signal.aborted ? 'was told of the end' : 'was told nothing';
      return { more: true };
    });
    const settling = worker(async () => NOTHING_MORE, {
      name: 'settling',
      settle: async () => {
        await sleep(30);
        left += ', settled';
      },
    });
    crew.start([inHand, settling]);
    await turned(settling, 1);
    let stopped = false;
    const stopping = crew.stop().then(() => {
      stopped = true;
    });
    crew.wake('one');
    await sleep(60);
    expect([stopped, left]).toEqual([false, 'working, settled']);
    end.resolve();
    await stopping;
    expect(left).toBe('was told of the end');
    expect([inHand.turns.length, settling.turns.length]).toEqual([1, 1]);
    crew.wake('settling');
    const late = worker(async () => NOTHING_MORE, { name: 'late' });
    crew.start([late]);
    await crew.stop();
    expect([settling.turns.length, late.turns.length]).toEqual([1, 0]);
  });

  test('a pause ends at once, be it of a rhythm or after a failure', async () => {
    const { crew } = crewForTest();
    const rests = worker(async () => NOTHING_MORE);
    const mends = worker(() => Promise.reject(new Error('broken')), { name: 'mends' });
    crew.start([rests, mends]);
    await turned(mends, 1);
    await sleep(20);
    const began = performance.now();
    await crew.stop();
    expect(performance.now() - began).toBeLessThan(1_000);
    expect([rests.turns.length, mends.turns.length]).toEqual([1, 1]);
  });

  test('work that breaks off because of the end is no fault', async () => {
    const { crew, lines, faults } = crewForTest();
    const listening = worker(async (signal) => {
      await sleep(HOUR_MS, undefined, { signal });
      return NOTHING_MORE;
    });
    crew.start([listening]);
    await turned(listening, 1);
    await crew.stop();
    expect(lines).toEqual([]);
    expect(await faults('one')).toBeUndefined();
  });
});
