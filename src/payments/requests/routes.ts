import type { App } from '../../platform/http/server.ts';
import { merchantRoutes } from './merchant-routes.ts';
import { payerRoutes } from './payer-routes.ts';
import { type RequestDeps, readRoutes } from './read-routes.ts';

/** Payment requests: made by a merchant, agreed to by the holder of a DID, paid on chain. */
export function requestRoutes(app: App, deps: RequestDeps): void {
  merchantRoutes(app, deps);
  readRoutes(app, deps);
  payerRoutes(app, deps);
}
