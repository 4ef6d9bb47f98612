import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Json } from '../harness/client.ts';
import { fareboxForFile, type TestFarebox } from '../harness/farebox.ts';
import { documented } from '../harness/openapi.ts';
import { internalRoutes, publicRoutes, type Row } from './matrix.ts';

let farebox: TestFarebox;
let documents: Record<'public' | 'internal', Json>;
beforeAll(async () => {
  farebox = await fareboxForFile();
  const [front, internal] = [await documented(farebox.url), await documented(farebox.internalUrl)];
  documents = { public: front.document, internal: internal.document };
});
afterAll(() => farebox.stop());

const sides = [['public', publicRoutes] as const, ['internal', internalRoutes] as const];
/** What is for people or for the tools themselves is not part of the API. */
const isPage = (pattern: string) => /^\/(checkout|pay|lightning|reset-password|ops|docs|openapi\.json)/.test(pattern);
const operations = (document: Json): [path: string, method: string, operation: Json][] =>
  Object.entries<Json>(document.paths).flatMap(([path, item]) =>
    Object.entries<Json>(item).map(([method, operation]): [string, string, Json] => [path, method, operation]),
  );

describe.each(sides)('the %s document', (side, routes: Row[]) => {
  test('is OpenAPI 3.1 and says whose it is', () => {
    const { openapi, info, servers } = documents[side];
    expect(openapi).toBe('3.1.0');
    expect(info).toMatchObject({ title: expect.stringContaining('Farebox'), version: '1' });
    expect(servers).toEqual([{ url: farebox.url }]);
  });

  // REQ E9.1 E9.3
  test('has every route of the API and nothing else', () => {
    const inTable = routes
      .filter(([, pattern]) => !isPage(pattern))
      .map(([method, pattern]) => `${method} ${pattern.replace(/:(\w+)/g, '{$1}')}`);
    const inDocument = operations(documents[side]).map(([path, method]) => `${method.toUpperCase()} ${path}`);
    expect(inDocument.sort()).toEqual(inTable.sort());
  });

  test('names for each operation who may call it', () => {
    for (const [method, pattern, openedBy] of routes.filter(([, path]) => !isPage(path))) {
      const operation = documents[side].paths[pattern.replace(/:(\w+)/g, '{$1}')][method.toLowerCase()];
      const isOpen = openedBy === 'anyone' || openedBy === 'signed';
      expect(operation.security, pattern).toEqual(isOpen ? [] : [{ bearer: [] }]);
    }
    expect(documents[side].components.securitySchemes.bearer).toMatchObject({ type: 'http', scheme: 'bearer' });
  });

  test('describes each operation: in words, its parameters, its replies', () => {
    for (const [path, method, operation] of operations(documents[side])) {
      const where = `${method} ${path}`;
      expect(operation.summary, where).toMatch(/^[A-Z].{3,}[^.]$/);
      expect(operation.tags, where).toHaveLength(1);
      const parameters: Json[] = operation.parameters ?? [];
      const names = parameters.map((one) => `${one.in} ${one.name}`);
      expect(new Set(names).size, where).toBe(names.length);
      const inPath = parameters.filter((one) => one.in === 'path');
      expect(
        inPath.map((one) => `{${one.name}}`),
        where,
      ).toEqual(path.match(/\{\w+\}/g) ?? []);
      for (const one of parameters)
        expect(one.required, `${where} ${one.name}`).toBe(one.in === 'path' || one.required);
      for (const [status, reply] of Object.entries<Json>(operation.responses)) {
        expect(status, where).toMatch(/^([1-5]\d\d|[45]XX)$/);
        expect(reply.description, where).not.toBe('Default Response');
        if (status === '204' || status === '304') expect(reply.content, where).toBeUndefined();
        else expect(Object.values<Json>(reply.content)[0].schema, where).toBeDefined();
        if (/^[45]XX$/.test(status)) expect(Object.keys(reply.content), where).toEqual(['application/problem+json']);
      }
    }
  });

  test('requires the Idempotency-Key where the server does', () => {
    const required = operations(documents[side])
      .filter(([, , { parameters = [] }]) =>
        parameters.some((one: Json) => one.name === 'idempotency-key' && one.required),
      )
      .map(([path]) => path);
    expect(required.sort()).toEqual(
      side === 'public'
        ? ['/v1/asks/{id}/pay', '/v1/payment-requests', '/v1/purchases', '/v1/refunds', '/v1/workflows/{id}/runs']
        : [
            '/v1/admin/accounts/{id}/adjustments',
            '/v1/admin/accounts/{id}/grants',
            '/v1/admin/purchases/{id}/resolve',
            ...['approve', 'payouts', 'reject'].map((what) => `/v1/admin/refunds/{id}/${what}`),
          ],
    );
  });

  test('refers to schemas that are there, and has none that nothing refers to', () => {
    const text = JSON.stringify(documents[side]);
    const named = new Set([...text.matchAll(/"\$ref":"([^"]+)"/g)].map(([, ref = '']) => ref));
    const there = Object.keys(documents[side].components.schemas).map((name) => `#/components/schemas/${name}`);
    expect([...named].sort()).toEqual(there.sort());
    expect(text).not.toMatch(/"additionalProperties":true|"nullable"/);
  });

  test('tells nothing of this machine', () => {
    const text = JSON.stringify(documents[side]).replaceAll(farebox.url, '');
    expect(text).not.toMatch(/127\.0\.0\.1|localhost|skey_|file:|\/work\//);
  });
});

test('bodies are closed: no operation takes a field that it does not name', () => {
  for (const side of ['public', 'internal'] as const) {
    for (const [path, method, operation] of operations(documents[side])) {
      const schema = operation.requestBody?.content['application/json'].schema;
      const forms = schema?.oneOf ?? schema?.anyOf ?? [schema ?? { additionalProperties: false }];
      for (const one of forms.filter(({ type }: Json) => type !== 'null')) // none at all takes nothing, too
        expect(one.additionalProperties, `${method} ${path}`).toBe(false);
    }
  }
});
