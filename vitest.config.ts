import { availableParallelism } from 'node:os';
import { quickpickle } from 'quickpickle';
import { defineConfig } from 'vitest/config';

const slow = ['test/slow/**'];
const crash = ['test/crash/matrix.test.ts'];

/**
 * Tests that hold something to a clock, live by short deadlines or change what a whole process shares: after the others, three
 * files at a time, each in a process of its own.
 */
const clock = [
  'test/audit/windows.test.ts',
  'test/database/restart-over-http.test.ts',
  'test/dvm/spam.test.ts',
  'test/http/{connections,draining,operations}.test.ts',
  'test/identity/{accounts,passwords,sessions}.test.ts',
  'test/nostr/flood.test.ts',
  'test/payments/{client,client-tls,evm-endpoints,fixtures,outage,qr,random}.test.ts',
  'test/platform/{alarms,feed,workers}.test.ts',
  'test/sandbox/{omise-client,omise-webhooks,tcp-proxy}.test.ts',
  'test/webhooks-out/{crash,replicas,trouble}.test.ts',
  'test/workflows/{definitions,dispatching,egress-calls,retries,run-events}.test.ts',
];

export default defineConfig({
  test: {
    // One PostgreSQL for all projects; each test file works on a clone of its migrated template.
    globalSetup: ['test/harness/global-setup.ts'],
    pool: 'forks',
    maxWorkers: Math.ceil(2.5 * availableParallelism()), // they mostly wait: for the database, for each other's processes, for time
    testTimeout: 120_000, // for a machine that is busy with other things, too
    hookTimeout: 120_000,
    isolate: false, // a process loads some sixteen hundred modules: once, and not for each of two hundred files
    projects: [
      { extends: true, test: { name: 'test', include: ['test/**/*.test.ts'], exclude: [...slow, ...crash, ...clock] } },
      {
        extends: true,
        plugins: [quickpickle({ stepTimeout: 60_000 })], // its own three seconds are fewer than the watcher may need
        test: { name: 'features', include: ['features/**/*.feature'], setupFiles: ['features/steps/index.ts'] },
      },
      {
        extends: true,
        test: { name: 'clock', include: clock, isolate: true, maxWorkers: 3, sequence: { groupOrder: 1 } },
      },
      { extends: true, test: { name: 'slow', include: ['test/slow/**/*.test.ts'], testTimeout: 300_000 } },
      { extends: true, test: { name: 'crash', include: crash, testTimeout: 240_000 } },
    ],
  },
});
