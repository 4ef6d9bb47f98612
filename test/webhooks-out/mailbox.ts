import { randomUUID } from 'node:crypto';
import postgres from 'postgres';
import { onTestFinished } from 'vitest';
import type { Db } from '../../src/platform/database/clients.ts';
import { type Database, openDatabase } from '../../src/platform/database/clients.ts';
import { appendEvents } from '../../src/platform/delivery/events.ts';
import { fromWire } from '../../src/platform/ids.ts';
import { type Client, eventually, type Json, newCustomer } from '../harness/client.ts';
import { type FareboxOptions, fareboxForFile, type TestFarebox } from '../harness/farebox.ts';
import { type Letter, type Receiver, startReceiver } from './receiver.ts';

/** A Farebox, a receiver that it may call, and a way to make things happen: for the tests of one file. */
export interface Mailbox {
  farebox: TestFarebox;
  receiver: Receiver;
  /** As the application. */
  db: Db;
  /** As the superuser: to look, and to move clocks. */
  root: postgres.Sql;
  /** A new account, and an endpoint of its own at a path of its own that is told all runs. */
  subscriber(more?: Json): Promise<Subscriber>;
  close(): Promise<void>;
}

export interface Subscriber {
  customer: Client;
  endpoint: Json;
  path: string;
  /** Things happen to a run of the account: one event for each number. */
  happen(subject: string, ...numbers: number[]): Promise<void>;
  letters(): Letter[];
  /** The numbers as they arrived, of one subject or of all. */
  heard(subject?: string): number[];
  hears(numbers: number[], subject?: string): Promise<void>;
  deliveries(query?: string): Promise<Json[]>;
  /** Waits until its deliveries are as wished. */
  reaches(isDone: (deliveries: Json[]) => boolean): Promise<Json[]>;
  read(): Promise<Json>;
}

export async function openMailbox(options: FareboxOptions = {}): Promise<Mailbox> {
  const receiver = await startReceiver();
  const farebox = await fareboxForFile({ ...options, env: { WEBHOOK_ALLOW: receiver.target, ...options.env } });
  const database: Database = await openDatabase({ url: farebox.database.appUrl, pool: 4 });
  const root = postgres(farebox.database.superuserUrl, { max: 2, onnotice: () => {} });
  const box = { farebox, receiver, db: database.db, root };
  return {
    ...box,
    subscriber: (more) => subscribe(box, more),
    close: async () => {
      await farebox.stop();
      await Promise.all([receiver.close(), database.close(), root.end()]);
    },
  };
}

export const endpointOf = (customer: Client, url: string, more: Json = {}): Promise<Json> =>
  customer.ok('POST', '/v1/webhook-endpoints', { body: { url, events: ['workflows.*'], ...more } });

async function subscribe(box: Omit<Mailbox, 'subscriber' | 'close'>, more: Json = {}): Promise<Subscriber> {
  const { receiver, db } = box;
  const customer = await newCustomer(box.farebox);
  const path = `/${randomUUID()}`;
  const endpoint = await endpointOf(customer, receiver.url + path, more);
  receiver.expectSecret(path, endpoint.signing_secret);
  const letters = () => receiver.at(path);
  const heard = (subject?: string) =>
    letters()
      .filter(({ body }) => subject === undefined || fromWire('run', body.data.id) === subject)
      .map(({ body }) => body.data.n);
  const self: Subscriber = {
    ...{ customer, endpoint, path, letters, heard },
    happen: (subject, ...numbers) =>
      db.transaction((tx) => appendEvents(tx, happenings(customer.accountId, subject, ...numbers))),
    hears: async (numbers, subject) => {
      await eventually(
        async () => heard(subject),
        (seen) => JSON.stringify(seen) === JSON.stringify(numbers),
      );
    },
    deliveries: async (query = '') =>
      (await customer.ok('GET', `/v1/webhook-endpoints/${endpoint.id}/deliveries?limit=100${query}`)).data,
    reaches: (isDone) => eventually(() => self.deliveries(), isDone),
    read: () => customer.ok('GET', `/v1/webhook-endpoints/${endpoint.id}`),
  };
  onTestFinished(async () => {
    await customer.call('DELETE', `/v1/webhook-endpoints/${endpoint.id}`);
  });
  return self;
}

export const happenings = (accountId: string, subject: string, ...numbers: number[]) =>
  numbers.map((n) => ({
    accountId: fromWire('account', accountId),
    type: 'workflows.run_progressed',
    subjectId: subject,
    payload: { n },
  }));

/** Moves the database's clock for an endpoint: everything that is remembered of it lies so much further back. */
export async function letTimePass(root: postgres.Sql, endpoint: Json, hours: number): Promise<void> {
  const id = fromWire('webhookEndpoint', endpoint.id);
  const ago = (column: string) => `${column} = ${column} - interval '${hours} hours'`;
  await root.unsafe(
    `update platform.webhook_endpoints set ${ago('failing_since')}, ${ago('told_since')} where id = '${id}'`,
  );
  await root.unsafe(
    `update platform.webhook_deliveries set ${ago('next_attempt_at')}, ${ago('first_attempt_at')}
      where endpoint_id = '${id}' and state in ('pending', 'sending')`,
  );
}
