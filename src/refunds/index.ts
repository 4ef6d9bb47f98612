export { refundsChecks } from './audit.ts';
export { refundsEvents } from './events.ts';
export { limitsOf } from './limits.ts';
export { refundsOperatorRoutes } from './operator-routes.ts';
export { refundsFigures, refundsPanels } from './ops.ts';
export { type RefundsDeps, refundsRoutes } from './routes.ts';
export { onChargeTakenBack } from './sightings.ts';
export { onSurplus } from './surplus.ts';
export { refundsWorkers } from './workers.ts';
