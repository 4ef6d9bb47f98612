import type { Db } from '../database/clients.ts';
import type { EventTypes } from '../delivery/event-types.ts';
import type { Egress } from '../egress.ts';
import type { Cursors } from '../http/lists.ts';
import type { App } from '../http/server.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { Vault } from '../secrets.ts';
import { deliveryRoutes } from './delivery-routes.ts';
import { endpointRoutes } from './endpoint-routes.ts';

export interface WebhooksDeps {
  db: Db;
  vault: Vault;
  cursors: Cursors;
  /** Its own: what the operator lets executors live at is not for customers to call. */
  egress: Egress;
  log: Log;
  metrics: Metrics;
  types: EventTypes;
  /** Something may be due. */
  wakeSender(): void;
}

/** Endpoints and what was delivered to them. */
export function webhooksRoutes(app: App, deps: WebhooksDeps): void {
  endpointRoutes(app, deps);
  deliveryRoutes(app, deps);
}
