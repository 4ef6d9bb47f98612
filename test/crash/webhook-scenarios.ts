import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import { fromWire } from '../../src/platform/ids.ts';
import type { Client, Json } from '../harness/client.ts';
import { grant } from '../workflows/stage.ts';
import type { Scenario } from './cell.ts';

interface Told {
  customer: Client;
  endpoint: Json;
  path: string;
}

/** What happened is told at the account's endpoint, whoever dies between the event and the record of its call. */
const told: Scenario<Told> = {
  name: 'an event is posted to an endpoint',
  points: [
    'platform.webhooks.before_fan_out_commit',
    'platform.webhooks.after_fan_out',
    'platform.webhooks.before_lease_commit',
    'platform.webhooks.after_lease',
    'platform.webhooks.after_call',
    'platform.webhooks.before_settle_commit',
    'platform.webhooks.after_settle',
  ],
  set: async (stage) => {
    const customer = await stage.customer(0);
    const path = `/${randomUUID()}`;
    const body = { url: stage.receiver.url + path, events: ['credits.*'] };
    const endpoint = await customer.ok('POST', '/v1/webhook-endpoints', { body });
    stage.receiver.expectSecret(path, endpoint.signing_secret);
    await grant(stage.operator, customer, 5);
    return { customer, endpoint, path };
  },
  play: async (cell, { customer, endpoint }) => {
    await cell.until('the event is delivered', async () => {
      const { body } = await customer.get(`/v1/webhook-endpoints/${endpoint.id}/deliveries`);
      return body?.data?.[0]?.state === 'delivered';
    });
  },
  lend: ({ sql }, { endpoint }) => sql`
    update platform.webhook_deliveries set next_attempt_at = now()
    where endpoint_id = ${fromWire('webhookEndpoint', endpoint.id)} and state in ('pending', 'sending')`,
  check: async ({ sql, receiver }, { endpoint, path }) => {
    const rows = await sql`
      select state from platform.webhook_deliveries where endpoint_id = ${fromWire('webhookEndpoint', endpoint.id)}`;
    expect([...rows], 'one delivery').toEqual([{ state: 'delivered' }]);
    const letters = receiver.at(path);
    expect(letters.length).toBeGreaterThan(0);
    expect(new Set(letters.map(({ id }) => id)).size, 'one id').toBe(1);
    expect(letters.every(({ verified }) => verified)).toBe(true);
  },
};

export const webhookScenarios = [told];
