import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

const slow = ['test/slow/**'];

export default defineConfig({
  test: {
    // One PostgreSQL for all projects; each test file works on a clone of its migrated template.
    globalSetup: ['test/harness/global-setup.ts'],
    pool: 'forks',
    maxWorkers: 2 * availableParallelism(), // they mostly wait: for the database, for each other's processes, for time
    testTimeout: 20_000,
    hookTimeout: 60_000,
    projects: [
      { extends: true, test: { name: 'test', include: ['test/**/*.test.ts'], exclude: slow } },
      { extends: true, test: { name: 'slow', include: ['test/slow/**/*.test.ts'], testTimeout: 300_000 } },
    ],
  },
});
