interface Waiting<Value> {
  resolve(value: Value): void;
  reject(fault: unknown): void;
}

const MAX_TOGETHER = 64;
/** Statements at a time: while one is on its way, the other works. */
const AT_ONCE = 2;

/**
 * Look-ups by key that come in one turn of the event loop, or while others are on their way, share a statement. None joins
 * a statement that is already under way, so each sees what was committed before it was asked for. No timer: alone, a
 * look-up goes at once. Keys that `read` does not answer get `undefined`.
 */
export function readTogether<Value>(
  read: (keys: string[]) => Promise<Map<string, Value>>,
): (key: string) => Promise<Value | undefined> {
  const waiting = new Map<string, Waiting<Value | undefined>[]>();
  let running = 0;
  let isPumpSet = false;

  const pump = () => {
    isPumpSet = false;
    while (waiting.size > 0 && running < AT_ONCE) void next();
  };

  const next = async () => {
    const group = [...waiting].slice(0, MAX_TOGETHER);
    for (const [key] of group) waiting.delete(key);
    running += 1;
    try {
      const found = await read(group.map(([key]) => key));
      for (const [key, asked] of group) for (const { resolve } of asked) resolve(found.get(key));
    } catch (fault) {
      for (const [, asked] of group) for (const { reject } of asked) reject(fault);
    }
    running -= 1;
    pump();
  };

  return (key) =>
    new Promise((resolve, reject) => {
      const asked = waiting.get(key) ?? [];
      asked.push({ resolve, reject });
      waiting.set(key, asked);
      if (isPumpSet || running >= AT_ONCE) return;
      isPumpSet = true;
      setImmediate(pump);
    });
}
