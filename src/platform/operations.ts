import { z } from 'zod';
import type { Database } from './database/clients.ts';
import type { App } from './http/server.ts';
import { isDatabaseUp } from './installation.ts';
import type { Metrics } from './metrics.ts';

const DATABASE_ANSWERS_WITHIN_MS = 500;

/** `/livez`: the process turns. `/readyz`: it should get requests. `/metrics`: Prometheus. */
export function operationsRoutes(
  app: App,
  deps: { database: Database; metrics: Metrics; isDraining: () => boolean },
): void {
  const open = { access: 'anyone', rate: 'read' } as const;
  const State = z.object({ status: z.enum(['ok', 'draining', 'database_down']) });
  const schema = { tags: ['operations'], response: { 200: State, 503: State } };

  app.get('/livez', { config: open, schema: { ...schema, summary: 'Alive' } }, async () => ({ status: 'ok' as const }));

  app.get(
    '/readyz',
    { config: open, schema: { ...schema, summary: 'Ready for requests' } },
    async (_request, reply) => {
      if (deps.isDraining()) return reply.code(503).send({ status: 'draining' });
      if (await isDatabaseUp(deps.database, DATABASE_ANSWERS_WITHIN_MS)) return { status: 'ok' as const };
      return reply.code(503).send({ status: 'database_down' });
    },
  );

  app.get(
    '/metrics',
    {
      config: open,
      schema: {
        tags: ['operations'],
        summary: 'Prometheus metrics',
        produces: ['text/plain'],
        response: { 200: z.string() },
      },
    },
    async (_request, reply) => {
      const text = await deps.metrics.registry.metrics();
      return reply.type(deps.metrics.registry.contentType).serializer(String).send(text);
    },
  );
}
