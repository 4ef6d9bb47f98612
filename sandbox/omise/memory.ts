import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { deserialize, serialize } from 'node:v8';
import type { World } from './state.ts';

/** Keeps what a stand-in knows in a file, so that a payment that was open yesterday can be paid today. */

const SHELVES = ['tokens', 'customers', 'sources', 'charges', 'links', 'disputes', 'transactions', 'events'] as const;
const WRITTEN_EVERY_MS = 1_000;

type Kept = Pick<World, (typeof SHELVES)[number] | 'open'>;

/** Fills the shelves from the file, and writes them back whenever they have changed. Resolves the last write on `stop`. */
export function remember(world: World, file: string): { stop(): void } {
  recall(world, file);
  let written = snapshot(world);
  const write = () => {
    const now = snapshot(world);
    if (now.equals(written)) return;
    writeFileSync(`${file}.new`, now);
    renameSync(`${file}.new`, file);
    written = now;
  };
  const timer = setInterval(write, WRITTEN_EVERY_MS);
  return {
    stop: () => {
      clearInterval(timer);
      write();
    },
  };
}

const snapshot = (world: World) =>
  serialize(Object.fromEntries([...SHELVES, 'open' as const].map((name) => [name, world[name]])));

/** One graph, so that a charge in `open` is the charge in `charges`. */
function recall(world: World, file: string): void {
  if (!existsSync(file)) return;
  const kept = deserialize(readFileSync(file)) as Kept;
  for (const name of SHELVES) {
    for (const [key, value] of kept[name]) (world[name] as Map<string, unknown>).set(key, value);
  }
  for (const charge of kept.open) world.open.add(charge);
}
