import { allChecks } from './audit.ts';
import { balanceReader, creditsOperatorRoutes, creditsRoutes } from './credits/index.ts';
import { allEvents } from './events.ts';
import {
  acceptTokens,
  challengeReaper,
  createAuthenticator,
  createTokens,
  findAccount,
  type IdentityDeps,
  identityOperatorRoutes,
  identityPages,
  identityRoutes,
  openKeyRing,
  openServiceDid,
  operatorDoor,
  operatorSessionReaper,
  sessionReaper,
} from './identity/index.ts';
import { allFigures, allPanels } from './ops.ts';
import {
  checkoutRoutes,
  evmRail,
  hurryInvoice,
  invoicePages,
  lightningRail,
  omiseRail,
  orderRoutes,
  type PaymentsDeps,
  paymentsOperatorRoutes,
  paymentsRoutes,
  paymentsWorkers,
  receiptRoutes,
  requestPages,
  requestRoutes,
  watchCapabilities,
  webhookRoutes,
  zapRules,
} from './payments/index.ts';
import { watchHalt } from './platform/audit/halt.ts';
import { auditRoutes } from './platform/audit/routes.ts';
import { createSelfAudit } from './platform/audit/self-audit.ts';
import { auditSealer, createAlarm } from './platform/audit-log.ts';
import { databaseOptions } from './platform/commands.ts';
import type { Config } from './platform/config.ts';
import type { Database } from './platform/database/clients.ts';
import { eventRoutes } from './platform/delivery/event-routes.ts';
import { createFeed } from './platform/delivery/feed.ts';
import { type Subscriptions, subscribe, subscriptionWorker } from './platform/delivery/subscriptions.ts';
import { type Crew, createCrew, type Worker } from './platform/delivery/worker.ts';
import { createEgress } from './platform/egress.ts';
import { keyReaper } from './platform/http/idempotency.ts';
import { createCursors } from './platform/http/lists.ts';
import { describeApi, docsRoutes } from './platform/http/openapi.ts';
import { type App, createServer } from './platform/http/server.ts';
import type { Log } from './platform/log.ts';
import { createMetrics } from './platform/metrics.ts';
import { operationsRoutes } from './platform/operations.ts';
import { opsPages } from './platform/ops/routes.ts';
import { createVault } from './platform/secrets.ts';
import { type WebhooksDeps, webhooksRoutes } from './platform/webhooks/routes.ts';
import { webhooksWorkers } from './platform/webhooks/workers.ts';
import {
  limitsOf,
  onChargeTakenBack,
  onSurplus,
  type RefundsDeps,
  refundsOperatorRoutes,
  refundsRoutes,
  refundsWorkers,
} from './refunds/index.ts';
import {
  askExpirer,
  createInvoicing,
  createRunCommitter,
  dispatcher,
  dvmRoutes,
  executorRoutes,
  onSettled,
  openDvm,
  quoteRun,
  rememberDefinitions,
  runExpirer,
  type WorkflowsDeps,
  workflowsOperatorRoutes,
  workflowsRoutes,
} from './workflows/index.ts';

/** The whole of Farebox, not yet listening: two servers and the background work. */
export interface Farebox {
  /** For customers. */
  front: App;
  /** For operators and machines of the house. */
  internal: App;
  workers: Worker[];
  crew: Crew;
  /** Ends what streams and what calls out. */
  close(): Promise<void>;
}

/** What contexts hear of each other, upwards: by type of event, then by the name of whoever hears it. */
const subscriptionsOf = (refunds: RefundsDeps): Subscriptions => ({
  'payments.charge_taken_back': { 'refunds.sightings': onChargeTakenBack },
  'payments.settled': { 'workflows.asks': onSettled },
  'workflows.surplus_unwanted': { 'refunds.surplus': onSurplus(refunds.limits) },
});

/** Where the process is on its way out: `draining` still answers, `closing` sends new requests elsewhere. */
export interface Lifecycle {
  phase: 'serving' | 'draining' | 'closing';
}

/** The composition root: the only place that knows all contexts. */
export async function buildApp(config: Config, database: Database, log: Log, lifecycle: Lifecycle): Promise<Farebox> {
  const { db, sql } = database;
  const publicUrl = config.PUBLIC_URL;
  const vault = createVault(config.ENCRYPTION_KEYS);
  const metrics = createMetrics();
  const crew = createCrew({ log, metrics });
  const alarm = createAlarm(db, log, metrics);
  const cursors = createCursors(vault.derive('cursors'));
  const feed = createFeed(sql, { log, metrics });
  const egress = createEgress(config.EGRESS_ALLOW);
  const halt = await watchHalt(db, metrics, config.AUDIT_HALT);
  const selfAudit = createSelfAudit({
    ...{ db, log, metrics, alarm, halt, mayHalt: config.AUDIT_HALT, everyMin: config.AUDIT_EVERY_MIN },
    connection: databaseOptions(config),
    checks: allChecks.filter(({ id }) => !config.AUDIT_EXCEPT.includes(id)),
  });

  const keys = await openKeyRing(db, vault);
  const tokens = createTokens(keys, publicUrl);
  const serviceDid = await openServiceDid(db, vault, publicUrl);
  const authenticator = createAuthenticator(db);
  const sessions = { tokens, accessTtlS: config.ACCESS_TOKEN_TTL_S, refreshTtlS: config.REFRESH_TOKEN_TTL_S };
  const loginsPerMinute = Math.ceil(config.RATE_AUTH_PER_MIN / 3);
  const identity: IdentityDeps = {
    db,
    vault,
    cursors,
    keys,
    serviceDid,
    authenticator,
    alarm,
    sessions,
    loginsPerMinute,
    publicUrl,
  };

  const rail = omiseRail(config, { log, metrics });
  const { livemode, CURRENCY: currency } = config;
  const webhookUrl = `${publicUrl}/v1/webhooks/omise`;
  const capabilities = watchCapabilities(rail, { livemode, currency, apiVersion: '2019-05-29', webhookUrl }, log);
  await capabilities.refresh();
  const evm = evmRail(config, { log, metrics });
  void evm.confirm();
  const onReceived = (paymentHash: string) =>
    void hurryInvoice(db, paymentHash).then(
      () => crew.wake('invoice-watch'),
      () => {}, // it is looked at in its time
    );
  const lightning = lightningRail(config, { log, metrics, onReceived });
  const payments: PaymentsDeps = {
    ...{ db, vault, cursors, rail, evm, lightning, capabilities, metrics, alarm, log, publicUrl, livemode, currency },
    priceRun: (accountId, workflowId, wished) => quoteRun(db, accountId, workflowId, wished),
    providerFees: { ranges: config.OMISE_FEES, tax: config.OMISE_FEE_TAX },
    deadlineMs: config.OMISE_DEADLINE_MS,
    maxPending: config.MAX_PENDING_PURCHASES,
    evaluationsPerMinute: Math.ceil(config.RATE_READ_PER_MIN / 50), // each weighs as much as so many reads
    returnOrigins: [new URL(publicUrl).origin, ...config.RETURN_ORIGINS],
    wakePoller: () => crew.wake('attempt-poll'),
  };

  const balanceOf = balanceReader(sql);
  const definitions = rememberDefinitions(db);
  const commits = createRunCommitter(sql, { pool: config.DATABASE_POOL, metrics, log });
  const wakeDispatcher = () => crew.wake('dispatch');
  const asks = { ...payments, currency, balanceOf };
  const hasWallet = lightning !== null;
  const workflows: WorkflowsDeps = {
    ...{ db, commits, vault, cursors, definitions, feed, metrics, asks, hasWallet, wakeDispatcher },
  };

  const refunds: RefundsDeps = {
    ...{ db, vault, cursors, rail, evm, alarm, log, publicUrl, deadlineMs: config.OMISE_DEADLINE_MS },
    limits: limitsOf(config),
  };
  const subscriptions = subscriptionsOf(refunds);
  await subscribe(db, subscriptions);

  // Jobs over Nostr, where there are relays; REST does the same without.
  const dvm =
    config.NOSTR_RELAYS.length > 0 && config.NOSTR_SECRET_KEY
      ? openDvm(
          {
            ...{ db, commits, definitions, metrics, log, key: config.NOSTR_SECRET_KEY, rules: zapRules(config) },
            ...{ maxZapMsat: config.ZAP_MAX_MSAT, hasWallet, wakeDispatcher },
            invoicing: createInvoicing(asks),
            wakeJobs: () => crew.wake('nostr-jobs'),
            wakePublisher: () => crew.wake('nostr-publisher'),
          },
          { urls: config.NOSTR_RELAYS, allow: config.NOSTR_ALLOW },
        )
      : undefined;

  const webhooks: WebhooksDeps = {
    ...{ db, vault, cursors, log, metrics, types: allEvents },
    egress: createEgress(config.WEBHOOK_ALLOW),
    wakeSender: () => crew.wake('webhook-sender'),
  };

  const server = async (title: string) => {
    const app = await createServer({
      ...{ log, metrics, publicUrl, authenticate: authenticator.authenticate },
      trustProxy: config.TRUST_PROXY,
      limits: {
        auth: config.RATE_AUTH_PER_MIN,
        money: config.RATE_MONEY_PER_MIN,
        read: config.RATE_READ_PER_MIN,
        webhook: config.RATE_WEBHOOK_PER_MIN,
      },
      isClosing: () => lifecycle.phase === 'closing',
      isHalted: () => halt.isOn,
    });
    await describeApi(app, { title, publicUrl });
    await acceptTokens(app as never, keys, publicUrl);
    return app;
  };

  const front = await server('Farebox');
  identityRoutes(front, identity);
  await identityPages(front, identity);
  creditsRoutes(front, { db, balanceOf, cursors });
  paymentsRoutes(front, payments);
  receiptRoutes(front, {
    ...{ db, zapRules: zapRules(config) },
    verificationsPerMinute: Math.ceil(config.RATE_READ_PER_MIN / 50), // each weighs as much as so many reads
  });
  const wakeChecker = () => crew.wake('request-transactions');
  const requests = { ...payments, serviceDid, wakeChecker };
  requestRoutes(front, requests);
  await requestPages(front, { ...requests, feed });
  orderRoutes(front, { ...requests, feed, authenticator, currency });
  await checkoutRoutes(front, { ...payments, feed });
  await invoicePages(front, { db, feed });
  await webhookRoutes(front, {
    db,
    alarm,
    livemode,
    secrets: config.OMISE_WEBHOOK_SECRETS,
    wakeInbox: () => crew.wake('webhook-inbox'),
  });
  workflowsRoutes(front, workflows);
  dvmRoutes(front, {
    ...{ db, metrics, rules: zapRules(config), maxZapMsat: config.ZAP_MAX_MSAT, publicUrl },
    claimsPerMinute: Math.ceil(config.RATE_READ_PER_MIN / 50),
  });
  refundsRoutes(front, refunds);
  webhooksRoutes(front, webhooks);
  eventRoutes(front, { sql, cursors, feed, types: allEvents });
  executorRoutes(front, { db, feed, metrics, alarm, verifyCallback: tokens.verifyCallback });
  await docsRoutes(front, 'Farebox API');

  const internal = await server('Farebox, internal');
  const accountExists: Parameters<typeof creditsOperatorRoutes>[1]['accountExists'] = async (tx, id) =>
    (await findAccount(tx, id)) !== undefined;
  identityOperatorRoutes(internal, identity);
  creditsOperatorRoutes(internal, { db, balanceOf, vault, cursors, accountExists });
  paymentsOperatorRoutes(internal, payments);
  workflowsOperatorRoutes(internal, { ...workflows, egress });
  refundsOperatorRoutes(internal, refunds);
  const contexts = { payments: { ...payments, currency }, refunds, webhooks };
  const door = operatorDoor(db, alarm);
  const panels = allPanels(contexts);
  await opsPages(internal, { db, vault, door, panels, figures: allFigures(contexts), loginsPerMinute });
  auditRoutes(internal, { db, vault, halt, selfAudit });
  operationsRoutes(internal, { database, metrics, isDraining: () => lifecycle.phase !== 'serving' });
  await docsRoutes(internal, 'Farebox internal API');

  const workers = [
    ...[keys.worker, sessionReaper(db), operatorSessionReaper(db), challengeReaper(db), keyReaper(db)],
    ...[auditSealer(db, log), selfAudit.worker],
    ...paymentsWorkers({ ...payments, wakeChecker }),
    ...[dispatcher({ ...workflows, egress, log, publicUrl, signCallback: tokens.signCallback }), runExpirer(workflows)],
    ...[askExpirer(workflows), ...(dvm?.workers ?? [])],
    ...refundsWorkers(refunds),
    subscriptionWorker({ db, alarm, log }, subscriptions),
    ...webhooksWorkers(webhooks),
  ];
  const close = async () => {
    halt.stop();
    feed.stop();
    await selfAudit.stop();
    dvm?.close();
    rail.close();
    lightning?.close();
    await Promise.all([evm.close(), egress.close(), webhooks.egress.close()]);
  };
  return { front, internal, workers, crew, close };
}
