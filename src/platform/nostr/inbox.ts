import { setTimeout as sleep } from 'node:timers/promises';

/**
 * What has come and is still to be looked at, in its order. Looking at an event may cost a millisecond of the processor:
 * after a few of them there is as long a rest, so that whoever floods us takes half of it at the most.
 */
export interface Inbox {
  push(work: () => void): void;
  clear(): void;
}

const FULL = 500; // events, of 256 KiB at the very most
const ROOM_AGAIN = 100;
const AT_A_STRETCH_MS = 4; // requests wait so long for their turn

interface InboxOptions {
  /** These stop and start whoever fills it: nothing is thrown away. */
  onFull(): void;
  onRoom(): void;
  /** Looking at one failed, which is a bug; the others are looked at all the same. */
  onFault(fault: unknown): void;
}

export function createInbox({ onFull, onRoom, onFault }: InboxOptions): Inbox {
  let waiting: (() => void)[] = [];
  let isFull = false;
  let isWorking = false;

  const work = async () => {
    isWorking = true;
    while (waiting.length > 0) {
      const began = performance.now();
      for (let spent = 0; spent < AT_A_STRETCH_MS && waiting.length > 0; spent = performance.now() - began) {
        try {
          waiting.shift()?.();
        } catch (fault) {
          onFault(fault);
        }
      }
      if (isFull && waiting.length < ROOM_AGAIN) {
        isFull = false;
        onRoom();
      }
      await sleep(performance.now() - began);
    }
    isWorking = false;
  };

  return {
    push: (one) => {
      waiting.push(one);
      if (!isFull && waiting.length >= FULL) {
        isFull = true;
        onFull();
      }
      if (!isWorking) void work();
    },
    clear: () => {
      waiting = [];
      isFull = false;
    },
  };
}
