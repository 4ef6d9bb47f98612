import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decide } from '../../src/payments/purchases/decide.ts';
import { readCharge } from '../../src/payments/rails/omise-objects.ts';
import type { Rail } from '../../src/payments/rails/rail.ts';
import { OmiseEvent } from '../../src/payments/webhooks/inbox.ts';
import type { Json } from '../harness/client.ts';
import { type CannedProvider, railTo, startCannedProvider } from './canned-provider.ts';

const FOLDER = 'test/payments/fixtures';
const text = (file: string) => readFileSync(`${FOLDER}/${file}`, 'utf8');
const json = (file: string): Json => JSON.parse(text(file));

let provider: CannedProvider;
let rail: Rail;
/** What is answered, by the path that is asked for: the tests run beside each other. */
const answers = new Map<string, { status?: number; type?: string; file: string }>();

beforeAll(async () => {
  provider = await startCannedProvider();
  provider.says = (response, { path }) => {
    const { status = 200, type = 'application/json', file } = answers.get(path) ?? { file: 'error-404-not-found.json' };
    response.writeHead(status, { 'content-type': type }).end(text(file));
  };
  rail = railTo(provider.url);
});
afterAll(async () => {
  rail.close();
  await provider.close();
});

/** What a purchase of exactly that amount would make of a charge that is answered when it is read back. */
async function readBack(file: string): Promise<string> {
  answers.set(`/charges/${json(file).id}`, { file });
  const outcome = await rail.check(json(file).id);
  return outcome.outcome === 'ok' ? meaning(outcome.value) : `${outcome.outcome}: ${reasonOf(outcome)}`;
}

function meaning(charge: Parameters<typeof decide>[0]): string {
  const decision = decide(charge, { price: charge.amount, currency: charge.currency, livemode: false });
  if (decision.verdict === 'ended') return `ended: ${decision.code}`;
  return decision.verdict === 'review' ? `review: ${decision.reason}` : decision.verdict;
}

const reasonOf = (outcome: Json) => outcome.reason ?? outcome.code;

let made = 0;

/** Something else where a charge is expected. */
async function insteadOfACharge(file: string, status = 200, type = 'application/json'): Promise<string> {
  made += 1;
  const id = `chrg_test_5insteadofone${made}`;
  answers.set(`/charges/${id}`, { file, status, type });
  const outcome = await rail.check(id);
  return `${outcome.outcome}: ${reasonOf(outcome)}`;
}

/** A list that is read from a moment of its own. */
async function listed(file: string, read: (since: Date) => Promise<Json>, path: string): Promise<Json> {
  made += 1;
  const since = new Date(made * 1000);
  const query = new URLSearchParams({ from: since.toISOString(), order: 'chronological', limit: '100', offset: '0' });
  answers.set(`${path}?${query}`, { file });
  const answer = await read(since);
  return answer.outcome === 'ok' ? answer.value : answer;
}

const charges = (file: string) => listed(file, (since) => rail.list(since, 0), '/charges');
const changes = (file: string) => listed(file, (since) => rail.changedSince(since, 0), '/events');

async function capability(): Promise<Json> {
  answers.set('/account', { file: 'account-thailand-test.json' });
  answers.set('/capability', { file: 'capability-thailand.json' });
  return rail.capability();
}

const NOT_A_CHARGE = 'unknown: unreadable_reply';

/** Every fixture, what is done with it, and what must come of it. */
const stated: Record<string, () => unknown> = {
  'charge-pending-authorized-uncaptured.json': async () =>
    expect(await readBack('charge-pending-authorized-uncaptured.json')).toBe('pending'),
  'charge-successful-after-capture.json': async () =>
    expect(await readBack('charge-successful-after-capture.json')).toBe('review: partial_capture'),
  'charge-reversed.json': async () => expect(await readBack('charge-reversed.json')).toBe('ended: payment_reversed'),
  'charge-expired-redirect-source.json': async () =>
    expect(await readBack('charge-expired-redirect-source.json')).toBe('ended: payment_expired'),
  'charge-pending-3ds-missing-fields.json': async () =>
    expect(await readBack('charge-pending-3ds-missing-fields.json')).toBe('pending'),
  'charge-pending-offline-qr-paynow-legacy.json': async () => {
    const file = 'charge-pending-offline-qr-paynow-legacy.json';
    expect(await readBack(file)).toBe('pending');
    const outcome: Json = await rail.check(json(file).id);
    expect(outcome.value).toMatchObject({ currency: 'SGD', authorizeUri: null });
    expect(outcome.value.qrUri).toMatch(/^https:\/\/api\.omise\.co\/charges\/.*\/documents\/.*\/downloads\//);
  },
  'charge-pending-offline-bill-payment-legacy.json': async () =>
    expect(await readBack('charge-pending-offline-bill-payment-legacy.json')).toBe('pending'),
  'charge-successful-partial-capture-legacy.json': async () =>
    expect(await readBack('charge-successful-partial-capture-legacy.json')).toBe('review: partial_capture'),
  'charge-legacy-without-status.json': async () =>
    expect(await readBack('charge-legacy-without-status.json')).toBe(NOT_A_CHARGE),

  'charges-list-mixed-states.json': async () => {
    const page = await charges('charges-list-mixed-states.json');
    const meanings: string[] = page.charges.map(meaning);
    expect(page.charges).toHaveLength(20);
    expect(page).toMatchObject({ hasMore: true, unreadable: [] });
    expect(meanings.filter((one) => one === 'credit')).toHaveLength(14);
    expect(meanings.filter((one) => one === 'ended: payment_expired')).toHaveLength(4);
    // Both failed ones also carry `expired: true`.
    expect(meanings[15]).toBe('ended: insufficient_fund');
    expect(meanings[17]).toBe('ended: failed_fraud_check');
    // What another shop wrote into its metadata is not an attempt of ours.
    expect(page.charges.every((charge: Json) => charge.attemptId === null)).toBe(true);
  },
  'search-charges-page1.json': async () => {
    expect(json('search-charges-page1.json').data).toHaveLength(12);
    expect(await charges('search-charges-page1.json'), 'a search is not a list').toMatchObject({ outcome: 'unknown' });
    const found = json('search-charges-page1.json').data.map((charge: Json) => readCharge(charge));
    expect(found.map(meaning).slice(0, 4)).toEqual([
      'review: disputed', // pending
      'review: disputed', // lost
      'review: partial_capture',
      'credit',
    ]);
  },

  'event-charge-create-with-failed-delivery.json': async () => {
    const event = json('event-charge-create-with-failed-delivery.json');
    expect(OmiseEvent.parse(event)).toMatchObject({ key: 'charge.create', data: { status: 'successful' } });
    expect(await insteadOfACharge('event-charge-create-with-failed-delivery.json')).toBe(NOT_A_CHARGE);
  },
  'events-list-one.json': async () =>
    expect(await changes('events-list-one.json')).toEqual({
      changes: [{ eventId: expect.stringMatching(/^evnt_test_/), chargeId: 'chrg_test_no1t4tnemucod0e51mo' }],
      hasMore: false,
    }),
  'events-list-legacy-many-keys.json': async () => {
    const page = await changes('events-list-legacy-many-keys.json');
    expect(page.changes).toHaveLength(20);
    expect(page.hasMore).toBe(true);
    const events: Json[] = json('events-list-legacy-many-keys.json').data;
    const about = events.map((event) => (event.key.startsWith('charge.') ? event.data.id : null));
    expect(page.changes.map(({ chargeId }: Json) => chargeId)).toEqual(about);
    for (const event of events) expect(OmiseEvent.safeParse(event).success, event.key).toBe(true);
  },

  'account-thailand-test.json': async () => {
    const { api_version: apiVersion } = json('account-thailand-test.json');
    expect((await capability()).value).toMatchObject({ livemode: false, currency: 'THB', apiVersion });
  },
  'capability-thailand.json': async () => {
    const { value } = await capability();
    expect(value).toMatchObject({ minAmount: 2_000n, maxAmount: 500_000_000_000n });
    expect([...value.methods]).toEqual(expect.arrayContaining(['card', 'promptpay']));
  },

  'error-401-authentication-failure.json': async () =>
    expect(await insteadOfACharge('error-401-authentication-failure.json', 401)).toBe('unavailable: unauthorized'),
  'error-404-not-found.json': async () =>
    expect(await insteadOfACharge('error-404-not-found.json', 404)).toBe('rejected: not_found'),
  'not-json-body.txt': async () => {
    expect(await insteadOfACharge('not-json-body.txt')).toBe('unknown: http_200');
    expect(await insteadOfACharge('not-json-body.txt', 502, 'text/html')).toBe('unknown: http_502');
  },
  // No money is read from these, and none may be.
  ...Object.fromEntries(
    [
      'refund-partial-created.json',
      'refund-retrieved.json',
      'refunds-list-legacy.json',
      'dispute-created-on-charge.json',
      'dispute-open.json',
      'source-redirect-created.json',
      'source-redirect-after-expiry.json',
      'source-promptpay-created.json',
      'source-truemoney-created.json',
      'source-mobile-banking-scb-created.json',
      'token-created.json',
      'token-with-empty-card.json',
      'link-created-unused.json',
      'links-list.json',
      'link-deleted.json',
      'transaction.json',
    ].map((file) => [file, async () => expect(await insteadOfACharge(file)).toBe(NOT_A_CHARGE)]),
  ),
};

describe('recorded replies', () => {
  // REQ E3.1
  test.concurrent.each(Object.entries(stated))('%s', async (_file, check) => {
    await check();
  });

  test('every fixture has a stated outcome', () => {
    const files = readdirSync(FOLDER).filter((name) => name !== 'README.md');
    expect(files.sort()).toEqual(Object.keys(stated).sort());
  });
});
