import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Code, codes } from '../../src/platform/http/codes.ts';
import { clientOf } from '../harness/client.ts';
import { expectFieldProblem, expectProblem } from '../harness/problems.ts';
import { ask } from '../harness/raw-http.ts';
import { openWorld, type World } from './world.ts';

let world: World;
beforeAll(async () => {
  world = await openWorld();
});
afterAll(() => world.stop());

const anybody = () => clientOf(world.farebox.url);

// REQ E7.5 E9.2
test('the type of a problem is the address of its explanation, on a page that has all of them', async () => {
  const problem = expectProblem(await anybody().get('/nowhere'), 'route_not_found');
  const [address, anchor] = problem.type.split('#');
  for (const from of [address, `${world.farebox.internalUrl}/docs/errors`]) {
    const page = await fetch(from);
    expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
    const text = await page.text();
    expect(text).toContain(`<section id="${anchor}">`);
    for (const [code, [status, title]] of Object.entries(codes)) {
      expect(text).toContain(`<section id="${code}">`);
      expect(text).toContain(`<small>${status}</small>`);
      expect(text).toContain(title.replaceAll("'", '&#39;'));
    }
  }
});

test('instance is the path without the query, which may hold secrets', async () => {
  const reply = await anybody().get('/v1/purchases?token=secret&x=%22%3Cb%3E');
  expect(expectProblem(reply, 'unauthenticated').instance).toBe('/v1/purchases');
  expect(reply.text).not.toContain('secret');
  const odd = await anybody().get('/%3Cscript%3E/%22');
  expect(expectProblem(odd, 'route_not_found').instance).toBe('/%3Cscript%3E/%22');
});

// REQ E9.1
describe('a method that an address does not know is a 405 with those it knows', () => {
  test.each([
    ['/v1/packages', 'POST', 'GET, HEAD'],
    ['/v1/packages/pkg_1', 'DELETE', 'GET, HEAD'],
    ['/v1/auth/login', 'GET', 'POST'],
    ['/v1/me', 'DELETE', 'GET, HEAD, PATCH'],
    ['/v1/workflows/wf_1', 'PUT', 'DELETE, GET, HEAD, PATCH'],
    ['/v1/purchases', 'DELETE', 'GET, HEAD, POST'],
    ['/v1/runs/run_1/events', 'HEAD', 'GET'],
    ['/v1/runs/run_1/events', 'POST', 'GET'],
    ['/v1/me', 'OPTIONS', 'GET, HEAD, PATCH'],
    ['/checkout/x', 'POST', 'GET, HEAD'],
    ['/docs/errors', 'DELETE', 'GET, HEAD'],
  ])('%s %s: %s', async (path, method, allowed) => {
    const reply = await world.owner.call(method, path);
    expect(reply.status).toBe(405);
    expect(reply.headers.get('allow')?.split(', ').sort().join(', ')).toBe(allowed);
    if (method !== 'HEAD') expectProblem(reply, 'method_not_allowed');
  });
});

test.each([
  '/v1',
  '/v1/',
  '/v1/packages/',
  '/v1/workflows//runs',
  '/v1/runs/',
  '/v2/me',
  '/v1/me/x',
  '/',
  '/favicon.ico',
  '/.env',
])('%s is a 404 for everybody, and not a 405', async (path) => {
  for (const method of ['GET', 'POST', 'DELETE']) {
    expectProblem(await world.owner.call(method, path), 'route_not_found');
    expectProblem(await anybody().call(method, path), 'route_not_found');
  }
});

describe('an id of the wrong form is a 400 that says where', () => {
  const forms = (id: string) => [
    id.slice(0, -1),
    `${id}0`,
    id.toUpperCase(),
    id.replace(/^[a-z]+/, 'key'),
    id.replace('_', '-'),
    id.split('_')[1] ?? '',
    `${id.slice(0, id.indexOf('_') + 1)}8${'z'.repeat(25)}`,
    `${id.slice(0, -1)}u`,
    '01234567-89ab-7def-8123-456789abcdef',
    '00000000-0000-0000-0000-000000000000',
    '1',
    '-1',
    'null',
    'undefined',
    '..%2f..%2fetc%2fpasswd',
    "'%20or%201=1--",
    '%F0%9F%92%A9',
    '[object%20Object]',
  ];
  test('in the address', async () => {
    for (const id of forms(world.workflow.id)) {
      const reply = await world.owner.get(`/v1/workflows/${id}`);
      expectFieldProblem(reply, '/params/id', 'invalid_id');
    }
  });
  test('in the body it is a 422', async () => {
    for (const id of [...forms(world.service.id).map(decodeURIComponent), 7, null, [world.service.id], { id: 'x' }]) {
      expectFieldProblem(await world.owner.post('/v1/workflows', { service_id: id, name: 'x' }), '/service_id');
    }
  });
  test('in the query it is a 422', async () => {
    expectFieldProblem(await world.owner.get('/v1/runs?workflow_id=1'), '/querystring/workflow_id');
  });
});

test('an id of the right form that names nothing is a 404, of a deleted workflow as of none', async () => {
  const nil = (prefix: string) => `${prefix}_${'0'.repeat(26)}`;
  const { owner } = world;
  for (const path of [
    `runs/${nil('run')}`,
    `purchases/${nil('pur')}`,
    `packages/${nil('pkg')}`,
    `services/${nil('svc')}`,
  ]) {
    expectProblem(await owner.get(`/v1/${path}`), 'not_found');
  }
  const gone = await owner.ok('POST', '/v1/workflows', { body: { service_id: world.service.id, name: 'x' } });
  await owner.ok('DELETE', `/v1/workflows/${gone.id}`);
  for (const id of [gone.id, nil('wf')]) {
    expectProblem(await owner.get(`/v1/workflows/${id}`), 'workflow_not_found');
    expectProblem(await owner.post(`/v1/workflows/${id}/runs`, {}), 'workflow_not_found');
  }
});

test('an unknown field of a query, a wrong one and one that comes twice are each pointed to', async () => {
  const { owner } = world;
  expectFieldProblem(await owner.get('/v1/runs?sort=asc'), '/querystring/sort');
  expectFieldProblem(await owner.get('/v1/runs?state=flying'), '/querystring/state');
  expectFieldProblem(await owner.get('/v1/runs?limit=1&limit=2'), '/querystring/limit');
  expectFieldProblem(await owner.get('/v1/runs?__proto__=1&constructor=1'), '/querystring/constructor');
});

test('HEAD is GET without the body, with the same guards', async () => {
  for (const path of [
    '/v1/packages',
    '/v1/me',
    `/v1/workflows/${world.workflow.id}`,
    '/openapi.json',
    '/docs/errors',
  ]) {
    const [get, head] = [await world.owner.get(path), await world.owner.call('HEAD', path)];
    expect([head.status, head.text]).toEqual([200, '']);
    expect(head.headers.get('content-type')).toBe(get.headers.get('content-type'));
    expect(head.headers.get('content-length')).toBe(get.headers.get('content-length'));
  }
  expect((await anybody().call('HEAD', '/v1/me')).status).toBe(401);
  expect((await world.other.call('HEAD', `/v1/workflows/${world.workflow.id}`)).status).toBe(403);
});

test('a body that comes with GET is not read', async () => {
  const body = '{"not": json';
  const head = ['GET /v1/me HTTP/1.1', 'Host: x', `Authorization: Bearer ${world.owner.token}`, 'Connection: close'];
  const lines = [...head, 'Content-Type: application/json', `Content-Length: ${body.length}`, '', body];
  expect((await ask(world.farebox.url, lines.join('\r\n'))).status).toBe(200);
});

test('every code has a status of its class, a title and a remedy, in words', () => {
  for (const [code, [status, title, remedy]] of Object.entries(codes)) {
    expect(code).toMatch(/^[a-z0-9]+(_[a-z0-9]+)*$/);
    expect(status).toBeGreaterThanOrEqual(400);
    expect(status).toBeLessThan(600);
    expect(title, code).toMatch(/^[A-Z].*[^.]$/);
    expect(remedy, code).toMatch(/^[A-Z].*\.$/);
  }
  expect(Object.keys(codes) satisfies string[] as Code[]).toContain('internal_error');
});
