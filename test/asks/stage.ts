import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import { settle } from '../../src/payments/index.ts';
import { type Database, openDatabase } from '../../src/platform/database/clients.ts';
import { subscriptionWorker } from '../../src/platform/delivery/subscriptions.ts';
import { fromWire } from '../../src/platform/ids.ts';
import { createLog } from '../../src/platform/log.ts';
import { createMetrics } from '../../src/platform/metrics.ts';
import { askExpirer, onSettled } from '../../src/workflows/index.ts';
import { type Client, eventually, type Json, type Reply } from '../harness/client.ts';
import type { FareboxOptions } from '../harness/farebox.ts';
import { available, openStage, runOf, type Stage, startRun, workflowOf } from '../workflows/stage.ts';

/** A Farebox whose customers are asked to pay, and a rail that brings money as the tests wish. */
export interface AskStage extends Stage {
  db: Database['db'];
  /** A customer with so many credits, and a workflow of a service with this policy. */
  party(payment: Json, terms?: Json & { path?: string; credits?: number }): Promise<Party>;
  /** Money comes for an ask, by some rail; false: it had come before. Nobody has heard of it yet. */
  bring(who: Client, ask: Json, credits: number, key?: string): Promise<boolean>;
  /** Whoever listens hears of money that came, and asks that are over end. */
  tick(): Promise<void>;
  /** Only the latter. */
  expire(): Promise<unknown>;
  /** So much time passes for an ask. */
  age(ask: Json, seconds: number): Promise<unknown>;
  ask(who: Client, id: string): Promise<Json>;
}

export interface Party {
  who: Client;
  service: Json;
  workflow: Json;
  start(body?: Json, key?: string): Promise<Reply>;
}

export async function openAskStage(options: FareboxOptions = {}): Promise<AskStage> {
  const stage = await openStage(options);
  const database = await openDatabase({ url: stage.farebox.database.appUrl, pool: 4 });
  const { db } = database;
  const nobody = { wake: () => {} };
  const log = createLog('silent');
  const expirer = askExpirer({ db, feed: nobody as never, metrics: createMetrics(), wakeDispatcher: () => {} });
  const hearer = subscriptionWorker(
    { db, alarm: () => {}, log },
    { 'payments.settled': { 'workflows.asks': onSettled } },
  );
  const { signal } = new AbortController();
  const expire = () => expirer.runOnce(signal);
  const tick = async () => {
    await hearer.runOnce(signal);
    await expire();
  };
  return {
    ...stage,
    ...{ db, tick, expire },
    party: async (payment, { path = '/echo', credits = 0, ...terms } = {}) => {
      const who = await stage.customer(credits);
      const service = await stage.offer(path, { credit_cost: 30, ...terms, payment });
      const workflow = await workflowOf(who, service);
      const start = (body: Json = {}, key?: string) => startRun(who, workflow, body, key === undefined ? {} : { key });
      return { who, service, workflow, start };
    },
    bring: async (who, ask, credits, key = randomUUID()) => {
      const money = { rail: 'test', key, accountId: fromWire('account', who.accountId), credits: BigInt(credits) };
      const purpose = { type: 'ask', id: fromWire('ask', ask.id) };
      return (await db.transaction((tx) => settle(tx, { ...money, purpose }))) !== undefined;
    },
    age: (ask, seconds) =>
      stage.root`update workflows.asks set expires_at = expires_at - make_interval(secs => ${seconds})
        where id = ${fromWire('ask', ask.id)}`,
    ask: (who, id) => who.ok('GET', `/v1/asks/${id}`),
    close: async () => {
      await database.close();
      await stage.close();
    },
  };
}

/** The ask that a 402 leads to. */
export const askOf = (reply: Reply): Json => ({ id: reply.body.ask_id, run_id: reply.body.run_id });

export const pay = (who: Client, ask: Json, body: Json = { rail: 'credits' }, key?: string): Promise<Reply> =>
  who.post(`/v1/asks/${ask.id}/pay`, body, key === undefined ? {} : { key });

/** The ask, once it is so. */
export const becomes = (stage: AskStage, { who }: Party, { id }: Json, state: string): Promise<Json> =>
  eventually(
    () => stage.ask(who, id),
    (now) => now.state === state,
  );

/** A run that was delivered and is to be paid. */
export async function owed(stage: AskStage, payment: Json): Promise<{ party: Party; ask: Json }> {
  const party = await stage.party({ mode: 'after', ...payment });
  const { run } = (await party.start()).body;
  const delivered = await eventually(
    () => runOf(party.who, run),
    (now) => now.payment.due > 0,
  );
  return { party, ask: { id: delivered.payment.ask_id } };
}

/** Thirty credits came by a rail when nobody wanted them any more: they are the payer's. */
export async function expectSurplus(stage: AskStage, { who }: Party, { id }: Json, rail: string): Promise<void> {
  const now = await eventually(
    () => stage.ask(who, id),
    ({ surplus }) => surplus === 30,
  );
  expect(now.settlements.at(-1)).toMatchObject({ rail, credits: 30, taken: 0, released: 30 });
  expect(await available(who)).toBe(30);
}

/** What has moved for the asks of a run, in order. */
export const movesOf = async ({ root }: Pick<AskStage, 'root'>, run: Json): Promise<string[]> =>
  (
    await root`select t.kind || ' ' || t.amount as move from credits.transfers t
      join workflows.settlements s on s.account_id = t.account_id and s.id = t.ref_id and t.ref_type = 'settlement'
      join workflows.asks a on a.id = s.ask_id
      where a.run_id = ${fromWire('run', run.id)} order by t.seq`
  ).map((row) => String(row['move']));
