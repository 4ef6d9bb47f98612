import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FaultRule } from '../../sandbox/omise/faults/rules.ts';
import { FAILPOINTS } from '../../src/platform/failpoints.ts';
import { commitReply, type TcpProxy } from '../harness/tcp-proxy.ts';
import { walletTrouble } from './invoices.ts';
import { chainGoesOn } from './payers.ts';
import { allRelaysAway, relayTrouble } from './relays.ts';
import { type Dice, diceOf, type Tally } from './tally.ts';
import { passTime, type World } from './world.ts';

/** Everything that goes wrong around the customers, by chance, until the signal. */
export async function makeTrouble(world: World, seed: number, tally: Tally, signal: AbortSignal): Promise<void> {
  await Promise.all([
    actor(diceOf(seed, 101), [150, 900], signal, (dice) => network(world, dice, tally)),
    actor(diceOf(seed, 102), [200, 900], signal, (dice) => provider(world, dice, tally)),
    actor(diceOf(seed, 103), [2_500, 6_000], signal, (dice) => deaths(world, dice, tally)),
    actor(diceOf(seed, 104), [12_000, 20_000], signal, () => databaseCrash(world, tally)),
    actor(diceOf(seed, 106), [800, 2_500], signal, async (dice) => {
      if (world.onChain) await chainGoesOn(world.onChain, dice, tally);
    }),
    actor(diceOf(seed, 105), [1_000, 2_000], signal, () => time(world, tally)),
    actor(diceOf(seed, 107), [1_200, 3_500], signal, (dice) => relayNetwork(world, dice, tally)),
    actor(diceOf(seed, 108), [4_000, 8_000], signal, (dice) => relayTrouble(world.jobs, dice, tally)),
    actor(diceOf(seed, 110), [1_500, 4_000], signal, async (dice) => walletTrouble(world.invoices, dice, tally)),
    actor(diceOf(seed, 109), [14_000, 22_000], signal, (dice) => allRelaysAway(world.jobs, dice, tally)),
  ]);
}

async function actor(
  dice: Dice,
  [from, to]: [number, number],
  signal: AbortSignal,
  deed: (dice: Dice) => Promise<unknown>,
): Promise<void> {
  while (!signal.aborted) {
    await sleep(dice.between(from, to), undefined, { signal }).catch(() => {});
    if (!signal.aborted) await deed(dice);
  }
}

/** A fault of the network between Farebox and one of the others, over after a moment. */
async function network({ network: between, invoices, onChain }: World, dice: Dice, tally: Tally): Promise<void> {
  const [name, proxy] = dice.pick<[string, TcpProxy]>([
    ['database', between.database],
    ['database', between.database],
    ['provider', between.provider],
    ['executor', between.executor],
    ['wallet', invoices.proxy],
    ...(onChain ? ([['chain', onChain.proxy]] as [string, TcpProxy][]) : []),
  ]);
  await oneFault(name, proxy, dice, tally);
}

/** The same between Farebox and one of its relays, where an end is not always told. */
async function relayNetwork({ jobs }: World, dice: Dice, tally: Tally): Promise<void> {
  const { maker, proxy } = dice.pick(jobs.relays);
  if (jobs.areAway) return;
  if (!dice.chance(0.1)) return oneFault(`relay of ${maker}`, proxy, dice, tally);
  tally.count(`network of the relay of ${maker}`, 'half open');
  proxy.halfOpen('server');
}

async function oneFault(name: string, proxy: TcpProxy, dice: Dice, tally: Tally): Promise<void> {
  const bytes = dice.between(1, 4_000);
  const faults: [string, () => unknown, number][] = [
    ['delay', () => proxy.latency(dice.between(5, 80)), 600],
    ['reset', () => proxy.resetAll(), 0],
    ['cut in an answer', () => proxy.cutAfter(bytes, 'to-client'), 300],
    ['cut in a request', () => proxy.cutAfter(bytes, 'to-server'), 300],
    ['silence', () => proxy.blackHole(), dice.between(100, 900)],
    ['refused', () => proxy.refuse(), dice.between(50, 400)],
    ...(name === 'database'
      ? ([['reply to COMMIT lost', () => proxy.cutOn(commitReply, { times: 3 }), 500]] as typeof faults)
      : []),
  ];
  const [fault, begin, lastsMs] = dice.pick(faults);
  tally.count(`network of the ${name}`, fault);
  begin();
  await sleep(lastsMs);
  await proxy.pass();
}

const API: FaultRule[] = [
  { api: 'hang', times: 1 },
  { api: 'hang', executed: false, times: 1 },
  { api: 'cut_in_body', times: 2 },
  { api: 'reset_after_execution', times: 2 },
  { api: 'reset_before_execution', times: 2 },
  { api: 'rate_limited', times: 2 },
  { api: 'server_error', times: 2 },
  { api: 'server_error', status: 503, executed: true, times: 2 },
  { api: 'bad_gateway', times: 2 },
  { api: 'null_body', times: 1 },
];
const WEBHOOKS: FaultRule[] = [
  { webhook: 'drop', times: 5 },
  { webhook: 'duplicate', deliveries: 5, times: 3 },
  { webhook: 'delay', ms: 400, times: 3 },
  { webhook: 'reorder', times: 2 },
  { webhook: 'before_answer', times: 2 },
  { webhook: 'corrupt_signature', times: 2 },
  { webhook: 'tampered_amount', times: 2 },
  { webhook: 'livemode_flip', times: 1 },
];

async function provider({ omise }: World, dice: Dice, tally: Tally): Promise<void> {
  const rule = dice.pick(dice.chance(0.5) ? API : WEBHOOKS);
  tally.count('provider', 'api' in rule ? rule.api : `webhook ${rule.webhook}`);
  omise.fault(rule);
}

const OF_NOSTR = FAILPOINTS.filter((name) => name.startsWith('workflows.nostr.'));

let tickets = 0;

/** A replica dies or stands still: at once, or at a place of the sagas that it comes past next. */
async function deaths(world: World, dice: Dice, tally: Tally): Promise<void> {
  const child = dice.pick(world.replicas);
  const name = dice.pick(dice.chance(0.2) ? OF_NOSTR : FAILPOINTS);
  const kind = dice.pick(['kill', 'kill', 'hang'] as const);
  const atOnce = dice.chance(0.3);
  const pauseMs = dice.between(0, 1_000);
  if (atOnce) await child.kill();
  else {
    tickets += 1;
    const ticket = join(world.folder, `ticket-${tickets}`);
    await child.arm({ name, kind, ticket });
    await sleep(1_500);
    await child.disarm();
    if (!existsSync(ticket)) {
      tally.count('a replica', 'did not come past');
      return;
    }
  }
  tally.count('a replica', atOnce ? 'killed' : `${kind} at a failpoint`);
  await sleep(pauseMs);
  await child.release();
  await child.ready();
}

async function databaseCrash(world: World, tally: Tally): Promise<void> {
  tally.count('PostgreSQL', 'crashed and restarted');
  await world.restartDatabase();
}

/** The database may be away at that moment. */
async function time(world: World, tally: Tally): Promise<void> {
  const outcome = await passTime(world, { byForce: true }).then(
    () => 'passed',
    () => 'stood still',
  );
  tally.count('time', outcome);
}

/** Nothing is wrong any more, and both replicas are there. */
export async function heal(world: World): Promise<void> {
  for (const proxy of Object.values(world.network)) await proxy.pass();
  await world.onChain?.proxy.pass();
  for (const { proxy } of world.jobs.relays) await proxy.pass();
  await world.invoices.proxy.pass();
  world.invoices.wallet.faults({});
  world.omise.clearFaults();
  for (const child of world.replicas) {
    await child.disarm();
    await child.release();
    await child.ready();
  }
}
