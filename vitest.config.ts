import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

const slow = ['test/slow/**'];
const crash = ['test/crash/matrix.test.ts'];

export default defineConfig({
  test: {
    // One PostgreSQL for all projects; each test file works on a clone of its migrated template.
    globalSetup: ['test/harness/global-setup.ts'],
    pool: 'forks',
    maxWorkers: 2 * availableParallelism(), // they mostly wait: for the database, for each other's processes, for time
    testTimeout: 60_000, // for a machine that is busy with other things, too
    hookTimeout: 60_000,
    projects: [
      { extends: true, test: { name: 'test', include: ['test/**/*.test.ts'], exclude: [...slow, ...crash] } },
      { extends: true, test: { name: 'slow', include: ['test/slow/**/*.test.ts'], testTimeout: 300_000 } },
      { extends: true, test: { name: 'crash', include: crash, testTimeout: 240_000 } },
    ],
  },
});
