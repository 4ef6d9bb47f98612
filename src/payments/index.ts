export { watchCapabilities } from './capability.ts';
export { paymentsCommands } from './commands.ts';
export { paymentsOperatorRoutes } from './operator-routes.ts';
export { payWith } from './packages.ts';
export { checkoutRoutes } from './pages/routes.ts';
export { omiseRail } from './rails/configured.ts';
export { type PaymentsDeps, paymentsRoutes } from './routes.ts';
export { webhookRoutes } from './webhook-routes.ts';
export { paymentsWorkers } from './workers.ts';
