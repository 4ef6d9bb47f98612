import { createHash } from 'node:crypto';
import { STATUS_CODES } from 'node:http';
import swagger from '@fastify/swagger';
import scalar from '@scalar/fastify-api-reference';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { codes } from './codes.ts';
import { html, page } from './html.ts';
import type { App } from './server.ts';
import { answers } from './wire.ts';

/** The OpenAPI 3.1 document of a server, made from its routes; call before they are added. */
export async function describeApi(app: App, about: { title: string; publicUrl: string }): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: about.title,
        version: '1',
        description: 'Customers buy credits, and no workflow runs before it is paid for. Errors: see /docs/errors.',
      },
      servers: [{ url: about.publicUrl }],
      components: {
        securitySchemes: {
          bearer: { type: 'http', scheme: 'bearer', description: 'An access token, or an API key (`fbx_…`).' },
        },
      },
    },
    transform: describeRoute,
    transformObject: (input) => tidy(jsonSchemaTransformObject(input) as Document) as never,
  });
}

interface Reply {
  description?: string;
  content?: Record<string, unknown>;
}
interface Document {
  paths: Record<string, Record<string, { responses?: Record<string, Reply> }>>;
  components: { schemas: Record<string, unknown> };
}

/** Refusals are problem documents; every reply says in words what it is; references and schemas fit each other. */
function tidy(described: Document): Document {
  const document = withoutLooseEnds(described);
  for (const operation of Object.values(document.paths).flatMap((path) => Object.values(path))) {
    for (const [status, reply] of Object.entries(operation.responses ?? {})) {
      if (reply.description === 'Default Response') reply.description = meaningOf(status);
      const [schema] = Object.values(reply.content ?? {});
      if (/^[45]/.test(status) && isProblem(schema)) reply.content = { 'application/problem+json': schema };
    }
  }
  const { schemas } = document.components;
  for (let isDone = false; !isDone; ) {
    const text = JSON.stringify(document);
    const idle = Object.keys(schemas).filter((name) => !text.includes(`"#/components/schemas/${name}"`));
    for (const name of idle) delete schemas[name];
    isDone = idle.length === 0;
  }
  // By name: the order of their creation changes with every import.
  document.components.schemas = Object.fromEntries(Object.entries(schemas).sort(([a], [b]) => (a < b ? -1 : 1)));
  return document;
}

/** Of a recursive schema (any JSON) the generator leaves a reference to nothing. */
const withoutLooseEnds = (document: Document): Document =>
  JSON.parse(JSON.stringify(document), (_key, value) => {
    const [, name] = /^#\/components\/schemas\/(.+)$/.exec(value?.$ref ?? '') ?? [];
    return name !== undefined && !(name in document.components.schemas) ? { description: 'any JSON' } : value;
  });

const isProblem = (content: unknown) => JSON.stringify(content ?? null).includes('"#/components/schemas/Problem"');

const meaningOf = (status: string) =>
  ({ '4XX': 'Refused; `code` says why', '5XX': 'Not possible now; `Retry-After` says when to try again' })[status] ??
  STATUS_CODES[status] ??
  status;

/** Adds what the route's declarations say: who may call it, and what a repeat means. */
const describeRoute: typeof jsonSchemaTransform = (input) => {
  const { schema, url } = jsonSchemaTransform(input);
  const config =
    'route' in input
      ? (input as { route: { config?: { access?: string; idempotency?: string } } }).route.config
      : undefined;
  const described: Record<string, unknown> = { ...schema };
  const isOpen = config?.access === undefined || config.access === 'anyone' || config.access === 'signed';
  described['security'] = isOpen ? [] : [{ bearer: [] }];
  if (config?.idempotency === 'required' || config?.idempotency === 'accepted') {
    described['headers'] = {
      type: 'object',
      properties: { 'idempotency-key': { type: 'string', minLength: 1, maxLength: 255 } },
      ...(config.idempotency === 'required' ? { required: ['idempotency-key'] } : {}),
    };
  }
  return { schema: described, url };
};

/** `GET /openapi.json`, the reference at `/docs/`, and the page of error codes. Needs `describeApi`. */
export async function docsRoutes(app: App, title: string): Promise<void> {
  const open = { access: 'anyone', rate: 'read' } as const;
  app.get(
    '/openapi.json',
    { config: open, schema: { hide: true, response: { 200: z.any() } } },
    async (_request, reply) => reply.serializer(JSON.stringify).send(app.swagger()),
  );
  app.get(
    '/docs/errors',
    { config: open, schema: { hide: true, response: answers({ 200: z.string() }) } },
    async (_request, reply) => page(reply, { title: 'Errors', body: errorList() }),
  );
  await app.register(async (inner) => {
    inner.addHook('onSend', allowReference);
    await inner.register(scalar, {
      routePrefix: '/docs',
      // Nothing from elsewhere, and nothing that leads there.
      configuration: {
        pageTitle: title,
        url: '/openapi.json',
        withDefaultFonts: false,
        telemetry: false,
        showDeveloperTools: 'never',
        hideClientButton: true,
        agent: { disabled: true },
        mcp: { disabled: true },
      },
    });
  });
}

/** The reference is one vendored script with an inline start; the policy names that start by its hash. */
async function allowReference(_request: FastifyRequest, reply: FastifyReply, payload: unknown): Promise<unknown> {
  if (typeof payload !== 'string' || !String(reply.getHeader('content-type')).startsWith('text/html')) return payload;
  const scripts = [...payload.matchAll(/<script[^>]*>([\s\S]*?)<\/script>/g)].map(([, code = '']) => code);
  const hashes = scripts
    .filter((code) => code !== '')
    .map((code) => `'sha256-${createHash('sha256').update(code).digest('base64')}'`);
  const policy = {
    'default-src': "'none'",
    'script-src': `'self' ${hashes.join(' ')}`,
    'style-src': "'self' 'unsafe-inline'", // it styles itself at run time
    'img-src': "'self' data:",
    'font-src': "'self' data:",
    'connect-src': "'self'",
    'base-uri': "'none'",
    'frame-ancestors': "'none'",
  };
  const text = Object.entries(policy).map(([name, value]) => `${name} ${value}`);
  reply.header('Content-Security-Policy', text.join('; '));
  return payload;
}

const errorList = () => html`
  <h1>Errors</h1>
  <p>Every error is <code>application/problem+json</code> (RFC 9457). <code>code</code> never changes its meaning.</p>
  ${Object.entries(codes).map(
    ([code, [status, title, remedy]]) => html`
      <section id="${code}">
        <h2><code>${code}</code> <small>${status}</small></h2>
        <p>${title}. ${remedy}</p>
      </section>`,
  )}`;
