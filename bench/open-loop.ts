import { randomUUID } from 'node:crypto';
import { createHistogram } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { Pool } from 'undici';
import { closedLoop } from './closed-loop.ts';
import { type Customer, pathOfRuns, runBody, runHeaders } from './http.ts';
import type { Sample } from './rounds.ts';

/**
 * Customers who do not wait for each other: requests are due at a constant rate, and a request's time begins when it was
 * due. A server that stalls for a second is seen to be late for all who came in that second (no coordinated omission).
 */

const CONNECTIONS = 128;
const TICK_MS = 1;
const PROBE_IN_FLIGHT = 64;
const SHARE_OF_MAX = 0.8;

export interface OpenLoopOptions {
  url: string;
  customers: readonly Customer[];
  seconds: number;
  /** Default: 80 % of what the same client reaches when it goes as fast as it can, found first. */
  rate?: number;
}

export async function runsAtConstantRate({ url, customers, seconds, rate }: OpenLoopOptions): Promise<Sample> {
  const pool = new Pool(url, { connections: CONNECTIONS, pipelining: 1 });
  let turn = 0;
  const start = async () => {
    const customer = customers[turn++ % customers.length];
    if (!customer) throw new Error('there is no customer');
    const reply = await pool.request({
      method: 'POST',
      path: pathOfRuns(customer),
      headers: runHeaders(customer, randomUUID()),
      body: runBody,
    });
    await reply.body.dump();
    if (reply.statusCode !== 202) throw new Error(`a run was answered with ${reply.statusCode}`);
  };
  try {
    const probe = rate === undefined ? await closedLoop(PROBE_IN_FLIGHT, Math.min(2, seconds), start) : undefined;
    const wanted = rate ?? (SHARE_OF_MAX * (probe?.operations ?? 0)) / (probe?.seconds ?? 1);
    const sample = await atRate(wanted, seconds, start);
    const runs = { started: sample.operations + (probe?.operations ?? 0), unheard: 0 };
    return { ...sample, runs, notes: { rate: wanted } };
  } finally {
    await pool.close();
  }
}

/** Operations that are due at a rate, whether or not earlier ones have ended. */
async function atRate(rate: number, seconds: number, operate: () => Promise<void>): Promise<Sample> {
  const latency = createHistogram();
  const pending = new Set<Promise<void>>();
  const faults: unknown[] = [];
  const total = Math.max(1, Math.floor(rate * seconds));
  const begin = performance.now();
  for (let sent = 0; sent < total; await sleep(TICK_MS)) {
    const due = Math.min(total, Math.floor(((performance.now() - begin) / 1000) * rate) + 1);
    for (; sent < due; sent += 1) {
      const dueAt = begin + (sent / rate) * 1000;
      const one: Promise<void> = operate()
        .then(() => latency.record(Math.max(1, Math.round((performance.now() - dueAt) * 1e6))))
        .catch((fault) => void faults.push(fault))
        .finally(() => pending.delete(one));
      pending.add(one);
    }
  }
  await Promise.all(pending);
  if (faults.length > 0) throw faults[0];
  return {
    operations: total,
    seconds: (performance.now() - begin) / 1000,
    p50Ms: latency.percentile(50) / 1e6,
    p99Ms: latency.percentile(99) / 1e6,
  };
}
