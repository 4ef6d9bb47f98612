export {
  type Balances,
  balanceOf,
  capture,
  hold,
  type Outcome,
  post,
  release,
  returnSpend,
  spendOf,
} from './ledger.ts';
export { creditsOperatorRoutes } from './operator-routes.ts';
export { BalanceOut, creditsRoutes, renderBalance } from './routes.ts';
