import { writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import timers from 'node:timers/promises';
import { type Failpoint, setTrap } from '../../src/platform/failpoints.ts';

/**
 * Loaded into a child process before `src/main.ts` (`failingChild`): sets its failpoints, and lets its pauses pass, as the
 * test says over the channel between the two processes. The product has no way here.
 */

export type Kind = 'kill' | 'throw' | 'hang';

/** One fault, for whichever process reaches it first: that one writes its pid into the ticket, which no other can. */
export interface Order {
  name: Failpoint;
  kind: Kind;
  ticket: string;
}

export type ToChild =
  | { do: 'arm'; order: Order }
  | { do: 'disarm' }
  /** What hangs goes on. */
  | { do: 'release' }
  /** Pauses that last at least so long are over now. */
  | { do: 'hurry'; fromMs: number };

/** Thrown by a failpoint. */
class FailpointFault extends Error {}

let armed: Order | undefined;
const hanging = new Set<() => void>();

setTrap((name) => {
  if (armed?.name !== name || !takeTicket(armed.ticket)) return undefined;
  const { kind } = armed;
  armed = undefined;
  if (kind === 'kill') process.kill(process.pid, 'SIGKILL');
  if (kind === 'throw') return Promise.reject(new FailpointFault(name));
  return new Promise((resolve) => hanging.add(resolve));
});

function takeTicket(ticket: string): boolean {
  try {
    writeFileSync(ticket, String(process.pid), { flag: 'wx' });
    return true;
  } catch {
    return false;
  }
}

interface Pause {
  ms: number;
  skip: AbortController;
}
const pauses = new Set<Pause>();

const sleep = timers.setTimeout;
timers.setTimeout = (async (ms = 0, value?: unknown, options: { signal?: AbortSignal; ref?: boolean } = {}) => {
  const pause = { ms, skip: new AbortController() };
  pauses.add(pause);
  const signal = options.signal ? AbortSignal.any([options.signal, pause.skip.signal]) : pause.skip.signal;
  try {
    return await sleep(ms, value, { ...options, signal });
  } catch (fault) {
    if (options.signal?.aborted || !pause.skip.signal.aborted) throw fault;
    return value;
  } finally {
    pauses.delete(pause);
  }
}) as typeof timers.setTimeout;
syncBuiltinESMExports();

process.on('message', (message: ToChild) => {
  switch (message.do) {
    case 'arm':
      armed = message.order;
      break;
    case 'disarm':
      armed = undefined;
      break;
    case 'release':
      for (const goOn of hanging) goOn();
      hanging.clear();
      break;
    case 'hurry':
      for (const { ms, skip } of pauses) if (ms >= message.fromMs) skip.abort();
  }
  if (process.connected) process.send?.(message.do);
});
process.channel?.unref();
