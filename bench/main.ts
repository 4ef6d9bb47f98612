import { readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { faultsInAudit, hasAudit } from './audit.ts';
import { probeFsync } from './fsync-probe.ts';
import { reachedBy } from './goals.ts';
import { faultsAfter } from './invariants.ts';
import { peers } from './peers/peers.ts';
import { findPgbench } from './pgbench.ts';
import { goalLines, markdownOf, measured, type Report } from './report.ts';
import { type Subject, takeTurns } from './rounds.ts';
import { type Stage, type StageOptions, setStage } from './setup/stage.ts';
import { databaseSubjects, growthSubjects, httpSubjects, latencySubjects } from './subjects.ts';

interface Options {
  rounds: number;
  seconds: number;
  accounts: number;
  transfers: number;
  only?: string[];
  smoke?: true;
  json?: string;
  markdown?: string;
  pgledger?: string;
  database?: string;
}

const PAGE = fileURLToPath(new URL('../docs/benchmarks.md', import.meta.url));
/** In half a minute with all that is around it: nothing of it is a measurement. */
const SMOKE = ['pgbench-10', 'driver-32', 'committer-32', 'committer-hot-32', 'hello', 'balance', 'run', 'run-hot'];
const CUSTOMERS = 192; // three for each connection

const whole = (text: string) => {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`${text} is not a whole number`);
  return value;
};
const names = (text: string) => text.split(',');

const options = new Command('bench')
  .description('How fast Farebox is beside what it is made of. Ratios in rounds of turns; broken books are a failure.')
  .option('--rounds <n>', 'rounds that count', whole, 5)
  .option('--seconds <n>', 'length of a turn', whole, 3)
  .option('--accounts <n>', 'accounts with credits and a workflow', whole, 100_000)
  .option('--transfers <n>', 'also compare with a ledger of so many transfers, 10000000 for example', whole, 0)
  .option(
    '--only <names>',
    'these subjects or groups (database, http, latency, growth, peers), separated by commas',
    names,
  )
  .option('--smoke', 'half a minute, few accounts, no targets: does it all work, and do the books balance?')
  .option('--json <file>', 'write what was found there')
  .option('--markdown <file>', `write a page there (default: docs/benchmarks.md, after a whole run)`)
  .option('--pgledger <folder>', "pgledger's SQL, to run beside ours (github.com/pgr0ss/pgledger)")
  .option('--database <url>', 'superuser of a PostgreSQL to use instead of an embedded one')
  .parse()
  .opts<Options>();

if (options.smoke) Object.assign(options, { rounds: 1, seconds: 1, accounts: 2_000, transfers: 0 });
const log = (line: string) => void process.stdout.write(`${line}\n`);

const closers: (() => Promise<void>)[] = [];
let closing: Promise<void> | undefined;
const close = () => {
  closing ??= (async () => {
    for (const one of closers.reverse()) await one();
  })();
  return closing;
};
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => void close().finally(() => process.exit(130)));

let report: Report;
try {
  report = await measure(await setStage(stageOptions(), closers));
} finally {
  await close();
}
for (const line of goalLines(report.goals, !options.smoke)) log(line);
for (const line of report.absent) log(`not measured: ${line}`);
for (const fault of report.faults) log(`BROKEN: ${fault}`);
if (report.faults.length === 0) log('the books balance, and every run has its spend');
if (options.json) writeFileSync(options.json, `${JSON.stringify(report, null, 2)}\n`);
const page = options.markdown ?? (options.smoke || options.only ? undefined : PAGE);
if (page) writeFileSync(page, markdownOf(report));
const isMissed = !options.smoke && report.goals.some(({ verdict }) => verdict === 'missed');
if (report.faults.length > 0 || isMissed) process.exitCode = 1;

function stageOptions(): StageOptions {
  return {
    databaseUrl: options.database,
    accounts: options.accounts,
    customers: options.smoke ? 64 : CUSTOMERS,
    past: { accounts: Math.min(1_000, Math.ceil(options.accounts / 100)), transfers: 100 },
    withVariants: !options.smoke,
    transfers: options.transfers,
    tell: log,
  };
}

async function measure(at: Stage): Promise<Report> {
  const pgbench = await findPgbench();
  const isAuditable = await hasAudit();
  const fsyncUs = probeFsync(1, at.server.home);
  await at.renewSessions();
  const beside = await peers(at.server, pgbench, { pgledger: options.pgledger, wanted: arePeersWanted() });
  const subjects = [
    ...chosen('database', databaseSubjects(at, pgbench)),
    ...chosen('http', httpSubjects(at, isAuditable)),
    ...chosen('latency', latencySubjects(at)),
    ...chosen('growth', await growthSubjects(at, pgbench)),
    ...chosen('peers', beside.subjects),
  ];
  const tally = { base: { started: 0, unheard: 0 }, grown: { started: 0, unheard: 0 } };
  const results = await takeTurns(subjects, {
    rounds: options.rounds,
    seconds: options.seconds,
    warmUp: !options.smoke,
    tell: log,
    beforeRound: at.renewSessions,
    onSample: ({ onGrown }, { runs }) => {
      const sum = onGrown ? tally.grown : tally.base;
      sum.started += runs?.started ?? 0;
      sum.unheard += runs?.unheard ?? 0;
    },
  }).finally(() => beside.close());
  log('the books');
  const faults = await faultsAfter(at.base, tally.base, { recompute: true });
  // The grown one is left to the audit, which is faster, where there is one.
  if (at.grown) faults.push(...(await faultsAfter(at.grown, tally.grown, { recompute: !isAuditable })));
  for (const database of isAuditable ? [at.base, at.grown] : []) {
    if (database) faults.push(...(await faultsInAudit(at.children.farebox, database.appUrl)));
  }
  return {
    at: new Date().toISOString(),
    options: {
      rounds: options.rounds,
      seconds: options.seconds,
      accounts: options.accounts,
      transfers: options.transfers,
    },
    machine: machine(fsyncUs),
    versions: versions(at, pgbench.version),
    settings: at.server.settings,
    goals: reachedBy(results),
    subjects: measured(subjects, results),
    absent: [
      ...beside.absent,
      ...(isAuditable ? [] : ['the audit beside the load (this version has no `farebox audit`)']),
      ...(pgbench.isReal ? [] : ['pgbench itself (a loop over postgres.js stood in for it)']),
    ],
    faults,
  };
}

function arePeersWanted(): boolean {
  const isPeer = (name: string) => /^(peers|pgledger|pg-boss|graphile-worker|dbos)/.test(name);
  return !options.smoke && (!options.only || options.only.some(isPeer));
}

function chosen(group: string, subjects: Subject[]): Subject[] {
  const only = options.smoke ? SMOKE : options.only;
  return subjects.filter(({ name }) => !only || only.includes(name) || only.includes(group));
}

function machine(fsyncUs: number) {
  return {
    processor: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    'memory GB': Math.round(totalmem() / 1024 ** 3),
    'µs for 8 kB and fdatasync': Math.round(fsyncUs),
  };
}

function versions(at: Stage, pgbench: string): Record<string, string> {
  const { dependencies, devDependencies, version } = JSON.parse(
    readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
  ) as Record<'dependencies' | 'devDependencies', Record<string, string>> & { version: string };
  const { fastify = '', postgres = '' } = dependencies;
  const { autocannon = '' } = devDependencies;
  const own = { Farebox: version, Node: process.version, fastify, 'postgres.js': postgres, autocannon };
  return { ...own, PostgreSQL: at.server.version, pgbench };
}
