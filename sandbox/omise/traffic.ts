import type { IncomingHttpHeaders } from 'node:http';

/** What was asked of the API, for assertions. Endpoints are named `POST /charges`, `GET /charges/:id`. */
export interface Traffic {
  note(endpoint: string, headers: IncomingHttpHeaders): void;
  calls(): Record<string, number>;
  lastHeaders(): Record<string, IncomingHttpHeaders>;
}

export function createTraffic(): Traffic {
  const calls = new Map<string, number>();
  const headers = new Map<string, IncomingHttpHeaders>();
  return {
    note(endpoint, received) {
      calls.set(endpoint, (calls.get(endpoint) ?? 0) + 1);
      headers.set(endpoint, received);
    },
    calls: () => Object.fromEntries(calls),
    lastHeaders: () => Object.fromEntries(headers),
  };
}
