import { Command, InvalidArgumentError } from 'commander';
import { askForJobs } from './jobs.ts';
import { live } from './people.ts';
import { readArticles } from './readers.ts';
import { readBooks, reckon } from './reading.ts';
import { Tally } from './tally.ts';
import { heal, makeTrouble } from './trouble.ts';
import { openWorld } from './world.ts';

/**
 * A minute in which everything happens at once: customers buy, pay, run and cancel, readers take orders and pay them, keys of Nostr ask for jobs and zap
 * them, while the network is cut, replies are lost, and replicas, relays and PostgreSQL are killed; the books are read all the
 * time. Draws repeat with the seed; how they fall together does not quite, because processes, sockets and disks have a time
 * of their own.
 */

const whole = (text: string): number => {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('must be a whole number');
  return Number(text);
};

async function run(seed: number, seconds: number): Promise<boolean> {
  console.log(`chaos: seed ${seed}, ${seconds} s`);
  const world = await openWorld(seed);
  const tally = new Tally();
  try {
    const [over, read] = [new AbortController(), new AbortController()];
    setTimeout(() => over.abort(), seconds * 1000);
    const reading = readBooks(world, tally, read.signal);
    const [wishes] = await Promise.all([
      live(world, seed, tally, over.signal),
      readArticles(world, seed, tally, over.signal),
      askForJobs(world, seed, tally, over.signal),
      makeTrouble(world, seed, tally, over.signal),
    ]);
    await heal(world);
    await reckon(world, wishes, tally);
    read.abort();
    await reading;
  } finally {
    await world.close();
  }
  console.log(tally.table());
  for (const fault of tally.faults) console.log(`  WRONG: ${fault}`);
  const verdict = tally.faults.length === 0 ? 'green' : `${tally.faults.length} faults`;
  console.log(`chaos: seed ${seed}, ${seconds} s, ${tally.steps} steps: ${verdict}`);
  return tally.faults.length === 0;
}

const program = new Command('chaos')
  .description('Customers, faults and crashes at random, replayable by seed.')
  .option('--seed <n>', 'what the dice begin with', whole, Math.floor(Math.random() * 1_000_000))
  .option('--seconds <n>', 'how long things go wrong', whole, 60)
  .option('--runs <n>', 'so many seeds, one after the other', whole, 1)
  .parse();
const { seed, seconds, runs } = program.opts<{ seed: number; seconds: number; runs: number }>();

let isGreen = true;
for (let n = 0; n < runs; n += 1) isGreen = (await run(seed + n, seconds)) && isGreen;
process.exit(isGreen ? 0 : 1);
