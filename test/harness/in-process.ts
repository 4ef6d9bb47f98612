import { onTestFinished } from 'vitest';
import { buildApp, type Farebox, type Lifecycle } from '../../src/app.ts';
import { databaseOptions } from '../../src/platform/commands.ts';
import { readConfig } from '../../src/platform/config.ts';
import { openDatabase } from '../../src/platform/database/clients.ts';
import { createLog } from '../../src/platform/log.ts';
import type { TestFarebox } from './farebox.ts';

/**
 * Another replica on a Farebox's database, inside the test: its servers are asked by `inject`, and its workers move only
 * when the test says so.
 */
export async function inProcess(
  farebox: Pick<TestFarebox, 'environment'>,
): Promise<Farebox & { lifecycle: Lifecycle; work(worker: string): Promise<void> }> {
  const config = readConfig(farebox.environment);
  const database = await openDatabase(databaseOptions(config));
  const lifecycle: Lifecycle = { phase: 'serving' };
  const app = await buildApp(config, database, createLog('silent'), lifecycle);
  await Promise.all([app.front.ready(), app.internal.ready()]);
  onTestFinished(async () => {
    await app.close();
    await Promise.all([app.front.close(), app.internal.close()]);
    await database.close();
  });
  const work = async (name: string) => {
    const worker = app.workers.find((one) => one.name === name);
    if (!worker) throw new Error(`no worker is called ${name}`);
    for (let more = true; more; ) ({ more } = await worker.runOnce(new AbortController().signal));
  };
  return { ...app, lifecycle, work };
}
