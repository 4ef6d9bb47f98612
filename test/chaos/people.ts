import { setTimeout as sleep } from 'node:timers/promises';
import type { Client, Json, Reply } from '../harness/client.ts';
import { letOneExpire, payAnAsk, readParts, wishedOf } from './asks.ts';
import { chainMethod, payOnChain } from './payers.ts';
import { cardToken, decideSomething, givenBackElsewhere, refundOf } from './refunds.ts';
import { type Dice, diceOf, type Tally } from './tally.ts';
import type { World } from './world.ts';

/** What a customer asked for, under one key; all replies to it are about one thing. */
export interface Wish {
  who: Client;
  path: string;
  key: string;
  body: Json;
  /** Id of what was made, once any reply has told it. */
  made?: string;
  /** The first reply that was final. */
  reply?: Reply;
}

const GIVE_UP_MS = 6_000; // a client that waits longer than any deadline of ours
const PAUSE_MS = 60;

/** Customers who buy, pay, run and cancel by chance, each by their own dice, until the signal. */
export async function live(world: World, seed: number, tally: Tally, signal: AbortSignal): Promise<Wish[]> {
  const wishes: Wish[] = [];
  await Promise.all(
    world.people.map(async ({ who, workflows, purse }, n) => {
      const dice = diceOf(seed, n);
      const own: Wish[] = [];
      const wish = async (path: string, body: Json) => {
        const one: Wish = { who, path, key: dice.uuid(), body };
        own.push(one);
        wishes.push(one);
        for (let tries = dice.between(1, 3); tries > 0 && !signal.aborted; tries -= 1) {
          if (await ask(one, tally)) return one;
        }
        return one;
      };
      const buyOnChain = async () => {
        const { onChain } = world;
        if (!onChain || !purse) return;
        const { made } = await wish('/v1/purchases', { package_id: world.pack.id, method: chainMethod(onChain) });
        const found = made && (await call(who, 'GET', `/v1/purchases/${made}`, tally));
        const requestId = found && found.status === 200 ? found.body.payment_request_id : undefined;
        const knock: Parameters<typeof payOnChain>[3] = (method, path, body) =>
          call(who, method, path, tally, body === undefined ? {} : { body });
        if (requestId) await payOnChain(onChain, purse, requestId, knock, dice, tally);
      };
      const knock = (method: string, path: string, more?: { key?: string; body?: Json }) =>
        call(who, method, path, tally, more);
      const run = (workflow: Json) => {
        const isPlain = workflow.payment.rails.length === 1;
        const terms = isPlain ? {} : wishedOf(workflow, dice);
        return wish(`/v1/workflows/${workflow.id}/runs`, { input: { n: dice.below(100) }, ...terms });
      };
      const readSome = async () => {
        const runs = own.flatMap((one) => (kindOf(one) === 'run' ? (one.made ?? []) : []));
        if (runs.length > 0) await readParts(who, dice.pick(runs), knock, tally);
      };
      const askBack = async () => {
        const made = own.flatMap((one) => (one.path === '/v1/refunds' ? [] : (one.made ?? [])));
        if (made.length > 0) await wish('/v1/refunds', refundOf(dice.pick(made.slice(-12)), dice));
      };
      const deeds: [number, () => Promise<unknown>][] = [
        [9, () => run(dice.pick(workflows))],
        [4, () => payAnAsk(world, knock, dice, tally)],
        [1, async () => dice.chance(0.3) && letOneExpire(world, dice, tally)],
        [1, () => readSome()],
        [3, async () => wish('/v1/purchases', { package_id: world.pack.id, method: await methodOf(world, dice) })],
        [2, askBack],
        [1, () => decideSomething(world, (by, method, path, more) => call(by, method, path, tally, more), dice, tally)],
        [1, buyOnChain],
        [4, async () => somethingIsPaid(world, dice, tally)],
        [1, async () => dice.chance(0.1) && givenBackElsewhere(world, dice, tally)],
        [1, () => cancel(who, dice, own, tally)],
        [1, () => repeat(dice, own, tally)],
        [2, () => readBalance(who, tally)],
      ];
      const bag = deeds.flatMap(([weight, deed]) => Array.from({ length: weight }, () => deed));
      while (!signal.aborted) {
        await dice.pick(bag)();
        await sleep(dice.between(0, PAUSE_MS));
      }
    }),
  );
  return wishes;
}

async function methodOf(world: World, dice: Dice): Promise<Json> {
  const type = dice.pick(['promptpay', 'card', 'card', 'mobile_banking_kbank'] as const);
  if (type !== 'card') return { type };
  const token = await cardToken(world);
  return token === undefined ? { type: 'promptpay' } : { type, token };
}

const kindOf = ({ path }: Wish) => (path === '/v1/purchases' ? 'purchase' : path === '/v1/refunds' ? 'refund' : 'run');
/** A refund may be refused for what has happened meanwhile, a purchase by its card. */
const EXPECTED = { run: [202, 402, 409, 410, 503], purchase: [201, 402, 409, 503], refund: [201, 404, 409, 422, 503] };

/** Sends a wish once; true when the reply is final. */
export async function ask(wish: Wish, tally: Tally): Promise<boolean> {
  const kind = kindOf(wish);
  const reply = await call(wish.who, 'POST', wish.path, tally, { key: wish.key, body: wish.body });
  tally.count(`start a ${kind}`, reply ? String(reply.status) : 'no answer');
  if (!reply) return false;
  if (!EXPECTED[kind].includes(reply.status)) tally.fault(`${wish.path}: ${reply.status} ${reply.text}`);
  const made: string | undefined = reply.status < 300 ? (reply.body.run ?? reply.body).id : reply.body.run_id;
  if (made === undefined || reply.body.code === 'credit_limit_reached')
    return reply.status === 402 || reply.status === 410 || (kind === 'refund' && reply.status !== 503);
  if (wish.made !== undefined && wish.made !== made) tally.fault(`the key ${wish.key} led to ${wish.made} and ${made}`);
  if (reply.status === 402) {
    wish.made = made; // it waits for its payment
    return true;
  }
  const { payment } = kind === 'run' ? reply.body.run : {};
  const isAsItWas = payment?.ask_id === null && payment.mode === 'upfront'; // otherwise it is shown as it is
  if (isAsItWas && wish.reply && wish.reply.text !== reply.text)
    tally.fault(`the key ${wish.key} was answered differently: ${wish.reply.text} and ${reply.text}`);
  wish.made = made;
  wish.reply ??= reply;
  if (kind === 'refund') return true;
  const { qr_url: qr, authorize_uri: uri, payment_request_id: request } = reply.body;
  return kind === 'run' || qr !== null || uri !== null || request !== null;
}

/** Undefined when there was no answer. */
export async function call(
  who: Client,
  method: string,
  path: string,
  tally: Tally,
  options: { key?: string; body?: Json } = {},
): Promise<Reply | undefined> {
  // The connection may be lost; a reply that is an undeclared 5xx must not be.
  const reply = who.call(method, path, options).catch((fault: unknown) => {
    if (!(fault instanceof TypeError)) tally.fault(String(fault).slice(0, 500));
    return undefined;
  });
  return Promise.race([reply, sleep(GIVE_UP_MS, undefined, { ref: false })]);
}

function somethingIsPaid({ omise }: World, dice: Dice, tally: Tally): void {
  const open = omise.charges().filter(({ status }) => status === 'pending');
  if (open.length === 0) return;
  const id = String(dice.pick(open)['id']);
  const deed = dice.pick(['pay', 'pay', 'pay', 'pay', 'pay', 'fail', 'expire'] as const);
  tally.count(`at the provider: ${deed}`, 'done');
  omise[deed](id);
}

async function cancel(who: Client, dice: Dice, own: Wish[], tally: Tally): Promise<void> {
  const made = own.flatMap((wish) => (kindOf(wish) === 'refund' ? [] : (wish.made ?? [])));
  if (made.length === 0) return;
  const id = dice.pick(made.slice(-5));
  const what = id.startsWith('run_') ? 'run' : 'purchase';
  const reply = await call(who, 'POST', `/v1/${what}s/${id}/cancel`, tally);
  tally.count(`cancel a ${what}`, reply ? String(reply.status) : 'no answer');
}

async function repeat(dice: Dice, own: Wish[], tally: Tally): Promise<void> {
  if (own.length > 0) await ask(dice.pick(own), tally);
}

async function readBalance(who: Client, tally: Tally): Promise<void> {
  const reply = await call(who, 'GET', '/v1/credits/balance', tally);
  tally.count('read a balance', reply ? String(reply.status) : 'no answer');
  if (reply?.status === 200 && !(reply.body.available >= 0)) tally.fault(`a balance below zero: ${reply.text}`);
}
