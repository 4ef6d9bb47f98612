import type { Charge } from './charges/charge.ts';
import { type Clock, createClock } from './clock.ts';
import { createFaultBook, type FaultBook } from './faults/book.ts';
import { seeded } from './faults/random.ts';
import type { Answer } from './http/answers.ts';
import { type AccountSettings, accountSettings } from './objects/account.ts';
import type { Customer } from './objects/customers.ts';
import type { Dispute } from './objects/disputes.ts';
import type { EventRecord } from './objects/events.ts';
import type { Link } from './objects/links.ts';
import type { Source } from './objects/sources.ts';
import type { Token } from './objects/tokens.ts';
import type { Transaction } from './objects/transactions.ts';
import { createTraffic, type Traffic } from './traffic.ts';
import { createPostOffice, type PostOffice } from './webhooks/post-office.ts';

export interface WorldOptions {
  publicKey: string;
  secretKey: string;
  /** Shown to the person who pays. */
  merchant?: string;
  account?: Partial<AccountSettings>;
  webhookUri?: string;
  /** Base64, as the dashboard shows it; two while the secret is being rotated; none = unsigned deliveries. */
  webhookSecrets?: string[];
  webhookTimeoutMs?: number;
  honourIdempotencyKey?: boolean;
  /** Draws of faults with a probability repeat with the seed. */
  seed?: number;
  /** Wall clock, for tests that own time. */
  now?: () => number;
}

/** Everything one stand-in knows; nothing is kept in modules, so several run beside each other in one process. */
export interface World {
  /** Where the API, the vault and the pages are reached; known once it listens. */
  url: string;
  readonly merchant: string;
  readonly keys: { readonly publicKey: string; readonly secretKey: string };
  readonly clock: Clock;
  readonly random: () => number;
  readonly faults: FaultBook;
  readonly traffic: Traffic;
  readonly post: PostOffice;
  /** Aborted when the stand-in closes: ends what waits for time. */
  readonly stopping: AbortController;
  account: AccountSettings;
  webhookSecrets: string[];
  honourIdempotencyKey: boolean;
  readonly firstAnswers: Map<string, Answer>;
  readonly tokens: Map<string, Token>;
  readonly customers: Map<string, Customer>;
  readonly sources: Map<string, Source>;
  readonly charges: Map<string, Charge>;
  /** Charges that may still expire, so that a read need not look at all of them. */
  readonly open: Set<Charge>;
  readonly links: Map<string, Link>;
  readonly disputes: Map<string, Dispute>;
  readonly transactions: Map<string, Transaction>;
  readonly events: Map<string, EventRecord>;
  /** Events of the operation under way, not yet handed to the post office. */
  readonly outbox: EventRecord[];
}

export function createWorld(options: WorldOptions): World {
  const clock = createClock(options.now);
  const random = seeded(options.seed ?? 1);
  return {
    url: '',
    merchant: options.merchant ?? 'Farebox sandbox',
    keys: { publicKey: options.publicKey, secretKey: options.secretKey },
    clock,
    random,
    faults: createFaultBook(clock, random),
    traffic: createTraffic(),
    post: createPostOffice(options.webhookTimeoutMs),
    stopping: new AbortController(),
    account: accountSettings(clock.now(), options.webhookUri ?? null, options.account),
    webhookSecrets: options.webhookSecrets ?? [],
    honourIdempotencyKey: options.honourIdempotencyKey ?? false,
    firstAnswers: new Map(),
    ...emptyShelves(),
  };
}

function emptyShelves() {
  return {
    tokens: new Map<string, Token>(),
    customers: new Map<string, Customer>(),
    sources: new Map<string, Source>(),
    charges: new Map<string, Charge>(),
    open: new Set<Charge>(),
    links: new Map<string, Link>(),
    disputes: new Map<string, Dispute>(),
    transactions: new Map<string, Transaction>(),
    events: new Map<string, EventRecord>(),
    outbox: [] as EventRecord[],
  };
}
