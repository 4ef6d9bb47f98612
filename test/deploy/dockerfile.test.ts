import { execFileSync, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { freePort } from '../../sandbox/postgres.ts';
import { eventually } from '../harness/client.ts';
import { databaseForTest } from '../harness/database.ts';
import { startProvider, testEnvironment } from '../harness/farebox.ts';

/** Where there is no Docker engine, the steps of the Dockerfile are done in an empty folder. */

const steps = readFileSync('Dockerfile', 'utf8')
  .replaceAll(/\\\n\s*/g, '')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
  .map((line) => ({ name: line.split(' ', 1)[0] ?? '', rest: line.slice(line.indexOf(' ') + 1) }));

const jsonOf = (name: string) => {
  const rest = steps.find((step) => step.name === name)?.rest ?? '';
  return JSON.parse(rest.slice(rest.indexOf('['))) as string[];
};

// REQ E6.4
test('the image is the official Node 26, without root, in exec form', () => {
  expect(steps.find(({ name }) => name === 'FROM')?.rest).toBe('node:26-slim');
  expect(steps.find(({ name }) => name === 'USER')?.rest).toBe('node');
  expect(jsonOf('CMD')[0]).toBe('node');
  const ignored = readFileSync('.dockerignore', 'utf8').split('\n');
  expect(ignored[0]).toBe('*');
  expect(ignored).not.toContain('!sandbox');
});

test('its steps give a Farebox that serves in production, healthy, without development packages', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'farebox-image-'));
  for (const { name, rest } of steps) {
    if (name === 'COPY') {
      const parts = rest.split(' ');
      const target = join(folder, parts.at(-1) ?? '.');
      for (const source of parts.slice(0, -1)) {
        const isFolder = !source.includes('.json') && !source.startsWith('.npmrc');
        mkdirSync(isFolder ? target : folder, { recursive: true });
        cpSync(source, isFolder ? target : join(target, source), { recursive: true });
      }
    }
    if (name === 'RUN') {
      const install = rest.split(' && ').find((command) => command.startsWith('npm ci')) ?? '';
      execFileSync('bash', ['-c', install], {
        cwd: folder,
        stdio: 'pipe',
        env: { ...process.env, NODE_ENV: 'production' },
        timeout: 180_000,
      });
    }
  }
  expect(existsSync(join(folder, 'node_modules/vitest'))).toBe(false);
  expect(readdirSync(folder).sort()).toEqual([
    '.npmrc',
    'migrations',
    'node_modules',
    'package-lock.json',
    'package.json',
    'patches',
    'src',
  ]);
  expect(
    readFileSync(join(folder, 'node_modules/postgres/src/connection.js'), 'utf8'),
    'the driver is patched',
  ).toContain('!socket || socket.destroyed');

  const database = await databaseForTest();
  const provider = await startProvider();
  const port = await freePort();
  const internalPort = await freePort();
  const environment = {
    PATH: process.env['PATH'] ?? '',
    NODE_ENV: 'production',
    ...testEnvironment(database, { port, omiseUrl: provider.url }),
    INTERNAL_PORT: String(internalPort),
  };
  const [, ...args] = jsonOf('CMD');
  const child = spawn(process.execPath, args, { cwd: folder, env: environment, stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const [, ...healthcheck] = jsonOf('HEALTHCHECK');
  const isHealthy = async () => {
    try {
      execFileSync(process.execPath, healthcheck, { cwd: folder, env: environment, stdio: 'pipe' });
      return true;
    } catch {
      return false;
    }
  };
  expect(await isHealthy(), 'the check fails before the server is up').toBe(false);
  expect(await eventually(isHealthy, (healthy) => healthy, 30_000)).toBe(true);
  expect((await fetch(`http://127.0.0.1:${port}/v1/packages`)).status).toBe(200);
  child.kill('SIGTERM');
  expect(await ended).toBe(0);
  await provider.close();
  await rm(folder, { recursive: true, force: true });
}, 300_000);
