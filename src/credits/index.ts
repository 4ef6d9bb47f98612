export { creditsChecks, ledgerAccounts, transfers } from './audit.ts';
export { creditsEvents } from './events.ts';
export {
  availableOf,
  type Balances,
  balanceReader,
  balancesOf,
  capture,
  hold,
  link,
  type Outcome,
  post,
  release,
  releaseRefund,
  reserveRefund,
  returnSpend,
  spendOf,
  takeRefund,
  transferOf,
} from './ledger.ts';
export { creditsOperatorRoutes } from './operator-routes.ts';
export { creditsFigures } from './ops.ts';
export { BalanceOut, creditsRoutes, renderBalance } from './routes.ts';
