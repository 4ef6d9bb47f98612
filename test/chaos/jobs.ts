import { setTimeout as sleep } from 'node:timers/promises';
import { encrypt as encrypt04 } from 'nostr-tools/nip04';
import { encrypt as encrypt44, getConversationKey } from 'nostr-tools/nip44';
import type { NostrEvent } from 'nostr-tools/pure';
import { type Customer, invoiceOf, msatOf, newCustomer, wordOf } from '../dvm/stage.ts';
import type { Json } from '../harness/client.ts';
import { payInvoice } from './invoices.ts';
import { type Line, openLine, type RelayWorld } from './relays.ts';
import { type Dice, diceOf, type Tally } from './tally.ts';
import type { World } from './world.ts';
import { bring, type Zap, zap } from './zaps.ts';

/** Customers with nothing but a key, who ask for jobs over relays, zap what is asked, and change their minds, by chance. */

export interface JobCustomer extends Customer {
  /** To each relay. */
  lines: Line[];
  /** What was said to it, by its id. */
  heard: Map<string, NostrEvent>;
}

/** A request for a job, as its author knows it. */
export interface Asking {
  request: NostrEvent;
  author: JobCustomer;
  /** It names us, and what is asked for is done here. */
  isForUs: boolean;
  /** A relay has said that it took it. */
  isTaken: boolean;
}

export interface JobWorld extends RelayWorld {
  kinds: number[];
  customers: JobCustomer[];
  askings: Asking[];
  zaps: Zap[];
  /** By the author of the job, or by a stranger. */
  deletions: { event: NostrEvent; of: Asking; isOwn: boolean }[];
}

const CUSTOMERS = 4;
const FIRST_KIND = 5_901;
const rails = [{ rail: 'credits' }, { rail: 'lightning', price_per_credit: 1_000 }];
const after = { credit_limit: 20, max_unpaid_runs: 3, grace_s: 3_600 };
const counting = { type: 'object', properties: { count: { type: 'integer' } } };

/** What is done over relays. Each has a kind of its own. */
const OFFERS: { path: string; credit_cost: number; payment: Json }[] = [
  { path: '/echo?by=upfront', credit_cost: 9, payment: { rails } },
  { path: '/async?parts=2&delay_ms=40&by=gathering', credit_cost: 8, payment: { rails, underpay: 'accumulate' } },
  { path: '/async-fail?by=short-quotes', credit_cost: 7, payment: { rails, quote_ttl_s: 10 } },
  { path: '/echo?by=after', credit_cost: 6, payment: { rails, mode: 'after', after } },
  { path: '/fail-times?n=1&by=choice', credit_cost: 5, payment: { rails, mode: 'flexible', after } },
  { path: '/milestones?delay_ms=20&by=parts', credit_cost: 12, payment: { rails, milestones: [3, 4, 5] } },
  {
    path: '/milestones?delay_ms=20&ahead=1&by=parts',
    credit_cost: 10,
    payment: { rails, milestones: [5, 5], unpaid_part: 'continue', underpay: 'accumulate' },
  },
];

type Offer = (path: string, terms: Json) => Promise<unknown>;

export async function openJobWorld(relays: RelayWorld, offer: Offer): Promise<JobWorld> {
  const kinds: number[] = [];
  for (const { path, ...terms } of OFFERS) {
    const kind = FIRST_KIND + kinds.length;
    await offer(path, { ...terms, nostr_kind: kind, input_schema: counting });
    kinds.push(kind);
  }
  const urls = relays.relays.map(({ url }) => url);
  const customers = Array.from({ length: CUSTOMERS }, (): JobCustomer => {
    const customer = newCustomer(relays.us, urls);
    const heard = new Map<string, NostrEvent>();
    const who = { us: relays.us, pubkey: customer.pubkey };
    const lines = relays.relays.map((relay) => openLine(relay, who, (event) => heard.set(event.id, event)));
    return { ...customer, lines, heard };
  });
  return {
    ...{ ...relays, kinds, customers, askings: [], zaps: [], deletions: [] },
    close: async () => {
      for (const { lines } of customers) for (const line of lines) line.close();
      await relays.close();
    },
  };
}

const PAUSE_MS = 900; // each deed costs signatures, here, at two relays and in two replicas
const PER_MINUTE = 20; // requests of one key; Farebox takes thirty
const MINUTE_MS = 60_000;

/** Until the signal. */
export async function askForJobs(world: World, seed: number, tally: Tally, signal: AbortSignal): Promise<void> {
  const { jobs } = world;
  await Promise.all(
    jobs.customers.map(async (customer, n) => {
      const dice = diceOf(seed, 300 + n);
      const sentAt: number[] = [];
      const own = () => jobs.askings.filter(({ author }) => author === customer);
      const lately = () => dice.pick(own().slice(-5));
      const zapped = new Set<string>();
      const ask = async () => {
        if (sentAt.filter((at) => at > Date.now() - MINUTE_MS).length >= PER_MINUTE) return;
        sentAt.push(Date.now());
        const asking = await askForJob(jobs, customer, dice, tally);
        // Whoever knows the price does not wait until it is asked for.
        if (dice.chance(0.1)) await zap(world, customer, { id: asking.request.id, dueMsat: 9_000n }, dice, tally);
      };
      const pay = async () => {
        const asked = [...customer.heard.values()].filter((event) => msatOf(event) > 0n);
        const open = asked.filter(({ id }) => !zapped.has(id));
        const from = dice.chance(0.85) ? open.slice(-4) : asked; // or one that was paid, or whose time is over
        if (from.length === 0) return ask();
        const event = dice.pick(from);
        zapped.add(event.id);
        const bolt11 = invoiceOf(event);
        if (bolt11 !== '' && dice.chance(0.4)) return payInvoice(world.invoices, bolt11, tally);
        const request = event.tags.find(([name]) => name === 'e')?.[1];
        const id = request && dice.chance(0.15) ? request : event.id;
        await zap(world, customer, { id, dueMsat: msatOf(event) }, dice, tally);
      };
      const deeds: [number, () => Promise<unknown>][] = [
        [4, ask],
        [8, pay],
        [1, async () => dice.chance(0.5) && own().length > 0 && withdraw(jobs, customer, lately(), dice, tally)],
        [1, async () => dice.chance(0.3) && withdraw(jobs, customer, dice.pick(jobs.askings), dice, tally)],
        [1, async () => own().length > 0 && hand(customer, lately())],
        [1, async () => jobs.zaps.length > 0 && bring(world, dice.pick(jobs.zaps), tally)],
      ];
      const bag = deeds.flatMap(([weight, deed]) => Array.from({ length: weight }, () => deed));
      while (!signal.aborted) {
        await (own().length === 0 ? ask() : dice.pick(bag)());
        await sleep(dice.between(0, PAUSE_MS));
      }
    }),
  );
}

const WISHES = [
  'plain',
  'plain',
  'plain',
  'plain',
  'plain',
  'nip44',
  'nip04',
  'bid',
  'low bid',
  'short of time',
  'dated back',
  'dated back',
];
/** Beyond what a relay is asked for at each connection: it is found when the relay is read to its end. */
const DATED_BACK_S = [400, 6_000] as const;
const MISTAKES = ['unreadable', 'unfit', 'no bid', 'not for us', 'of no kind of ours'];

async function askForJob(jobs: JobWorld, customer: JobCustomer, dice: Dice, tally: Tally): Promise<Asking> {
  const what = dice.pick(dice.chance(0.15) ? MISTAKES : WISHES);
  const request = requestOf(jobs, customer, what, dice);
  const isForUs = what !== 'not for us' && what !== 'of no kind of ours';
  const asking: Asking = { request, author: customer, isForUs, isTaken: false };
  jobs.askings.push(asking);
  const way = dice.pick(['both relays', 'both relays', 'both relays', 'one relay', 'deleted before'] as const);
  tally.count('ask for a job', what);
  // Relays keep no order: whoever comes later may hear that it is not wanted before hearing what.
  if (way === 'deleted before') await withdraw(jobs, customer, asking, dice, tally);
  await hand(customer, asking, way === 'one relay' ? [dice.pick(customer.lines)] : customer.lines);
  tally.count('a request goes to', asking.isTaken ? way : 'nobody');
  return asking;
}

function requestOf({ kinds, us, relays }: JobWorld, customer: JobCustomer, what: string, dice: Dice): NostrEvent {
  const kind = what === 'of no kind of ours' ? 5_999 : dice.pick(kinds);
  const now = Math.floor(Date.now() / 1000);
  const at = what === 'dated back' ? now - dice.between(...DATED_BACK_S) : now + dice.between(-2, 2);
  const text = [['i', `of the dice ${dice.below(1_000_000)}`, 'text']];
  const more: Record<string, string[][]> = {
    bid: [['bid', '50000']],
    'low bid': [['bid', '1000']],
    'no bid': [['bid', 'cheap']],
    'short of time': [['expiration', String(now + dice.between(2, 20))]],
    unfit: [['param', 'count', 'many']],
  };
  const tags = [
    ...(what === 'not for us' ? [] : [['p', us]]),
    ...(dice.chance(0.5) ? [['param', 'payment', dice.pick(['upfront', 'after'])]] : []),
    ...(dice.chance(0.1) ? [['relays', dice.pick(relays).url]] : []), // by a better way than ours
    ...(more[what] ?? []),
    ['t', dice.uuid()], // without it two requests of one second could be one
  ];
  if (what === 'unreadable') return customer.sign(kind, [...tags, ['encrypted']], 'AgAAAA', at);
  if (what !== 'nip44' && what !== 'nip04') return customer.sign(kind, [...text, ...tags], '', at);
  const hidden = JSON.stringify(text);
  const content =
    what === 'nip44'
      ? encrypt44(hidden, getConversationKey(customer.secret, us))
      : encrypt04(customer.secret, us, hidden);
  return customer.sign(kind, [...tags, ['encrypted']], content, at);
}

const TRIES = 3;
const AGAIN_MS = 300;

/** Sends a request, once more where no relay has taken it. */
export async function hand({ lines }: JobCustomer, asking: Asking, to: Line[] = lines): Promise<boolean> {
  for (let tries = 0; tries < TRIES; tries += 1) {
    const taken = await Promise.all(to.map((line) => line.send(asking.request)));
    if (taken.includes(true)) {
      asking.isTaken = true;
      return true;
    }
    await sleep(AGAIN_MS);
  }
  return false;
}

/** Deletes a request (NIP-09): one's own, or somebody else's, which means nothing. */
async function withdraw(jobs: JobWorld, by: JobCustomer, of: Asking, dice: Dice, tally: Tally): Promise<void> {
  const isOwn = of.author === by;
  const tags = [['e', of.request.id], ['k', String(of.request.kind)], ...(dice.chance(0.7) ? [['p', jobs.us]] : [])];
  const event = by.sign(5, tags, dice.uuid());
  jobs.deletions.push({ event, of, isOwn });
  tally.count('delete a job', isOwn ? 'one’s own' : 'somebody else’s');
  const lines = dice.chance(0.6) ? by.lines : [dice.pick(by.lines)];
  await Promise.all(lines.map((line) => line.send(event)));
}

/** What an event says, and of which job. */
export const aboutOf = (event: NostrEvent): { job: string | undefined; word: string } => ({
  job: event.tags.find(([name]) => name === 'e')?.[1],
  word: wordOf(event),
});
