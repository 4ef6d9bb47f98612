import { emptyDatabase } from '../setup/database.ts';
import { installed } from './installed.ts';
import type { MakePeer } from './peers.ts';

interface Package {
  runMigrations(options: { connectionString: string }): Promise<void>;
}

const CLIENTS = 32;

/** graphile-worker: its SQL function that adds a job. No money. */
export const graphileWorker: MakePeer = async (server, pgbench) => {
  const found = await installed<Package>('graphile-worker');
  if (!found) return undefined;
  const url = await emptyDatabase(server, 'graphile_worker');
  await found.runMigrations({ connectionString: url });
  const load = {
    text: `select id from graphile_worker.add_job('bench', json_build_object('document', $1::text))`,
    sets: [],
    defines: () => ({ document: 'minutes-2026-11-22.pdf' }),
    parameters: [':document'],
    next: () => ['minutes-2026-11-22.pdf'],
  };
  return {
    subjects: [
      {
        name: `graphile-worker-${CLIENTS}`,
        about: `pgbench, graphile_worker.add_job, ${CLIENTS} connections`,
        run: (seconds) => pgbench.run(url, load, CLIENTS, seconds),
      },
    ],
  };
};
