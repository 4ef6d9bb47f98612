import { expect } from 'vitest';
import { type Code, codes } from '../../src/platform/http/codes.ts';
import type { Reply } from './client.ts';

/**
 * Asserts that a reply is this refusal, whole: status and code of the closed list, RFC 9457 media type and members, the
 * same request id in body and header, and nothing that a cache may keep. Returns the body.
 */
export function expectProblem(reply: Pick<Reply, 'status' | 'headers' | 'text'>, code: Code): Reply['body'] {
  expect(reply.text, `${code} expected`).toContain(`"code":"${code}"`);
  const body = JSON.parse(reply.text);
  expect(reply.status, reply.text).toBe(codes[code][0]);
  expect(reply.headers.get('content-type')).toMatch(/^application\/problem\+json(; charset=utf-8)?$/);
  expect(reply.headers.get('cache-control')).toBe('no-store');
  expect(body).toMatchObject({ code, status: codes[code][0], title: codes[code][1], instance: expect.any(String) });
  expect(body.type).toMatch(new RegExp(`^https?://[^/]+/docs/errors#${code}$`));
  expect(body.detail.length).toBeGreaterThan(0);
  expect(body.request_id).toMatch(/^[\w-]{8,64}$/);
  expect(body.request_id).toBe(reply.headers.get('request-id'));
  return body;
}

/** A 422 of this code that points to one field. */
export function expectFieldProblem(reply: Reply, pointer: string, code: Code = 'validation_failed'): void {
  const body = expectProblem(reply, code);
  expect(
    body.errors.map((error: { pointer: string }) => error.pointer),
    reply.text,
  ).toContain(pointer);
}
