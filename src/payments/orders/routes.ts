import type { App } from '../../platform/http/server.ts';
import { shopRoutes } from './shop-routes.ts';
import { statusRoutes } from './status-routes.ts';
import { type WalletDeps, walletRoutes } from './wallet-routes.ts';

/** Session-bound orders: made by a shop, taken and paid by a wallet, open to the browsers that the wallet has shown it for. */
export function orderRoutes(app: App, deps: WalletDeps): void {
  shopRoutes(app, deps);
  statusRoutes(app, deps);
  walletRoutes(app, deps);
}
