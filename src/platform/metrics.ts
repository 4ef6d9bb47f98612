import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

/** What `/metrics` shows. One registry per process start, so that tests do not share it. */
export function createMetrics() {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry, prefix: 'farebox_' });
  /** When the last audit was finished. */
  const audited: { at?: Date } = {};
  /** When the wallet has last told what became of an invoice. */
  const walletTold: { at?: Date } = {};
  return {
    registry,
    requests: new Histogram({
      name: 'farebox_http_request_seconds',
      help: 'Time to answer, by route and status class',
      labelNames: ['method', 'route', 'status'],
      buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10],
      registers,
    }),
    securityEvents: new Counter({
      name: 'farebox_security_events_total',
      help: 'Refused signatures, tokens and the like',
      labelNames: ['event'],
      registers,
    }),
    providerCalls: new Counter({
      name: 'farebox_provider_calls_total',
      help: 'Calls to the payment provider, by outcome',
      labelNames: ['operation', 'outcome'],
      registers,
    }),
    purchases: new Counter({
      name: 'farebox_purchases_total',
      help: 'Purchases that reached a state',
      labelNames: ['state'],
      registers,
    }),
    runs: new Counter({
      name: 'farebox_runs_total',
      help: 'Runs that reached a state',
      labelNames: ['state'],
      registers,
    }),
    commitSize: new Histogram({
      name: 'farebox_commit_size',
      help: 'Starts of runs that shared a commit',
      buckets: [1, 2, 4, 8, 16, 32, 64],
      registers,
    }),
    dispatches: new Counter({
      name: 'farebox_dispatches_total',
      help: 'Calls to executors, by outcome',
      labelNames: ['outcome'],
      registers,
    }),
    webhookDeliveries: new Counter({
      name: 'farebox_webhook_deliveries_total',
      help: 'Calls of webhook endpoints, by outcome',
      labelNames: ['outcome'],
      registers,
    }),
    webhookOldestAge: new Gauge({
      name: 'farebox_webhook_oldest_age_seconds',
      help: 'Age of the oldest delivery that an enabled endpoint has not taken yet',
      registers,
    }),
    nostrEvents: new Counter({
      name: 'farebox_nostr_events_total',
      help: 'Events of Nostr that were heard or published, by what became of them',
      labelNames: ['what'],
      registers,
    }),
    workerFaults: new Counter({
      name: 'farebox_worker_faults_total',
      help: 'Rounds of a background worker that failed',
      labelNames: ['worker'],
      registers,
    }),
    streams: new Gauge({ name: 'farebox_event_streams', help: 'Open event streams', registers }),
    eventHorizonAge: new Gauge({
      name: 'farebox_event_horizon_age_seconds',
      help: 'How long the oldest writing transaction has been holding events back',
      registers,
    }),
    walletTold,
    walletAge: new Gauge({
      name: 'farebox_lightning_wallet_age_seconds',
      help: 'Time since the Lightning wallet has last told of an invoice',
      registers,
      collect() {
        if (walletTold.at) this.set((Date.now() - walletTold.at.getTime()) / 1000);
        else this.remove();
      },
    }),
    audited,
    auditOffending: new Gauge({
      name: 'farebox_audit_offending',
      help: 'What breaks an invariant, as the last audit found it',
      labelNames: ['invariant'],
      registers,
    }),
    auditAge: new Gauge({
      name: 'farebox_audit_age_seconds',
      help: 'Time since the last audit was finished',
      registers,
      collect() {
        if (audited.at) this.set((Date.now() - audited.at.getTime()) / 1000);
        else this.remove();
      },
    }),
    auditHalted: new Gauge({
      name: 'farebox_audit_halted',
      help: '1 while new purchases and runs are refused because of the audit',
      registers,
    }),
    differences: new Gauge({
      name: 'farebox_reconciliation_differences',
      help: 'Open differences between the provider and the ledger',
      registers,
    }),
  };
}
export type Metrics = ReturnType<typeof createMetrics>;
