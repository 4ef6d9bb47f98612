import { setTimeout as sleep } from 'node:timers/promises';
import { isBusyDatabase } from '../http/failures.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';

/** Background work. `runOnce` does a bounded piece of it and answers whether there is more to do at once. */
export interface Worker {
  name: string;
  everyMs: number;
  runOnce(signal: AbortSignal): Promise<{ more: boolean }>;
  /** Resolves when everything that `runOnce` left running is over. */
  settle?(): Promise<void>;
}

export interface Crew {
  start(workers: Worker[]): void;
  /** Something was just committed that this worker would otherwise find at its next round. */
  wake(name: string): void;
  /** Takes no new work, waits for what is in hand; resolves when all have stopped. */
  stop(): Promise<void>;
}

const JITTER = 0.2; // so that replicas do not knock together
const MAX_BACKOFF_MS = 30_000;
/** From round to round when there was nothing more to do: a bell that rings a thousand times a second is heard a hundred times. */
const SPACING_MS = 10;

/** The only loop. A round that fails is logged and tried again later and later. A crew that is not started has no work. */
export function createCrew(deps: { log: Log; metrics: Metrics }): Crew {
  const stopping = new AbortController();
  const bells = new Map<string, Bell>();
  const loops: Promise<void>[] = [];
  return {
    start: (workers) => {
      for (const worker of workers) {
        const bell = new Bell();
        bells.set(worker.name, bell);
        loops.push(loop(worker, bell, stopping.signal, deps).then(() => worker.settle?.()));
      }
    },
    wake: (name) => bells.get(name)?.ring(),
    stop: async () => {
      stopping.abort();
      for (const bell of bells.values()) bell.end();
      await Promise.all(loops);
    },
  };
}

async function loop(worker: Worker, bell: Bell, signal: AbortSignal, { log, metrics }: { log: Log; metrics: Metrics }) {
  let failures = 0;
  while (!signal.aborted) {
    let more = false;
    const began = performance.now();
    try {
      ({ more } = await worker.runOnce(signal));
      failures = 0;
    } catch (fault) {
      if (signal.aborted) return;
      failures += 1;
      metrics.workerFaults.inc({ worker: worker.name });
      // A database that restarts is an everyday thing; everything else is a bug worth a stack.
      log[isBusyDatabase(fault) ? 'warn' : 'error'](
        { err: fault, worker: worker.name, failures },
        'a worker round failed',
      );
    }
    if (more || signal.aborted) continue;
    const backoff = failures === 0 ? worker.everyMs : Math.min(worker.everyMs * 2 ** failures, MAX_BACKOFF_MS);
    await bell.wait(backoff * (1 + (Math.random() - 0.5) * JITTER), failures > 0);
    const early = began + SPACING_MS - performance.now();
    if (early > 0) await sleep(early);
  }
}

const RUNG = 'rung'; // without a reason each abort makes an error with a stack

/** A pause that can be cut short; a ring during the work before it counts, too. */
class Bell {
  private rung = false;
  private deaf = false;
  private awake: AbortController | undefined;

  ring() {
    if (this.rung) return; // it is rung for every run that starts
    this.rung = true;
    if (!this.deaf) this.awake?.abort(RUNG);
  }

  end() {
    this.rung = true;
    this.awake?.abort(RUNG);
  }

  /** `deaf`: after a failure a ring does not shorten the pause, only the end does. */
  async wait(ms: number, deaf: boolean) {
    if (!this.rung || deaf) {
      this.deaf = deaf;
      this.awake = new AbortController();
      await sleep(ms, undefined, { signal: this.awake.signal }).catch(() => {});
    }
    this.rung = false;
  }
}
