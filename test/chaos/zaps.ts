import { createHash } from 'node:crypto';
import type { NostrEvent } from 'nostr-tools/pure';
import type { JobCustomer } from './jobs.ts';
import type { Dice, Tally } from './tally.ts';
import type { World } from './world.ts';

/** What customers pay by zaps, and how it becomes known: over relays, over HTTP, again, late; and receipts of what nobody has paid. */

export interface Zap {
  paymentHash: string;
  msat: bigint;
  /** Of one payment; the second one is made anew by its provider. */
  receipts: NostrEvent[];
  /** Otherwise it was made up, by somebody who is no provider. */
  isPaid: boolean;
  /** Farebox has told whoever brought it what it has come to. */
  isTold: boolean;
}

const AMOUNTS = ['exact', 'exact', 'exact', 'exact', 'exact', 'too little', 'too much', 'dust', 'too much to believe'];
const WAYS = ['both relays', 'both relays', 'one relay', 'copies', 'HTTP', 'HTTP, answer lost', 'HTTP and relays'];
const DUST_MSAT = 999n;
const WAIT_MS = 3_000;

/** Pays an event that asks for so much, or the request of its job. */
export async function zap(
  world: World,
  customer: JobCustomer,
  { id, dueMsat }: { id: string; dueMsat: bigint },
  dice: Dice,
  tally: Tally,
): Promise<void> {
  const isPaid = !dice.chance(0.06);
  const amount = dice.pick(AMOUNTS);
  const msat = msatFor(amount, dueMsat, world, dice);
  const preimage = `${dice.uuid()}${dice.uuid()}`.replaceAll('-', '');
  const paymentHash = createHash('sha256').update(Buffer.from(preimage, 'hex')).digest('hex');
  const way = dice.pick(WAYS);
  const receipts = [customer.receipt({ id }, msat, { preimage })];
  if (way === 'copies')
    receipts.push(customer.receipt({ id }, msat, { preimage, createdAt: Math.floor(Date.now() / 1000) + 1 }));
  const made = isPaid ? receipts : receipts.map(({ tags }) => customer.sign(9735, tags));
  const one: Zap = { paymentHash, msat, receipts: made, isPaid, isTold: false };
  world.jobs.zaps.push(one);
  tally.count('zap', isPaid ? amount : 'made up');
  tally.count('a receipt comes by', way);
  const overRelays = async (lines = customer.lines) => {
    for (const receipt of made) await Promise.all(lines.map((line) => line.send(receipt)));
  };
  if (way === 'HTTP, answer lost') await bring(world, one, tally, dice.between(1, 60));
  else if (way === 'HTTP') await bring(world, one, tally);
  else if (way === 'HTTP and relays') await Promise.all([bring(world, one, tally), overRelays()]);
  else await overRelays(way === 'one relay' ? [dice.pick(customer.lines)] : customer.lines);
}

function msatFor(amount: string, dueMsat: bigint, { jobs }: World, dice: Dice): bigint {
  switch (amount) {
    case 'too little':
      return BigInt(dice.between(1_000, Number(dueMsat)));
    case 'too much':
      return dueMsat + BigInt(dice.between(1, 8_000));
    case 'dust':
      return DUST_MSAT;
    case 'too much to believe':
      return jobs.maxZapMsat + 1n;
    default:
      return dueMsat;
  }
}

/** Brings a receipt that no relay has told of, or may not have; true when Farebox has said what it came to. */
export async function bring({ farebox }: World, one: Zap, tally: Tally, withinMs = WAIT_MS): Promise<boolean> {
  const asked = fetch(`${farebox.url}/v1/receipts`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ receipt: one.receipts[0] }),
    signal: AbortSignal.timeout(withinMs),
  });
  const reply = await asked.then(async (it) => ({ status: it.status, text: await it.text() })).catch(() => undefined);
  const verdict: string | undefined = reply?.status === 200 ? JSON.parse(reply.text).verdict : undefined;
  tally.count('bring a receipt', verdict ?? (reply ? String(reply.status) : 'no answer'));
  if (reply && reply.status !== 200 && reply.status !== 503) tally.fault(`a receipt: ${reply.status} ${reply.text}`);
  if (verdict === undefined) return false;
  if (verdict === (one.isPaid ? 'refused' : 'settled'))
    tally.fault(`${one.paymentHash} was ${one.isPaid ? '' : 'not '}paid, and is told so: ${reply?.text}`);
  one.isTold = true;
  return true;
}
