import { createHistogram } from 'node:perf_hooks';
import type { Sample } from './rounds.ts';

/** So many workers, each with one operation in hand, for so many seconds. Every operation that was begun is ended. */
export async function closedLoop(inFlight: number, seconds: number, operate: () => Promise<void>): Promise<Sample> {
  const latency = createHistogram();
  const cpu = process.cpuUsage();
  const begin = process.hrtime.bigint();
  const end = begin + BigInt(Math.round(seconds * 1e9));
  let operations = 0;
  const worker = async () => {
    for (let at = process.hrtime.bigint(); at < end; ) {
      await operate();
      const now = process.hrtime.bigint();
      latency.record(now - at || 1n);
      operations += 1;
      at = now;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  const used = process.cpuUsage(cpu);
  return {
    operations,
    seconds: Number(process.hrtime.bigint() - begin) / 1e9,
    p50Ms: latency.percentile(50) / 1e6,
    p99Ms: latency.percentile(99) / 1e6,
    cpuUs: (used.user + used.system) / Math.max(1, operations),
  };
}
