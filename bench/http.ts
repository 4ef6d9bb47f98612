import autocannon, { type Request } from 'autocannon';
import { toWire } from '../src/platform/ids.ts';
import type { Sample } from './rounds.ts';
import type { Child } from './setup/children.ts';
import { workflowId } from './setup/numbers.ts';

const CONNECTIONS = 64;

/** A customer with a token. */
export interface Customer {
  n: number;
  token: string;
}

export const hello: Request = { method: 'GET', path: '/' };

export const read = (path: string, { token }: Customer): Request => ({
  method: 'GET',
  path,
  headers: { authorization: `Bearer ${token}` },
});

const BODY = JSON.stringify({ input: { document: 'minutes-2026-11-22.pdf' } });

export const pathOfRuns = ({ n }: Customer): string => `/v1/workflows/${toWire('workflow', workflowId.of(n))}/runs`;
export const runBody = BODY;
export const runHeaders = ({ token }: Customer, key: string): Record<string, string> => ({
  authorization: `Bearer ${token}`,
  'content-type': 'application/json',
  'idempotency-key': key,
});

/** Every run under a key of its own. */
export const startRun = (customer: Customer): Request => ({
  method: 'POST',
  path: pathOfRuns(customer),
  headers: runHeaders(customer, '[<id>]'),
  body: BODY,
});

/** Full load: 64 connections that are kept alive, one request at a time on each, customers dealt out among them. */
export async function underLoad(child: Child, requests: readonly Request[], seconds: number): Promise<Sample> {
  const cpu = child.cpuUs();
  let client = 0;
  const isRun = requests.some(({ method }) => method === 'POST');
  const result = await autocannon({
    url: child.url,
    connections: CONNECTIONS,
    duration: seconds,
    pipelining: 1,
    idReplacement: isRun,
    setupClient: (connection) => {
      const own = requests.filter((_, i) => i % CONNECTIONS === client % CONNECTIONS);
      connection.setRequests((own.length > 0 ? own : requests).map((request) => ({ ...request })));
      client += 1;
    },
  });
  const { '2xx': succeeded, non2xx, errors, timeouts, latency, duration } = result;
  if (non2xx + errors + timeouts > 0 || succeeded === 0) {
    throw new Error(
      `not all succeeded: ${JSON.stringify(result.statusCodeStats)}, ${errors} errors, ${timeouts} time-outs`,
    );
  }
  const used = child.cpuUs();
  return {
    operations: succeeded,
    seconds: duration,
    p50Ms: latency.p50,
    p99Ms: latency.p99,
    ...(cpu !== undefined && used !== undefined ? { cpuUs: (used - cpu) / succeeded } : {}),
    ...(isRun ? { runs: { started: succeeded, unheard: CONNECTIONS } } : {}),
  };
}
