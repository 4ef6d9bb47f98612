import type { Db } from '../platform/database/clients.ts';
import type { Feed } from '../platform/delivery/feed.ts';
import { type Cursors, listOf, PageQuery } from '../platform/http/lists.ts';
import { Problem } from '../platform/http/problem.ts';
import type { App } from '../platform/http/server.ts';
import { answers, idParam } from '../platform/http/wire.ts';
import type { Metrics } from '../platform/metrics.ts';
import type { Vault } from '../platform/secrets.ts';
import { type AskDeps, askRoutes } from './asks/routes.ts';
import type { Definitions } from './definitions.ts';
import { runEventRoutes } from './run-event-routes.ts';
import { runRoutes } from './run-routes.ts';
import { findService, listServices, renderService, ServiceOut } from './services.ts';
import type { RunCommitter } from './start-run.ts';
import { workflowRoutes } from './workflow-routes.ts';

export interface WorkflowsDeps {
  db: Db;
  commits: RunCommitter;
  vault: Vault;
  cursors: Cursors;
  definitions: Definitions;
  feed: Feed;
  metrics: Metrics;
  asks: AskDeps;
  /** Asks can be paid by an invoice. */
  hasWallet: boolean;
  /** A run was committed that can be dispatched. */
  wakeDispatcher(): void;
}

/** The catalogue, the caller's workflows and their runs. */
export function workflowsRoutes(app: App, deps: WorkflowsDeps): void {
  catalogueRoutes(app, deps);
  workflowRoutes(app, deps);
  runRoutes(app, deps);
  runEventRoutes(app, deps);
  askRoutes(app, deps);
}

function catalogueRoutes(app: App, { db, cursors }: WorkflowsDeps): void {
  app.get(
    '/v1/services',
    {
      config: { access: 'read', rate: 'read' },
      schema: {
        tags: ['workflows'],
        summary: 'What can be run',
        querystring: PageQuery,
        response: answers({ 200: listOf(ServiceOut) }),
      },
    },
    async (request) => {
      const after = cursors.read('services', 'everybody', request.query);
      const rows = await listServices(db, true, after, request.query.limit + 1);
      return cursors.page('services', 'everybody', request.query, rows, (service) => service.id, renderService);
    },
  );

  app.get(
    '/v1/services/:id',
    {
      config: { access: 'read', rate: 'read' },
      schema: {
        tags: ['workflows'],
        summary: 'One service',
        params: idParam('service'),
        response: answers({ 200: ServiceOut }),
      },
    },
    async (request) => {
      const service = await findService(db, request.params.id);
      if (!service?.active) throw new Problem('not_found');
      return renderService(service);
    },
  );
}
