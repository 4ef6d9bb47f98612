import { closedLoop } from '../closed-loop.ts';
import { emptyDatabase } from '../setup/database.ts';
import { installed } from './installed.ts';
import type { MakePeer } from './peers.ts';

interface Boss {
  start(): Promise<unknown>;
  stop(options?: { graceful: boolean }): Promise<unknown>;
  createQueue(name: string): Promise<unknown>;
  send(name: string, data: object): Promise<string | null>;
  on(event: 'error', listener: () => void): void;
}
type Package = Record<'PgBoss' | 'default', (new (url: string) => Boss) | undefined>;

const QUEUE = 'bench';
const IN_FLIGHT = 32;

/** pg-boss: a job into its queue, through its own driver. No money. */
export const pgBoss: MakePeer = async (server) => {
  const found = await installed<Package>('pg-boss');
  const Constructor = found?.PgBoss ?? found?.default;
  if (!Constructor) return undefined;
  const boss = new Constructor(await emptyDatabase(server, 'pg_boss'));
  boss.on('error', () => {});
  await boss.start();
  await boss.createQueue(QUEUE);
  return {
    subjects: [
      {
        name: `pg-boss-${IN_FLIGHT}`,
        about: `pg-boss send, ${IN_FLIGHT} in flight`,
        run: (seconds) =>
          closedLoop(IN_FLIGHT, seconds, async () => {
            if (!(await boss.send(QUEUE, { document: 'minutes-2026-11-22.pdf' }))) throw new Error('no job was made');
          }),
      },
    ],
    close: async () => void (await boss.stop({ graceful: false })),
  };
};
