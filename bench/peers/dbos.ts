import { closedLoop } from '../closed-loop.ts';
import { emptyDatabase } from '../setup/database.ts';
import { installed } from './installed.ts';
import type { MakePeer } from './peers.ts';

interface Client {
  enqueue(options: { workflowName: string; queueName: string }, ...args: unknown[]): Promise<unknown>;
  destroy(): Promise<void>;
}
interface Package {
  DBOS: {
    setConfig(config: object): void;
    launch(): Promise<void>;
    shutdown(): Promise<void>;
  };
  DBOSClient: { create(options: { systemDatabaseUrl: string }): Promise<Client> };
}

const IN_FLIGHT = 32;

/** DBOS: a workflow into one of its queues, through its own client. No money. */
export const dbos: MakePeer = async (server) => {
  const found = await installed<Package>('@dbos-inc/dbos-sdk');
  if (!found) return undefined;
  const { DBOS, DBOSClient } = found;
  const systemDatabaseUrl = await emptyDatabase(server, 'dbos');
  // Makes its tables.
  DBOS.setConfig({ name: 'bench', systemDatabaseUrl, runAdminServer: false, logLevel: 'error' });
  await DBOS.launch();
  await DBOS.shutdown();
  const client = await DBOSClient.create({ systemDatabaseUrl });
  return {
    subjects: [
      {
        name: `dbos-${IN_FLIGHT}`,
        about: `DBOS enqueue, ${IN_FLIGHT} in flight`,
        run: (seconds) =>
          closedLoop(IN_FLIGHT, seconds, async () => {
            await client.enqueue({ workflowName: 'summarize', queueName: 'bench' }, 'minutes-2026-11-22.pdf');
          }),
      },
    ],
    close: () => client.destroy(),
  };
};
