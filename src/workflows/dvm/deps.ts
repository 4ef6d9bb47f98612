import type { ReceiptRules } from '../../payments/index.ts';
import type { Db } from '../../platform/database/clients.ts';
import type { Log } from '../../platform/log.ts';
import type { Metrics } from '../../platform/metrics.ts';
import type { Definitions } from '../definitions.ts';
import type { RunCommitter } from '../start-run.ts';
import type { Invoicing } from './invoices.ts';

/** What the jobs of Nostr are done with. */
export interface DvmDeps {
  db: Db;
  commits: RunCommitter;
  definitions: Definitions;
  metrics: Metrics;
  log: Log;
  /** Signs all that is said, and is what customers address. */
  key: Uint8Array;
  rules: ReceiptRules;
  /** A receipt is what a provider says: so much is believed of one, in millisatoshi. */
  maxZapMsat: bigint;
  /** Of our own wallet. */
  invoicing: Invoicing;
  hasWallet: boolean;
  wakeDispatcher(): void;
  wakeJobs(): void;
  wakePublisher(): void;
}
