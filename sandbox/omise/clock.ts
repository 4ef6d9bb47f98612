/** The stand-in's time: the wall clock plus what a test has added to it. */
export interface Clock {
  now(): number;
  /** Real time. Webhook signatures use it: their receiver's clock is never moved with ours. */
  wall(): number;
  advance(ms: number): void;
}

export function createClock(wall: () => number = Date.now): Clock {
  let ahead = 0;
  return {
    now: () => wall() + ahead,
    wall,
    advance: (ms) => {
      ahead += ms;
    },
  };
}

/** Omise writes whole seconds in UTC: `2025-03-20T09:41:53Z`. */
export function stamp(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

export function stampOrNull(ms: number | null): string | null {
  return ms === null ? null : stamp(ms);
}
