import { auditOn } from './audit.ts';
import { historyLoad } from './growth.ts';
import { type Spenders, spendLoad } from './hot-statement.ts';
import { hello, read, startRun, underLoad } from './http.ts';
import { throughCommitter, throughDriver } from './in-process.ts';
import { runsAtConstantRate } from './open-loop.ts';
import type { Load, Pgbench } from './pgbench.ts';
import type { Sample, Subject } from './rounds.ts';
import type { Server } from './setup/server.ts';
import type { Stage } from './setup/stage.ts';

/** The hot statement alone, and what the product's own way to it adds or saves. */
export function databaseSubjects(stage: Stage, pgbench: Pgbench): Subject[] {
  const { server, base, accounts } = stage;
  const many: Spenders = { from: 1, to: accounts };
  const hot: Spenders = { from: accounts, to: accounts };
  const spend = (name: string, about: string, load: Load, clients: number) =>
    counted(server, { name, about, run: async (s) => started(await pgbench.run(base.appUrl, load, clients, s)) });
  const own = (name: string, about: string, run: Subject['run']) => counted(server, { name, about, run });
  const { appUrl } = base;
  return [
    spend('pgbench-10', 'pgbench, hot statement, 10 connections, many accounts', spendLoad(many), 10),
    spend('pgbench-32', 'the same with 32 connections', spendLoad(many), 32),
    spend('pgbench-hot-10', 'the same on one account, 10 connections', spendLoad(hot), 10),
    own('driver-32', 'hot statement through the driver, 32 in flight, 10 connections', (s) =>
      throughDriver(appUrl, many, 32, s),
    ),
    own('driver-hot-32', 'the same on one account', (s) => throughDriver(appUrl, hot, 32, s)),
    own('committer-1', 'group committer, 1 in flight', (s) => throughCommitter(appUrl, many, 1, s)),
    own('committer-32', 'group committer, 32 in flight, many accounts', (s) => throughCommitter(appUrl, many, 32, s)),
    own('committer-128', 'group committer, 128 in flight, many accounts', (s) =>
      throughCommitter(appUrl, many, 128, s),
    ),
    own('committer-hot-32', 'group committer, 32 in flight, one account', (s) => throughCommitter(appUrl, hot, 32, s)),
    own('committer-hot-128', 'group committer, 128 in flight, one account', (s) =>
      throughCommitter(appUrl, hot, 128, s),
    ),
  ];
}

/** From the socket to the disk and back. */
export function httpSubjects({ server, children, customers, hotCustomer }: Stage, isAuditable: boolean): Subject[] {
  const { farebox, variants } = children;
  const runs = () => customers.map(startRun);
  const subjects: Subject[] = [
    { name: 'hello', about: 'Fastify hello world, 64 connections', run: (s) => underLoad(children.hello, [hello], s) },
    {
      name: 'balance',
      about: 'GET /v1/credits/balance',
      run: (s) =>
        underLoad(
          farebox,
          customers.map((customer) => read('/v1/credits/balance', customer)),
          s,
        ),
    },
    {
      name: 'history',
      about: 'GET /v1/credits/transfers, page of 20',
      run: (s) =>
        underLoad(
          farebox,
          customers.map((customer) => read('/v1/credits/transfers?limit=20', customer)),
          s,
        ),
    },
    {
      name: 'run',
      about: 'POST /v1/workflows/{id}/runs, production defaults',
      run: (s) => underLoad(farebox, runs(), s),
    },
    {
      name: 'run-hot',
      about: 'the same, all requests of one customer',
      run: (s) => underLoad(farebox, hotCustomer.map(startRun), s),
    },
  ];
  if (variants) {
    subjects.push(
      {
        name: 'run-api-only',
        about: 'POST run, WORKERS=off (a replica that answers requests only)',
        run: (s) => underLoad(variants.apiOnly, runs(), s),
      },
      {
        name: 'run-ungrouped',
        about: 'POST run, WORKERS=off, without the group committer',
        run: (s) => underLoad(variants.ungrouped, runs(), s),
      },
    );
  }
  if (!isAuditable) return subjects;
  const audited: Subject = {
    name: 'run-audited',
    about: 'POST run while `farebox audit` runs again and again',
    run: async (s) => {
      const audit = await auditOn(farebox, server.admin);
      let finished = 0;
      const sample = await underLoad(farebox, runs(), s).finally(async () => {
        finished = await audit.stop();
      });
      return { ...sample, notes: { 'audits finished': finished } };
    },
  };
  return [...subjects, audited];
}

/** Latency of POST run at 80 % of the maximum: with the committer, without it, and with it at the rate of without. */
export function latencySubjects({ children: { variants }, customers }: Stage): Subject[] {
  if (!variants) return [];
  const { apiOnly, ungrouped } = variants;
  let rateWithout: number | undefined;
  return [
    {
      name: 'latency-ungrouped',
      about: 'POST run without the group committer, at 80 % of its maximum',
      run: async (seconds) => {
        const sample = await runsAtConstantRate({ url: ungrouped.url, customers, seconds });
        rateWithout = sample.notes?.['rate'];
        return sample;
      },
    },
    {
      name: 'latency-grouped',
      about: 'POST run with the group committer, at 80 % of its maximum',
      run: (seconds) => runsAtConstantRate({ url: apiOnly.url, customers, seconds }),
    },
    {
      name: 'latency-same-rate',
      about: 'POST run with the group committer, at the rate of the one without',
      run: (seconds) =>
        runsAtConstantRate({
          url: apiOnly.url,
          customers,
          seconds,
          ...(rateWithout === undefined ? {} : { rate: rateWithout }),
        }),
    },
  ];
}

/** The same work on a ledger that is nearly empty and on one with millions of transfers. */
export async function growthSubjects(stage: Stage, pgbench: Pgbench): Promise<Subject[]> {
  const { server, base, grown, accounts, withPast, children, customers } = stage;
  const [customer] = customers;
  if (!grown || !customer) return [];
  const everybody = { from: 1, to: accounts };
  const page = (readers: Spenders) => historyLoad(server, base.name, children.farebox, customer, readers);
  const [shortPage, longPage] = [await page({ from: 1, to: withPast }), await page(everybody)];
  return [
    {
      name: 'spend-young',
      about: 'pgbench, hot statement, 10 connections, young ledger',
      run: async (s) => started(await pgbench.run(base.appUrl, spendLoad(everybody), 10, s)),
    },
    {
      name: 'spend-old',
      about: 'the same with millions of transfers',
      onGrown: true,
      run: async (s) => started(await pgbench.run(grown.appUrl, spendLoad(everybody), 10, s)),
    },
    {
      name: 'page-young',
      about: "pgbench, the server's statement of a history page, young ledger",
      run: (s) => pgbench.run(base.appUrl, shortPage, 10, s),
    },
    {
      name: 'page-old',
      about: 'the same with millions of transfers',
      run: (s) => pgbench.run(grown.appUrl, longPage, 10, s),
    },
  ];
}

/** Adds how often the server made its disk promise something. */
function counted(server: Server, subject: Subject): Subject {
  return {
    ...subject,
    run: async (seconds) => {
      const before = await server.walFlushes();
      const sample = await subject.run(seconds);
      return { ...sample, fsyncs: ((await server.walFlushes()) - before) / sample.operations };
    },
  };
}

const started = (sample: Sample): Sample => ({ ...sample, runs: { started: sample.operations, unheard: 0 } });
