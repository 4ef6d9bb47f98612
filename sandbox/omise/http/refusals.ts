import type { JsonObject } from '../json.ts';
import { type Answer, jsonAnswer } from './answers.ts';

/** A request that Omise would refuse. */
export class Refused extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export function badRequest(message: string): Refused {
  return new Refused(400, 'bad_request', message);
}

export function refused(code: string, message: string): Refused {
  return new Refused(400, code, message);
}

export function notFound(what: string, id: string): Refused {
  return new Refused(404, 'not_found', `${what} ${id} was not found`);
}

export function unauthorized(): Refused {
  return new Refused(401, 'authentication_failure', 'authentication failed');
}

export function refusalAnswer(refusal: Refused): Answer {
  return jsonAnswer(refusal.status, errorBody(refusal.code, refusal.message));
}

export function errorBody(code: string, message: string): JsonObject {
  return { object: 'error', location: errorPage(code), code, message };
}

/** The two recorded bodies name different pages: 404 the newer one, 401 the older. */
function errorPage(code: string): string {
  const base = code === 'not_found' ? 'https://docs.omise.co/api/errors' : 'https://www.omise.co/api-errors';
  return `${base}#${code.replaceAll('_', '-')}`;
}
