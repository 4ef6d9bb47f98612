import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type Code, codes } from '../../src/platform/http/codes.ts';
import { isBusyDatabase, problemOf } from '../../src/platform/http/failures.ts';
import { errorsPage, Problem, problemBody } from '../../src/platform/http/problem.ts';

// That a reply carries no other code than these: `Problem` takes none, and `expectProblem` of the harness looks at each.

const source = readdirSync('src', { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts') && !file.endsWith('codes.ts'))
  .map((file) => readFileSync(join('src', file), 'utf8'))
  .join('\n');

// REQ E9.2
test('every code is used somewhere', () => {
  const unused = Object.keys(codes).filter((code) => !source.includes(`'${code}'`));
  expect(unused).toEqual([]);
});

test('every code has its paragraph in docs/errors.md', () => {
  const page = errorsPage();
  for (const [code, [status, title, remedy]] of Object.entries(codes)) {
    expect(page).toContain(`## ${code}\n\n**${status}** ${title}. ${remedy}\n`);
  }
});

test('what a problem adds to its body cannot take the place of what every problem has', () => {
  const extra = { status: 200, code: 'fine', type: 'x', request_id: 'x', cost: 7 };
  const at = { path: '/p', requestId: 'r', docs: 'd' };
  expect(problemBody(new Problem('price_changed', undefined, { extra }), at)).toEqual({
    ...{ type: 'd#price_changed', status: 409, code: 'price_changed', request_id: 'r', instance: '/p', cost: 7 },
    ...{ title: codes.price_changed[1], detail: codes.price_changed[2] },
  });
});

const fault = (more: object) => Object.assign(new Error('with a secret in it'), more);

// REQ E7.5
test.each([
  ['a lost connection', '08006', 'CONNECTION_CLOSED', 'CONNECTION_ENDED', 'CONNECTION_DESTROYED', 'CONNECT_TIMEOUT'],
  ['a network without an answer', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH'],
  ['a name that is not found', 'ENOTFOUND', 'EAI_AGAIN'],
  ['a server that goes down or comes up', '57P01', '57P02', '57P03'],
  ['a time-out or a lock', '57014', '55P03', '25P03', '25P04'],
  ['too many connections, no memory, a full disk', '53300', '53200', '53100'],
  ['a victim of others', '40001', '40P01'],
])('%s is a 503 to come back after, and not a bug', (_name, ...states) => {
  for (const code of states) {
    for (const shape of [fault({ code }), fault({ cause: fault({ code }) })]) {
      expect(isBusyDatabase(shape), code).toBe(true);
      const problem = problemOf(shape, {} as never);
      expect([problem?.code, problem?.headers['retry-after']]).toEqual(['database_unavailable', '2']);
    }
  }
});

test.each(['23505', '22P02', '42601', '42501', '22021', 'ERR_ASSERTION'])('%s is a bug of ours', (code) => {
  expect(problemOf(fault({ code }), {} as never)).toBeUndefined();
});

test('a circle of causes ends', () => {
  const one = fault({});
  one.cause = fault({ cause: one });
  expect(isBusyDatabase(one)).toBe(false);
});

test('what is not an error at all is a bug of ours, too', () => {
  for (const thrown of [undefined, null, 'text', 7, {}, { statusCode: 400 }]) {
    expect(problemOf(thrown, {} as never)).toBeUndefined();
  }
});

test('a parser that quotes what it read is not repeated', () => {
  const quoting = fault({ statusCode: 400, message: 'Unexpected token "hunter2" at {"password":"hunter2"}' });
  expect(problemOf(quoting, {} as never)?.detail).toBe('The request could not be read.');
  expect(Object.keys(codes)).toContain('malformed_request' satisfies Code);
});
