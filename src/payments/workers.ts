import type { Worker } from '../platform/delivery/worker.ts';
import type { Capabilities } from './capability.ts';
import { invoiceSweeper, invoiceWatcher, type WatchDeps } from './lightning/watch.ts';
import type { ConvergeDeps } from './purchases/converge.ts';
import { attemptPoller, purchaseExpirer } from './reconcile/poll.ts';
import { reconciler } from './reconcile/report.ts';
import { eventSweeper } from './reconcile/sweep.ts';
import { type RequestWorkDeps, requestExpirer, transactionChecker } from './requests/check.ts';
import { chainWatcher } from './requests/watch.ts';
import { inboxReaper, inboxWorker } from './webhooks/inbox.ts';

/** Everything that brings payments home without being asked. */
export const paymentsWorkers = (
  deps: ConvergeDeps & RequestWorkDeps & WatchDeps & { capabilities: Capabilities; wakeChecker(): void },
): Worker[] => [
  inboxWorker(deps),
  attemptPoller(deps),
  purchaseExpirer(deps),
  eventSweeper(deps),
  reconciler(deps),
  inboxReaper(deps.db),
  transactionChecker(deps),
  requestExpirer(deps),
  chainWatcher(deps),
  invoiceWatcher(deps),
  invoiceSweeper(deps),
  deps.capabilities.worker,
];
