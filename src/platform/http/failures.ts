import type { FastifyError, FastifyRequest } from 'fastify';
import type { z } from 'zod';
import { type FieldError, Problem, retryLater } from './problem.ts';

/** What was thrown, as the problem that the client is told. `undefined`: a bug of ours. */
export function problemOf(fault: unknown, request: FastifyRequest): Problem | undefined {
  if (fault instanceof Problem) return fault;
  if (!(fault instanceof Error)) return undefined;
  const { code, statusCode, validation } = fault as FastifyError;
  if (validation) return validationProblem(fault as FastifyError, request);
  if (isBusyDatabase(fault)) return retryLater('database_unavailable', 2);
  if (typeof code === 'string' && /^FA?ST_JWT_|^FAST_JWT_/.test(code)) return new Problem('invalid_token');
  const known = code === undefined ? undefined : frameworkProblems[code];
  if (known) return known();
  if (statusCode === 400) return new Problem('malformed_request', safeText(fault.message));
  return undefined;
}

const frameworkProblems: Record<string, () => Problem> = {
  FST_ERR_CTP_BODY_TOO_LARGE: () => new Problem('body_too_large'),
  FST_ERR_CTP_INVALID_MEDIA_TYPE: () => new Problem('unsupported_media_type'),
  FST_ERR_CTP_EMPTY_JSON_BODY: () => new Problem('malformed_request', 'The body is empty.'),
  FST_ERR_CTP_INVALID_JSON_BODY: () => new Problem('malformed_request', 'The body is not valid JSON.'),
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: () => new Problem('malformed_request', 'Content-Length does not fit the body.'),
  FST_ERR_BAD_URL: () => new Problem('malformed_request', 'The address is not well-formed.'),
  FST_ERR_MAX_PARAM_LENGTH: () => new Problem('uri_too_long'),
  FST_ERR_HANDLER_TIMEOUT: () => retryLater('overloaded', 5),
};

/** Parser messages quote what they stumbled over; only plain sentences pass. */
const safeText = (message: string) => (/^[\w ,.:'-]{1,80}$/.test(message) ? message : 'The request could not be read.');

/**
 * The database cannot answer now: connection trouble (08, 57P), too many connections, lock or statement timeouts,
 * serialization and deadlock victims. Whoever repeats the request with its key loses nothing.
 */
export function isBusyDatabase(fault: unknown): boolean {
  for (let at: unknown = fault, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth += 1) {
    const code = (at as { code?: unknown }).code;
    if (typeof code === 'string' && busyCodes.test(code)) return true;
  }
  return false;
}
const busyCodes =
  /^(08\w{3}|57P0[1-5]|57014|55P03|53\w{3}|25P0[34]|40001|40P01|CONNECTION_(CLOSED|ENDED|DESTROYED)|CONNECT_TIMEOUT|ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN)$/;

/** SQLSTATE of the database fault inside, for callers that know what a violation means. */
export function sqlState(fault: unknown): { code: string; constraint?: string } | undefined {
  for (let at: unknown = fault, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth += 1) {
    const { code, constraint_name } = at as { code?: unknown; constraint_name?: string };
    if (typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code)) {
      return { code, ...(constraint_name ? { constraint: constraint_name } : {}) };
    }
  }
  return undefined;
}

function validationProblem(fault: FastifyError, request: FastifyRequest): Problem {
  const place = fault.validationContext ?? 'body';
  // fastify-type-provider-zod keeps zod's issue in `params` of each entry.
  const issues = (fault.validation ?? []).map((entry) => ({
    ...(entry.params as Partial<z.core.$ZodIssue>),
    path: entry.instancePath.split('/').filter((part) => part !== ''),
    code: entry.keyword as z.core.$ZodIssue['code'],
    message: entry.message ?? 'is not acceptable',
  }));
  const errors = issues.flatMap((issue) => fieldErrors(issue, place)).slice(0, MAX_FIELD_ERRORS);
  if (place === 'params') {
    return new Problem('invalid_id', `The address holds an id of the wrong form: ${request.routeOptions.url ?? ''}`, {
      errors,
    });
  }
  return new Problem('validation_failed', errors[0] ? `${errors[0].pointer || '/'}: ${errors[0].detail}` : undefined, {
    errors,
  });
}

interface Issue {
  path: string[];
  code: string;
  message: string;
  keys?: string[];
}

const MAX_FIELD_ERRORS = 20; // enough to mend a form; a hostile body gets no essay

function fieldErrors(issue: Issue, place: string): FieldError[] {
  const at = place === 'body' ? issue.path : [place, ...issue.path];
  if (issue.code === 'unrecognized_keys') {
    return (issue.keys ?? []).slice(0, MAX_FIELD_ERRORS).map((key) => ({
      pointer: pointerOf([...at, key]),
      code: 'unknown_field',
      detail: 'is not a field of this request',
    }));
  }
  return [{ pointer: pointerOf(at), code: issue.code, detail: issue.message }];
}

/** RFC 6901. */
export const pointerOf = (path: readonly (string | number)[]) =>
  path.map((part) => `/${String(part).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
