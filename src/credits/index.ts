export { creditsChecks, ledgerAccounts, transfers } from './audit.ts';
export { creditsEvents } from './events.ts';
export { type Balances, balanceReader, type Outcome, post, returnSpend, spendOf } from './ledger.ts';
export { creditsOperatorRoutes } from './operator-routes.ts';
export { BalanceOut, creditsRoutes, renderBalance } from './routes.ts';
