import type { JsonObject } from '../json.ts';
import type { World } from '../state.ts';
import type { Answer } from './answers.ts';
import type { KeyKind } from './basic-auth.ts';

/** One request, parsed. */
export interface Call {
  world: World;
  /** Values of the `:name` parts of the path. */
  path: Record<string, string>;
  query: JsonObject;
  input: JsonObject;
  /** API version to answer in: the request's `Omise-Version`, else the account's. */
  version: string;
}

export interface Route {
  method: string;
  /** `/charges/:id`; also the endpoint's name in counters and fault rules. */
  path: string;
  key: KeyKind;
  answer(call: Call): Answer | Promise<Answer>;
}

export interface Match<R> {
  route: R;
  path: Record<string, string>;
}

export function findRoute<R extends { method: string; path: string }>(
  routes: readonly R[],
  method: string,
  pathname: string,
): Match<R> | null {
  const parts = pathname.split('/').filter((part) => part !== '');
  for (const route of routes) {
    const path = route.method === method ? matchParts(route.path.split('/').slice(1), parts) : null;
    if (path !== null) return { route, path };
  }
  return null;
}

function matchParts(pattern: string[], parts: string[]): Record<string, string> | null {
  if (pattern.length !== parts.length) return null;
  const path: Record<string, string> = {};
  for (const [index, wanted] of pattern.entries()) {
    const part = parts[index] ?? '';
    if (wanted.startsWith(':')) path[wanted.slice(1)] = decoded(part);
    else if (wanted !== part) return null;
  }
  return path;
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // a stray % is no reason to fail: it names nothing we have
  }
}

/** A named part that the route's path is known to have. */
export function idOf(call: Call, name = 'id'): string {
  return call.path[name] ?? '';
}
