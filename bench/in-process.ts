import { openDatabase, type Sql } from '../src/platform/database/clients.ts';
import { runHot, type Statement } from '../src/platform/database/statement.ts';
import { createLog } from '../src/platform/log.ts';
import { createMetrics } from '../src/platform/metrics.ts';
import { createRunCommitter } from '../src/workflows/index.ts';
import { closedLoop } from './closed-loop.ts';
import { numberAmong, type RunRow, runRow, type Spenders, spendLoad } from './hot-statement.ts';
import type { Sample } from './rounds.ts';

const POOL = 10; // the product's default
const metrics = createMetrics();

/** One hot statement after the other through the driver, each in a transaction of its own. */
export const throughDriver = (url: string, spenders: Spenders, inFlight: number, seconds: number): Promise<Sample> =>
  withClient(url, (sql) => {
    const statement: Statement<RunRow, boolean> = {
      text: spendLoad(spenders).text,
      parse: ([row]) => row?.['result'] === 'posted',
    };
    return startedRuns(inFlight, seconds, async () => {
      if (!(await runHot(sql, statement, runRow(numberAmong(spenders))))) throw new Error('a spend was refused');
    });
  });

/** The same runs through the product's group committer. */
export const throughCommitter = (url: string, spenders: Spenders, inFlight: number, seconds: number): Promise<Sample> =>
  withClient(url, async (sql) => {
    metrics.commitSize.reset();
    const committer = createRunCommitter(sql, { pool: POOL, metrics, log: createLog('warn') });
    const sample = await startedRuns(inFlight, seconds, async () => {
      const row = runRow(numberAmong(spenders));
      const { verdict, spend } = await committer.commit({ lane: row[0], key: row[3], row });
      if (verdict !== 'runnable' || spend !== 'posted') throw new Error(`a run was refused: ${verdict} ${spend}`);
    });
    const { values } = await metrics.commitSize.get();
    const commits = values.find(({ metricName }) => metricName?.endsWith('_count'))?.value ?? Number.NaN;
    return { ...sample, notes: { 'runs per commit': sample.operations / commits } };
  });

/** A pool for each turn: when its connections end, the server counts what they did. */
async function withClient(url: string, work: (sql: Sql) => Promise<Sample>): Promise<Sample> {
  const database = await openDatabase({ url, pool: POOL, insecure: true });
  try {
    await Promise.all(Array.from({ length: POOL }, () => database.sql`select pg_sleep(0.02)`)); // all connected
    return await work(database.sql);
  } finally {
    await database.close();
  }
}

async function startedRuns(inFlight: number, seconds: number, start: () => Promise<void>): Promise<Sample> {
  const sample = await closedLoop(inFlight, seconds, start);
  return { ...sample, runs: { started: sample.operations, unheard: 0 } };
}
