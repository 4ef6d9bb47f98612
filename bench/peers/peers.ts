import type { Pgbench } from '../pgbench.ts';
import type { Subject } from '../rounds.ts';
import type { Server } from '../setup/server.ts';
import { dbos } from './dbos.ts';
import { graphileWorker } from './graphile-worker.ts';
import { pgBoss } from './pg-boss.ts';
import { pgledger } from './pgledger.ts';

/** Others that do a part of the same, on the same server in the same rounds. */
export interface Peer {
  subjects: Subject[];
  close?(): Promise<void>;
}

/** Sets a peer up; `undefined` when the user has not got it. */
export type MakePeer = (server: Server, pgbench: Pgbench) => Promise<Peer | undefined>;

export interface Peers {
  subjects: Subject[];
  /** Those that are not here, with the reason. */
  absent: string[];
  close(): Promise<void>;
}

export async function peers(
  server: Server,
  pgbench: Pgbench,
  { pgledger: folder, wanted }: { pgledger: string | undefined; wanted: boolean },
): Promise<Peers> {
  const found: Peer[] = [];
  const absent: string[] = [];
  const makers: Record<string, { make: MakePeer; missing: string }> = {
    pgledger: { make: pgledger(folder), missing: 'give its folder with --pgledger' },
    'pg-boss': { make: pgBoss, missing: 'npm install --no-save pg-boss' },
    'graphile-worker': { make: graphileWorker, missing: 'npm install --no-save graphile-worker' },
    DBOS: { make: dbos, missing: 'npm install --no-save @dbos-inc/dbos-sdk' },
  };
  for (const [name, { make, missing }] of wanted ? Object.entries(makers) : []) {
    try {
      const peer = await make(server, pgbench);
      if (peer) found.push(peer);
      else absent.push(`${name} (${missing})`);
    } catch (fault) {
      absent.push(`${name} (could not be set up: ${fault instanceof Error ? fault.message : fault})`);
    }
  }
  return {
    subjects: found.flatMap(({ subjects }) => subjects),
    absent,
    close: async () => {
      for (const peer of found) await peer.close?.();
    },
  };
}
