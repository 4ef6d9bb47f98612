import { setTimeout as sleep } from 'node:timers/promises';
import { type ChildFarebox, childForFile } from './child.ts';
import type { Order, ToChild } from './failpoints-in-child.ts';

/** A Farebox in a process of its own that dies, fails or stands still where the test says. */
export interface FailingChild extends ChildFarebox {
  /** Resolves when the process will do so. */
  arm(order: Order): Promise<void>;
  disarm(): Promise<void>;
  /** What stands still goes on, as after a long pause of the machine. */
  release(): Promise<void>;
  /** Its loops do not wait any longer. */
  hurry(fromMs?: number): Promise<void>;
  isAlive(): boolean;
  /** Resolves when it is there and listens; starts it when it is not. */
  ready(): Promise<void>;
  close(): Promise<void>;
}

const START_TRIES = 20;
const START_PAUSE_MS = 300;
const preload = new URL('./failpoints-in-child.ts', import.meta.url);

export async function failingChild(options: Parameters<typeof childForFile>[0] = {}): Promise<FailingChild> {
  const child = await childForFile({ ...options, preload });
  const isAlive = () => {
    const now = child.process();
    return now !== undefined && now.exitCode === null && now.signalCode === null && now.connected;
  };
  /** Messages are answered in order. To one that is dying nothing can be told, and nothing need be. */
  const tell = (message: ToChild) =>
    new Promise<void>((resolve) => {
      const now = child.process();
      if (!now || !isAlive()) return resolve();
      const done = () => {
        now.off('message', heard).off('exit', done);
        resolve();
      };
      const heard = (answer: unknown) => answer === message.do && done();
      now.setMaxListeners(0);
      now.on('message', heard).once('exit', done);
      now.send(message, (fault) => fault && done());
    });
  /** On a machine that has too much to do a start may take too long, and without its database there is none. */
  const insist = async () => {
    for (let tries = 1; ; tries += 1) {
      try {
        return await child.start();
      } catch (fault) {
        if (tries === START_TRIES) throw fault;
        await sleep(START_PAUSE_MS);
      }
    }
  };
  let starting: Promise<void> | undefined;
  const start = () => {
    starting ??= insist().finally(() => {
      starting = undefined;
    });
    return starting;
  };
  return {
    ...child,
    start,
    ready: async () => {
      if (starting || !isAlive()) await start();
    },
    arm: (order) => tell({ do: 'arm', order }),
    disarm: () => tell({ do: 'disarm' }),
    release: () => tell({ do: 'release' }),
    hurry: (fromMs = 300) => tell({ do: 'hurry', fromMs }),
    isAlive,
  };
}
